//! `talea receipt explain`: where the fuel of a run went.
//!
//! Invariant: the lines sum to the fuel on the receipt, or the command fails: an explanation that does not add up
//! explains nothing. The run is executed again in a variant that counts each function apart. Absent: time; fuel is
//! what is billed.

use clap::Args;
use serde_json::{Value, json};
use talea_ledger::{Receipt, ReceiptId};
use talea_runtime::executor::{Explanation, explain};

use super::super::exit::{Exit, Failure, OrExit as _, Ran};
use super::super::screen::{Align, Ink, Table, bar, grouped};
use super::super::{Context, NodeArgs, SignerArgs};
use super::{missing, obtain_whole};

/// Marks of the longest bar: with names and numbers the line stays within 100 columns.
const BAR_WIDTH: u32 = 24;
/// Characters of a function's name that are shown; Rust's names are long, their ends are hashes.
const NAME_WIDTH: usize = 48;

/// What `talea receipt explain` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  talea receipt explain call.talea
  talea receipt explain call.talea --top 0 --output json

Functions have names when the module has a name section: in Rust, `strip = \"debuginfo\"` keeps it.")]
pub(in crate::cli) struct ExplainArgs {
    /// A .talea file or a receipt's CID
    receipt: String,
    /// How many functions get a line of their own; 0 for all
    #[arg(long, value_name = "COUNT", default_value_t = 15)]
    top: usize,
    #[command(flatten)]
    signer: SignerArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// One line of the bill.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    what: String,
    kind: &'static str,
    fuel: u64,
}

/// Runs `talea receipt explain`.
pub(super) async fn run(args: &ExplainArgs, context: &Context) -> Ran {
    let bundle = obtain_whole(&args.receipt, &args.node, &args.signer, context).await?;
    let checked = bundle.check().or_exit(Exit::Mismatch, || "this receipt does not hold")?;
    let (Some(function), Some(input), Some(body)) =
        (&bundle.function, checked.input(), &bundle.input_body)
    else {
        let sentence = format!("the papers lack {}", missing(&bundle).join(", "));
        return Err(Failure::said(Exit::Indeterminate, sentence)
            .advise("`talea receipt save` by the payer has them"));
    };
    let explanation = {
        let _running = context.screen.spinner("running it again, function by function");
        explain(function, checked.run(), input, body.to_vec().into())
            .or_exit(Exit::Indeterminate, || "the run cannot be repeated here")?
    };
    let receipt = checked.receipt().document();
    if explanation.total != receipt.fuel {
        let sentence = format!(
            "the receipt bills {} fuel, the same run uses {}: `talea receipt verify --rerun` says more",
            receipt.fuel, explanation.total
        );
        return Err(Failure::said(Exit::Mismatch, sentence));
    }
    let lines = lines(&explanation);
    if context.screen.is_json() {
        context.screen.json(&view(ReceiptId::of(&bundle.receipt), receipt, &lines, &explanation));
    } else {
        print(receipt, &lines, &explanation, args.top, context);
    }
    Ok(Exit::Ok)
}

/// All of it, dearest first.
fn lines(explanation: &Explanation) -> Vec<Line> {
    let line = |kind| {
        move |(what, fuel): &(String, talea_ledger::Fuel)| Line {
            what: what.clone(),
            kind,
            fuel: fuel.0,
        }
    };
    let mut lines: Vec<Line> = explanation.lines.iter().map(line("function")).collect();
    lines.extend(explanation.host_calls.iter().map(line("host")));
    lines.push(Line {
        what: "module, data and start".to_owned(),
        kind: "static",
        fuel: explanation.fixed.0,
    });
    // Stable, so equal lines stay in the module's order.
    lines.sort_by_key(|line| std::cmp::Reverse(line.fuel));
    lines
}

fn view(id: ReceiptId, receipt: &Receipt, lines: &[Line], explanation: &Explanation) -> Value {
    let views: Vec<Value> = lines
        .iter()
        .map(|line| json!({ "what": line.what, "kind": line.kind, "fuel": line.fuel.to_string() }))
        .collect();
    json!({
        "id": id.to_string(),
        "lines": views,
        "unbilled": explanation.unbilled.to_string(),
        "fuel": receipt.fuel.to_string(),
        "bill": receipt.bill.to_string(),
    })
}

fn print(
    receipt: &Receipt,
    lines: &[Line],
    explanation: &Explanation,
    top: usize,
    context: &Context,
) {
    let screen = &context.screen;
    let whole: u64 = receipt.fuel.0;
    let mut table = Table::new(&[
        ("fuel", Align::Right),
        ("share", Align::Right),
        ("", Align::Left),
        ("kind", Align::Left),
        ("where", Align::Left),
    ]);
    let shown = if top == 0 { lines.len() } else { top.min(lines.len()) };
    let (head, rest) = lines.split_at(shown);
    let dearest = lines.first().map_or(0, |line| line.fuel);
    for line in head {
        table.row([
            grouped(line.fuel),
            share(line.fuel, whole),
            bar(line.fuel, dearest, BAR_WIDTH),
            line.kind.to_owned(),
            shortened(&line.what),
        ]);
    }
    if !rest.is_empty() {
        let sum = rest.iter().fold(0_u64, |sum, line| sum.saturating_add(line.fuel));
        let what = format!("{} more (--top 0 shows them)", rest.len());
        table.row([
            grouped(sum),
            share(sum, whole),
            bar(sum, dearest, BAR_WIDTH),
            String::new(),
            what,
        ]);
    }
    if explanation.unbilled.0 > 0 {
        let what = "above the limit, not billed".to_owned();
        table.row([
            format!("-{}", grouped(explanation.unbilled.0)),
            String::new(),
            String::new(),
            String::new(),
            what,
        ]);
    }
    for (index, line) in table.lines().into_iter().enumerate() {
        screen.line(if index == 0 { screen.ink(Ink::Faint, line) } else { line });
    }
    let sum =
        format!("{} fuel = the receipt's; bill {} tal", grouped(whole), grouped(receipt.bill.0));
    screen.line(screen.ink(Ink::Strong, sum));
}

/// A share with one decimal: `12.3%`.
fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "0.0%".to_owned();
    }
    let tenths = u128::from(part).saturating_mul(1000) / u128::from(whole);
    format!("{}.{}%", tenths / 10, tenths % 10)
}

/// A linker's name as its author knows it: without the hash at its end and the escapes of Rust's older mangling.
fn readable(name: &str) -> String {
    let hash = name.rfind("::h").filter(|at| {
        let hash = name.get(at + 3..).unwrap_or("");
        hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
    });
    let mut text = name.get(..hash.unwrap_or(name.len())).unwrap_or(name).to_owned();
    for (escape, character) in ESCAPES {
        text = text.replace(escape, character);
    }
    // A symbol cannot begin with `<`, so the older mangling puts an underscore before it.
    text.strip_prefix("_<").map(|rest| format!("<{rest}")).unwrap_or(text)
}

/// Rust's older mangling writes what a symbol cannot hold in these; `..` stands for `::` inside generics.
const ESCAPES: [(&str, &str); 9] = [
    ("$LT$", "<"),
    ("$GT$", ">"),
    ("$u20$", " "),
    ("$RF$", "&"),
    ("$BP$", "*"),
    ("$C$", ","),
    ("$u7b$", "{"),
    ("$u7d$", "}"),
    ("..", "::"),
];

fn shortened(name: &str) -> String {
    let name = readable(name);
    if name.chars().count() <= NAME_WIDTH {
        return name;
    }
    let head: String = name.chars().take(NAME_WIDTH.saturating_sub(2)).collect();
    format!("{head}..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_one_decimal() {
        for (part, whole, text) in
            [(0, 0, "0.0%"), (1, 3, "33.3%"), (3, 3, "100.0%"), (u64::MAX, u64::MAX, "100.0%")]
        {
            assert_eq!(share(part, whole), text);
        }
    }

    #[test]
    fn names_are_shown_as_their_author_knows_them() {
        for (name, text) in [
            ("core::fmt::write::h0123456789abcdef", "core::fmt::write"),
            (
                "_$LT$alloc..string..String$u20$as$u20$core..fmt..Write$GT$::write_str",
                "<alloc::string::String as core::fmt::Write>::write_str",
            ),
            ("core::ops::hello", "core::ops::hello"),
            ("_start", "_start"),
            ("function 17", "function 17"),
            ("", ""),
        ] {
            assert_eq!(readable(name), text);
        }
    }

    #[test]
    fn long_names_keep_their_beginning() {
        assert_eq!(shortened("short"), "short");
        assert_eq!(shortened(&"n".repeat(60)).len(), NAME_WIDTH);
    }
}
