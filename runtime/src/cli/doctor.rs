//! `talea doctor`: is this machine, this data folder, this wallet and that node fit for use?
//!
//! Each check is one function that gives a [`Finding`]; [`run`] prints them all and ends in the worst. Invariants:
//! nothing is changed, but for a scratch file in the data folder that is removed again; every finding that is not
//! a pass says what to do. Absent: repairs.

mod machine;
mod node;
mod storage;

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::exit::{Exit, Ran};
use super::screen::Ink;
use super::{Context, NodeArgs};

/// What `talea doctor` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  talea doctor                        look at this machine, the wallet, and a node at the usual address
  talea doctor --data /var/lib/talea  also look at a node's data folder: rights, space, speed of its disk
  talea doctor --output json          for monitoring; the exit code is 0 unless something fails")]
pub(super) struct DoctorArgs {
    /// The data folder of a node to look at
    #[arg(long, value_name = "FOLDER", env = "TALEA_DATA")]
    data: Option<PathBuf>,
    /// Do not look for a node
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    node: NodeArgs,
}

/// How bad it is; the order is that of badness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Grade {
    Pass,
    Warn,
    Fail,
}

/// What one check found.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    check: &'static str,
    grade: Grade,
    found: String,
    advice: Option<String>,
}

// === impl Finding ===

impl Finding {
    fn pass(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, grade: Grade::Pass, found: found.into(), advice: None }
    }

    fn warn(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, grade: Grade::Warn, found: found.into(), advice: Some(advice.into()) }
    }

    fn fail(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, grade: Grade::Fail, found: found.into(), advice: Some(advice.into()) }
    }
}

/// Runs `talea doctor`.
pub(super) async fn run(args: &DoctorArgs, context: &Context) -> Ran {
    let mut findings = vec![
        machine::processor(),
        machine::open_files(),
        machine::guest_target(),
        machine::clock(),
    ];
    findings.push(storage::wallet(context));
    if let Some(data) = &args.data {
        let _looking = context.screen.spinner("measuring the disk");
        findings.extend(storage::data_folder(data));
    }
    if !args.offline {
        findings.extend(node::reach(&args.node).await);
    }
    report(&findings, context);
    let worst = findings.iter().map(|finding| finding.grade).max();
    Ok(if worst == Some(Grade::Fail) { Exit::Failed } else { Exit::Ok })
}

fn report(findings: &[Finding], context: &Context) {
    let screen = &context.screen;
    if screen.is_json() {
        let views: Vec<_> = findings
            .iter()
            .map(|finding| {
                json!({
                    "check": finding.check,
                    "grade": finding.grade.word(),
                    "found": finding.found,
                    "advice": finding.advice,
                })
            })
            .collect();
        screen.json(&json!({ "findings": views }));
        return;
    }
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    for finding in findings {
        let grade = screen.ink(finding.grade.ink(), finding.grade.word());
        screen.line(format_args!("{grade}  {:<width$}  {}", finding.check, finding.found));
        if let Some(advice) = &finding.advice {
            screen.line(format_args!(
                "      {:<width$}  {} {advice}",
                "",
                screen.ink(Ink::Faint, "->")
            ));
        }
    }
}

// === impl Grade ===

impl Grade {
    fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }

    fn ink(self) -> Ink {
        match self {
            Self::Pass => Ink::Good,
            Self::Warn => Ink::Doubt,
            Self::Fail => Ink::Bad,
        }
    }
}
