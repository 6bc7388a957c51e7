//! `talea receipt verify`: is this receipt genuine, does it hang together, and is its bill true?
//!
//! From a file this asks nobody: proof, signature, links and price are checked on the bytes that are there, and
//! `--rerun` executes the run again in this process. Invariants: the exit code is 0 only when all that was asked for
//! holds; 3 is evidence against the host; 4 says that nothing could be decided, and why. Absent: trust in any node,
//! also in the one that handed out the papers.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use talea_ledger::audit::{Facts, Floats, Reason};
use talea_ledger::bundle::{BundleError, Checked};
use talea_ledger::draw::CheckedForward;
use talea_ledger::{
    Bundle, Document as _, Network, NetworkParams, Receipt, ReceiptId, Slot, Verdict, Verified,
    audit,
};
use talea_runtime::executor::{Execution, RerunError, rerun};

use super::super::exit::{Exit, Failure, OrExit as _, Ran};
use super::super::ledger::teller;
use super::super::papers::Place;
use super::super::screen::Ink;
use super::super::{Context, NodeArgs, SignerArgs, facts};
use super::{missing, obtain_whole};

/// What `talea receipt verify` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  talea receipt verify call.talea            offline: proof, signature, links, price
  talea receipt verify call.talea --rerun    execute the run again, here, and compare every field
  talea receipt verify bafyrei.. --rerun     the same with papers from a node
  talea receipt verify call.talea --network net.params
                                             of a call that was passed on: also the age of the draw's block

The last line is the verdict: match, mismatch(FIELD) or indeterminate(REASON).
Exit codes: 0 it holds, 3 it is false, 4 it cannot be decided here.")]
pub(in crate::cli) struct VerifyArgs {
    /// A .talea file or a receipt's CID
    receipt: String,
    /// Execute the run again and compare
    #[arg(long)]
    rerun: bool,
    /// The network's parameters; a node that gives the papers gives them too
    #[arg(long, value_name = "FILE")]
    network: Option<PathBuf>,
    #[command(flatten)]
    signer: SignerArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// What came of it.
#[derive(Debug)]
struct Report {
    id: ReceiptId,
    receipt: Option<Receipt>,
    parts: Vec<Part>,
    verdict: Option<Verdict>,
    detail: Option<String>,
}

/// One thing that was checked.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    name: &'static str,
    state: State,
    says: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Holds,
    Absent,
    False,
}

/// Runs `talea receipt verify`.
pub(super) async fn run(args: &VerifyArgs, context: &Context) -> Ran {
    let bundle = obtain_whole(&args.receipt, &args.node, &args.signer, context).await?;
    let network = match (&args.network, Place::of(&args.receipt)?) {
        (Some(file), _) => Some(network_in(file)?),
        (None, Place::Node(_)) if bundle.forward.is_some() => {
            Some(teller::chain_of(&args.node.client()).await?)
        }
        (None, _) => None,
    };
    let report = judge(&bundle, args.rerun, network.as_ref(), context);
    if context.screen.is_json() {
        context.screen.json(&report.json());
    } else {
        report.print(context);
    }
    Ok(report.exit())
}

/// The network whose parameters are in a file, as `talea ledger genesis` writes it.
fn network_in(file: &Path) -> Result<Network, Failure> {
    let name = file.display();
    let bytes = std::fs::read(file).or_exit(Exit::NoInput, || format!("cannot read {name}"))?;
    let params = NetworkParams::decode(&bytes)
        .or_exit(Exit::Data, || format!("{name} holds no network parameters"))?;
    Network::new(params).or_exit(Exit::Data, || format!("the parameters in {name} make no network"))
}

fn judge(
    bundle: &Bundle,
    wants_rerun: bool,
    network: Option<&Network>,
    context: &Context,
) -> Report {
    let id = ReceiptId::of(&bundle.receipt);
    let checked = match bundle.check() {
        Ok(checked) => checked,
        Err(fault) => return Report::of_fault(id, &fault),
    };
    let receipt = checked.receipt().document().clone();
    let mut parts = parts(bundle, &checked);
    parts.extend(checked.forward().map(|forward| age(forward, network)));
    let (verdict, detail) = if wants_rerun {
        let _running = context.screen.spinner("running it again");
        let (verdict, detail) = run_again(bundle, &checked);
        (Some(verdict), detail)
    } else {
        (None, None)
    };
    Report { id, receipt: Some(receipt), parts, verdict, detail }
}

/// What holds, in a bundle whose check found no fault.
fn parts(bundle: &Bundle, checked: &Checked) -> Vec<Part> {
    let receipt = checked.receipt().document();
    let holds = |name, says: String| Part { name, state: State::Holds, says };
    let linked = |name, is_there: bool, says: &str| match is_there {
        true => Part { name, state: State::Holds, says: format!("{says} the receipt names") },
        false => Part { name, state: State::Absent, says: "not among the papers".to_owned() },
    };
    let payer = match &receipt.payment {
        Some(payment) => format!("signed by {}", payment.payer),
        None => "a free call: nobody signed, nothing is owed".to_owned(),
    };
    let mut parts = vec![
        holds("proof", "the receipt lies in the batch".to_owned()),
        holds("signature", format!("the batch is signed by {}", receipt.host)),
        holds("run", payer),
        holds("bill", format!("{} tal is what price and fuel make", receipt.bill)),
        linked("function", bundle.function.is_some(), "the bytes"),
        linked("input", checked.input().is_some(), "the document"),
        linked("input body", bundle.input_body.is_some(), "the bytes"),
        linked("output", checked.output().is_some(), "the document"),
        linked("output body", bundle.output_body.is_some(), "the bytes"),
    ];
    parts.extend(receipt.forwarded.as_ref().map(|forwarded| match checked.forward() {
        Some(forward) => holds("forward", told_of(forward)),
        None => Part {
            name: "forward",
            state: State::Absent,
            says: format!("another host ran it; draw {} is not among the papers", forwarded.draw),
        },
    }));
    parts
}

/// How the host was chosen, and how much of the choice could be checked.
fn told_of(forward: &CheckedForward) -> String {
    let draw = forward.draw().document();
    let block = match forward.header() {
        Some(_) => "whose header is here",
        None => "whose header is not here",
    };
    format!(
        "{} ran it, drawn from {} with block {} {block}; {} of their offers are here and cover the run",
        forward.receipt().document().host,
        draw.candidates.len(),
        draw.height,
        forward.offers(),
    )
}

/// How old the draw's block was when the run came, which takes the network's parameters to tell.
fn age(forward: &CheckedForward, network: Option<&Network>) -> Part {
    let name = "block age";
    let Some(network) = network else {
        let says = "not judged without the network's parameters: --network FILE".to_owned();
        return Part { name, state: State::Absent, says };
    };
    let draw = forward.draw().document();
    if draw.network != network.id() {
        let says = format!("not judged: these are the parameters of network {}", network.id());
        return Part { name, state: State::Absent, says };
    }
    let header = forward.header().map(Verified::document);
    if header.is_none() && draw.block != network.genesis() {
        let says = "the block's header is not among the papers".to_owned();
        return Part { name, state: State::Absent, says };
    }
    match draw.check_age(header, network) {
        Ok(()) => {
            let began = network.slot_start(header.map_or(Slot::ZERO, |header| header.slot));
            let seconds = draw.at.0.saturating_sub(began.0) / 1_000_000_000;
            let says = format!("it began {seconds} s before the run came");
            Part { name, state: State::Holds, says }
        }
        Err(error) => Part { name, state: State::False, says: error.to_string() },
    }
}

/// Executes the run again and compares; a sentence says more where there is more to say.
fn run_again(bundle: &Bundle, checked: &Checked) -> (Verdict, Option<String>) {
    let undecided = |reason, detail: String| (Verdict::Indeterminate(reason), Some(detail));
    let lacking = || format!("the papers lack {}", missing(bundle).join(", "));
    let Some(function) = &bundle.function else {
        return undecided(Reason::FunctionMissing, lacking());
    };
    let (Some(input), Some(body)) = (checked.input(), &bundle.input_body) else {
        return undecided(Reason::InputMissing, lacking());
    };
    match rerun(function, checked.run(), input, body.to_vec().into()) {
        Ok(execution) => {
            let verdict =
                audit::compare(checked.receipt().document(), checked.run(), &facts_of(&execution));
            let detail = match &verdict {
                Verdict::Mismatch(difference) => Some(told(difference)),
                _ => None,
            };
            (verdict, detail)
        }
        Err(error @ RerunError::ProfileUnknown(_)) => {
            undecided(Reason::UnknownProfile, error.to_string())
        }
        Err(error) => undecided(Reason::HostFault, error.to_string()),
    }
}

/// What differs, in values without the names of their types.
fn told(difference: &audit::Difference) -> String {
    let audit::Difference { field, claimed, found } = difference;
    format!("{field}: the receipt says {}, the run gives {}", value_of(claimed), value_of(found))
}

/// `7` from `Fuel(7)`; whatever is not of that form stays as it is.
fn value_of(debug: &str) -> &str {
    let inner = debug.split_once('(').and_then(|(name, rest)| {
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        rest.strip_suffix(')').filter(|inner| is_name && !inner.contains('('))
    });
    inner.unwrap_or(debug)
}

fn facts_of(execution: &Execution) -> Facts {
    Facts {
        outcome: execution.outcome,
        fuel: execution.fuel,
        host_fuel: execution.host_fuel,
        peak_pages: execution.peak_pages,
        output: execution.output.id(),
        output_len: execution.output.body_len,
        // The engine here makes every NaN canonical, as the profile has it.
        floats: Floats::Determined,
    }
}

// === impl Report ===

impl Report {
    /// A bundle that contradicts itself needs no re-run to be false.
    fn of_fault(id: ReceiptId, fault: &BundleError) -> Self {
        let (name, verdict) = match fault {
            BundleError::Receipt(_) => ("proof", None),
            BundleError::Run(_) | BundleError::Payment | BundleError::Payer { .. } => ("run", None),
            BundleError::Forward(_) => ("forward", None),
            BundleError::Differs { field, receipt, run } => {
                let (claimed, found) = (receipt.clone(), run.clone());
                let difference = audit::Difference { field: *field, claimed, found };
                ("receipt", Some(Verdict::Mismatch(difference)))
            }
            _ => ("links", None),
        };
        let parts = vec![Part { name, state: State::False, says: fault.to_string() }];
        Self { id, receipt: None, parts, verdict, detail: None }
    }

    fn is_consistent(&self) -> bool {
        self.parts.iter().all(|part| part.state != State::False)
    }

    fn exit(&self) -> Exit {
        match (&self.verdict, self.is_consistent()) {
            (Some(Verdict::Mismatch(_)), _) | (_, false) => Exit::Mismatch,
            (Some(Verdict::Indeterminate(_)), true) => Exit::Indeterminate,
            (Some(Verdict::Match) | None, true) => Exit::Ok,
        }
    }

    fn json(&self) -> Value {
        let parts: serde_json::Map<String, Value> = self
            .parts
            .iter()
            .map(|part| {
                let view = json!({ "state": part.state.word(), "says": part.says });
                (part.name.replace(' ', "_"), view)
            })
            .collect();
        json!({
            "id": self.id.to_string(),
            "consistent": self.is_consistent(),
            "verdict": self.verdict.as_ref().map(ToString::to_string),
            "detail": self.detail,
            "checks": parts,
            "receipt": self.receipt.as_ref().map(|receipt| facts::json(self.id, receipt)),
        })
    }

    fn print(&self, context: &Context) {
        let screen = &context.screen;
        screen.line(format_args!("{} {}", screen.ink(Ink::Faint, "receipt"), self.id));
        for part in &self.parts {
            let state = screen.ink(part.state.ink(), format_args!("{:<6}", part.state.word()));
            screen.line(format_args!("{state} {:<11} {}", part.name, part.says));
        }
        if let Some(detail) = &self.detail {
            screen.line(format_args!("{:<6} {:<11} {detail}", "", ""));
        }
        let (ink, sentence) = match (&self.verdict, self.is_consistent()) {
            (Some(verdict @ Verdict::Match), _) => (Ink::Good, verdict.to_string()),
            (Some(verdict @ Verdict::Mismatch(_)), _) => (Ink::Bad, verdict.to_string()),
            (Some(verdict @ Verdict::Indeterminate(_)), _) => (Ink::Doubt, verdict.to_string()),
            (None, true) => {
                (Ink::Good, "genuine and consistent; --rerun also tests the work itself".to_owned())
            }
            (None, false) => (Ink::Bad, "false".to_owned()),
        };
        screen.line(screen.ink(ink, sentence));
    }
}

// === impl State ===

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Absent => "absent",
            Self::False => "false",
        }
    }

    fn ink(self) -> Ink {
        match self {
            Self::Holds => Ink::Good,
            Self::Absent => Ink::Faint,
            Self::False => Ink::Bad,
        }
    }
}

#[cfg(test)]
mod tests;
