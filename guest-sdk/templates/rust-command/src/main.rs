//! Numbers the lines of its input: the body of a call, or stdin of your shell.

use std::io::{self, BufRead, BufWriter, Write};

fn main() -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for (number, line) in (1..).zip(io::stdin().lock().lines()) {
        writeln!(out, "{number:>5}  {}", line?)?;
    }
    out.flush()
}
