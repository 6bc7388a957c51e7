//! What the user sees: results on standard output, everything else on standard error.
//!
//! Owns: colours, tables, bars, progress and the JSON form. Invariants: standard output carries results only,
//! so that it can be piped; colours and moving lines appear on a terminal only, `NO_COLOR` and `--color` decide;
//! with `--output json` a command prints exactly one JSON document on standard output (followers print one per
//! line). A reader that closes the pipe ends the output quietly; any other write error fails the command.
//! Absent: wording of single commands.

mod table;

use std::cell::RefCell;
use std::fmt::Display;
use std::io::{self, Write as _};
use std::time::Duration;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

pub(super) use table::{Align, Table, bar, grouped};

use super::exit::{Exit, Failure};
use super::surroundings::Surroundings;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON document, for programs; 64-bit numbers are decimal strings.
    Json,
}

/// When colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Colour {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always, even into a pipe.
    Always,
    /// Never.
    Never,
}

/// The few styles the command uses; each means one thing everywhere.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ink {
    /// Headings and the word that matters.
    Strong,
    /// What can be skipped.
    Faint,
    /// It holds.
    Good,
    /// It holds, but look at it.
    Doubt,
    /// It does not hold.
    Bad,
}

/// Both output streams of one command.
#[derive(Debug)]
pub(super) struct Screen {
    format: Format,
    quiet: bool,
    colour_out: bool,
    colour_err: bool,
    moving: bool,
    /// The first write error to standard output; later writes are dropped.
    broken: RefCell<Option<io::Error>>,
}

/// A spinner on standard error; it leaves nothing behind when dropped.
#[derive(Debug)]
pub(super) struct Progress(ProgressBar);

// === impl Screen ===

impl Screen {
    /// The streams as the user asked for them.
    pub(super) fn new(format: Format, colour: Colour, quiet: bool, around: &Surroundings) -> Self {
        let coloured = |terminal: bool| match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => terminal && !around.no_color && !around.dumb,
        };
        Self {
            format,
            quiet,
            colour_out: coloured(around.out_is_terminal) && format == Format::Text,
            colour_err: coloured(around.err_is_terminal),
            moving: around.err_is_terminal && !around.dumb && !quiet,
            broken: RefCell::new(None),
        }
    }

    /// Whether results are to be JSON.
    pub(super) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether colours are used on standard error, for what writes there by itself.
    pub(super) fn err_is_coloured(&self) -> bool {
        self.colour_err
    }

    /// Prints one line of result.
    pub(super) fn line(&self, line: impl Display) {
        self.bytes(format!("{line}\n").as_bytes());
    }

    /// Prints raw bytes of result.
    pub(super) fn bytes(&self, bytes: &[u8]) {
        if self.broken.borrow().is_some() {
            return;
        }
        let mut out = io::stdout().lock();
        if let Err(error) = out.write_all(bytes).and_then(|()| out.flush()) {
            *self.broken.borrow_mut() = Some(error);
        }
    }

    /// Prints the JSON result.
    pub(super) fn json(&self, value: &serde_json::Value) {
        self.line(format_args!("{value:#}"));
    }

    /// Prints one of many JSON results, on one line.
    pub(super) fn json_line(&self, value: &serde_json::Value) {
        self.line(value);
    }

    /// Tells the user something beside the result; silent with `--quiet`.
    pub(super) fn note(&self, line: impl Display) {
        if !self.quiet {
            self.warn(line);
        }
    }

    /// Tells the user something that `--quiet` does not silence.
    pub(super) fn warn(&self, line: impl Display) {
        // Nothing is left to tell the user with when standard error itself cannot be written.
        let _ = writeln!(io::stderr().lock(), "{line}");
    }

    /// Styles text for standard output.
    pub(super) fn ink(&self, ink: Ink, text: impl Display) -> String {
        paint(self.colour_out, ink, text)
    }

    /// Styles text for standard error.
    pub(super) fn note_ink(&self, ink: Ink, text: impl Display) -> String {
        paint(self.colour_err, ink, text)
    }

    /// A spinner beside work of unknown length; shown on a terminal only.
    pub(super) fn spinner(&self, what: impl Into<String>) -> Progress {
        let spinner = ProgressBar::new_spinner();
        spinner.set_draw_target(self.draw_target());
        // The template is a constant; a fault in it would cost the decoration and nothing else.
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed:.dim}") {
            spinner.set_style(style);
        }
        spinner.set_message(what.into());
        // Ten steps a second look alive and cost nothing.
        spinner.enable_steady_tick(Duration::from_millis(100));
        Progress(spinner)
    }

    /// Whether it makes sense to print more; a follower ends when its reader has gone.
    pub(super) fn still_open(&self) -> Result<(), Failure> {
        match self.broken.borrow().as_ref() {
            None => Ok(()),
            Some(_) => Err(Failure::said(Exit::Failed, "nobody reads standard output any more")),
        }
    }

    /// The end: an error of standard output, if there was one, becomes the command's.
    pub(super) fn close(&self) -> Result<(), Failure> {
        match self.broken.borrow_mut().take() {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(
                Exit::Failed,
                anyhow::Error::new(error).context("cannot write to standard output"),
            )),
            _ => Ok(()),
        }
    }

    fn draw_target(&self) -> ProgressDrawTarget {
        if self.moving { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
    }
}

// === impl Progress ===

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn paint(coloured: bool, ink: Ink, text: impl Display) -> String {
    // SGR: 1 bold, 2 faint, 32 green, 33 yellow, 31 red. The sixteen basic colours follow the user's own scheme.
    let code = match ink {
        Ink::Strong => "1",
        Ink::Faint => "2",
        Ink::Good => "32",
        Ink::Doubt => "33",
        Ink::Bad => "1;31",
    };
    if coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terminal() -> Surroundings {
        Surroundings { out_is_terminal: true, err_is_terminal: true, ..Surroundings::default() }
    }

    #[test]
    fn colours_follow_the_flag_then_no_color_then_the_terminal() {
        let cases = [
            (Colour::Auto, terminal(), true),
            (Colour::Auto, Surroundings::default(), false),
            (Colour::Auto, Surroundings { no_color: true, ..terminal() }, false),
            (Colour::Auto, Surroundings { dumb: true, ..terminal() }, false),
            (Colour::Always, Surroundings { no_color: true, ..Surroundings::default() }, true),
            (Colour::Never, terminal(), false),
        ];
        for (colour, around, coloured) in cases {
            let screen = Screen::new(Format::Text, colour, false, &around);
            assert_eq!(screen.ink(Ink::Good, "x") != "x", coloured, "{colour:?} {around:?}");
        }
        let json = Screen::new(Format::Json, Colour::Always, false, &terminal());
        assert_eq!(json.ink(Ink::Bad, "x"), "x", "results in JSON are never coloured");
    }
}
