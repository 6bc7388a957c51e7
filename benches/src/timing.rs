//! Timing of things inside one process.
//!
//! Owns interleaved rounds: every subject has a slice of time per round, so that ratios are taken
//! between neighbours in time; the median of the rounds counts. Absent: statistics beyond the median
//! and the range.

use std::time::Duration;

use crate::report::median;
use crate::stopwatch::Stopwatch;

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Slices per subject.
    pub rounds: usize,
    /// Length of a slice.
    pub slice: Duration,
}

/// Something whose cost per turn is wanted.
pub struct Subject<'a> {
    name: String,
    turn: Box<dyn FnMut() + 'a>,
}

impl std::fmt::Debug for Subject<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<'a> Subject<'a> {
    /// One turn of what is timed.
    pub fn new(name: impl Into<String>, turn: impl FnMut() + 'a) -> Self {
        Self { name: name.into(), turn: Box::new(turn) }
    }
}

/// The cost of one turn.
#[derive(Clone, Debug)]
pub struct Timed {
    /// Of what.
    pub name: String,
    /// Nanoseconds, per round.
    pub nanos: Vec<f64>,
}

impl Timed {
    /// The median of the rounds.
    #[must_use]
    pub fn median(&self) -> f64 {
        median(self.nanos.iter().copied())
    }

    /// The fastest round: nearest to a machine that nobody shares.
    #[must_use]
    pub fn least(&self) -> f64 {
        self.nanos.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The median of the ratios to `other`, round by round.
    #[must_use]
    pub fn ratio_to(&self, other: &Self) -> f64 {
        median(self.nanos.iter().zip(&other.nanos).map(|(a, b)| a / b))
    }
}

/// Times the subjects in turns.
#[must_use]
pub fn compare(effort: Effort, mut subjects: Vec<Subject<'_>>) -> Vec<Timed> {
    let turns: Vec<u64> = subjects.iter_mut().map(|it| turns_in(effort.slice, it)).collect();
    let mut timed: Vec<Timed> =
        subjects.iter().map(|it| Timed { name: it.name.clone(), nanos: Vec::new() }).collect();
    for _ in 0..effort.rounds {
        for ((subject, turns), timed) in subjects.iter_mut().zip(&turns).zip(&mut timed) {
            let watch = Stopwatch::start();
            for _ in 0..*turns {
                (subject.turn)();
            }
            timed.nanos.push(watch.nanos() as f64 / *turns as f64);
        }
    }
    timed
}

/// How many turns fill a slice. Doubles until they take a quarter of it, which also warms up.
fn turns_in(slice: Duration, subject: &mut Subject<'_>) -> u64 {
    let mut turns = 1;
    loop {
        let watch = Stopwatch::start();
        for _ in 0..turns {
            (subject.turn)();
        }
        let taken = watch.elapsed();
        if taken * 4 >= slice {
            let fitting = turns as f64 * slice.as_secs_f64() / taken.as_secs_f64();
            return (fitting as u64).max(1);
        }
        turns *= 2;
    }
}
