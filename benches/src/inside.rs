//! Figures taken inside one process: documents, sealing, verifying, instances, first calls, audits, prices.
//!
//! Owns the list of them and their table. Invariant: every figure stands beside what it is measured
//! against, taken in the same rounds. Absent: HTTP, which is `talea-load`'s.

pub mod audit;
pub mod commit;
pub mod costs;
pub mod documents;
pub mod first_call;
pub mod guests;
pub mod instance;
pub mod sealing;
pub mod verifying;

use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;

use crate::machine::Machine;
use crate::timing::{Effort, Timed};

/// Where and how hard to measure.
#[derive(Clone, Debug)]
pub struct Site {
    /// How long and how often.
    pub effort: Effort,
    /// A folder on the disk whose syncs count.
    pub folder: PathBuf,
}

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// The part it belongs to.
    pub part: &'static str,
    /// What was timed.
    pub name: String,
    /// The value, in `unit`.
    pub value: f64,
    /// The unit.
    pub unit: &'static str,
    /// The fastest round, in `unit`.
    pub best: f64,
    /// The ratio to what it is measured against.
    pub ratio: Option<Ratio>,
    /// What was to be reached, in words, and whether it was.
    pub aim: Option<(String, bool)>,
}

/// A ratio and its other side.
#[derive(Clone, Debug, Serialize)]
pub struct Ratio {
    /// The other side.
    pub against: String,
    /// The ratio, median of rounds.
    pub value: f64,
}

impl Figure {
    /// Nanoseconds per `per` things done in one turn.
    #[must_use]
    pub fn nanos(part: &'static str, timed: &Timed, per: usize) -> Self {
        let per = per as f64;
        Self {
            part,
            name: timed.name.clone(),
            value: timed.median() / per,
            unit: "ns",
            best: timed.least() / per,
            ratio: None,
            aim: None,
        }
    }

    /// The same figure with its ratio to `other`.
    #[must_use]
    pub fn against(mut self, timed: &Timed, other: &Timed) -> Self {
        self.ratio = Some(Ratio { against: other.name.clone(), value: timed.ratio_to(other) });
        self
    }

    /// The same figure with an aim.
    #[must_use]
    pub fn with_aim(mut self, words: &str, reached: bool) -> Self {
        self.aim = Some((words.to_owned(), reached));
        self
    }
}

/// Takes all figures whose part's name contains `filter`.
pub fn all(
    site: &Site,
    filter: &str,
    mut progress: impl FnMut(&str),
) -> anyhow::Result<Vec<Figure>> {
    let parts: [(&str, Part); 8] = [
        ("documents", documents::figures),
        ("sealing", sealing::figures),
        ("verifying", verifying::figures),
        ("commit", commit::figures),
        ("instance", instance::figures),
        ("first call", first_call::figures),
        ("audit", audit::figures),
        ("costs", costs::figures),
    ];
    let mut figures = Vec::new();
    for (name, part) in parts {
        if name.contains(filter) {
            progress(name);
            figures.extend(part(site)?);
        }
    }
    Ok(figures)
}

type Part = fn(&Site) -> anyhow::Result<Vec<Figure>>;

/// The section for the page of results.
#[must_use]
pub fn markdown(machine: &Machine, effort: Effort, figures: &[Figure]) -> String {
    let mut page = format!(
        "## Inside one process\n\n{}\n\nMedians over {} interleaved rounds of {} ms; `best` is the fastest round.\n\n\
         | part | what | median | best | ratio | aim |\n|---|---|---:|---:|---|---|\n",
        machine.line(),
        effort.rounds,
        effort.slice.as_millis()
    );
    for Figure { part, name, value, unit, best, ratio, aim } in figures {
        let ratio = ratio
            .as_ref()
            .map(|it| format!("{:.2} of {}", it.value, it.against))
            .unwrap_or_default();
        let aim = aim
            .as_ref()
            .map(|(words, reached)| {
                format!("{words}: {}", if *reached { "reached" } else { "missed" })
            })
            .unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "| {part} | {name} | {value:.0} {unit} | {best:.0} {unit} | {ratio} | {aim} |"
        );
    }
    page
}
