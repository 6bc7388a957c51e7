//! Programs woven of small nested loops, blocks, tables and calls, seeded: a failure names its seed.
//!
//! The generator of `generated` seldom makes a loop that turns a few times and ends. Here nearly all do: every condition
//! turns a generator of numbers, so ways through a body are many and short. Per program: exact and fast give one
//! number, whatever the slice, and at every limit tried below it both are out of fuel, unless fast traps and leaves it
//! to exact.

use std::fmt::Write as _;

use talea_meter::Variant;

use crate::compiled::{self, Effort};
use crate::host::{Ending, Report, metered, on_deep_stack, wat};
use crate::interpreted;

const LIMIT: u64 = 20_000;
const PER_CHUNK: u64 = 300;

macro_rules! chunks {
    ($($name:ident = $number:literal),* $(,)?) => {
        $(#[test] fn $name() { chunk($number); })*
    };
}

chunks! { programs_0 = 0, programs_1 = 1, programs_2 = 2, programs_3 = 3 }

/// A label that a branch may go to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Label {
    Plain,
    /// A branch to it carries a number.
    Value,
}

/// Writes one program.
struct Weaver {
    state: u64,
    text: String,
    labels: Vec<Label>,
    /// Statements that may still be written.
    room: u32,
}

impl Weaver {
    fn program(seed: u64) -> String {
        let mut weaver =
            Self { state: seed ^ 0x9E37_79B9, text: String::new(), labels: Vec::new(), room: 60 };
        weaver.text.push_str(
            r#"(module (memory 1 4) (type $f (func (param i32) (result i32))) (table 2 funcref) (elem (i32.const 0) $a $b)"#,
        );
        for (name, room) in [("$a", 8), ("$b", 25)] {
            let _ = write!(weaver.text, "(func {name} (param i32) (result i32)");
            weaver.body(room);
        }
        let _ = write!(
            weaver.text,
            r#"(func (export "talea_handle") (result i32) (local i32) (local.set 0 (i32.const {seed}))"#
        );
        weaver.body(60);
        weaver.text.push(')');
        weaver.text
    }

    fn body(&mut self, room: u32) {
        self.room = room;
        self.labels.push(Label::Value);
        while self.room > 0 {
            self.statement();
        }
        self.labels.pop();
        self.text.push_str("(local.get 0))");
    }

    /// SplitMix64.
    fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (word ^ (word >> 31)) % bound
    }

    /// Another number at every evaluation, true once in two to once in sixteen times, or all but.
    fn condition(&mut self) -> String {
        let mask = [1, 3, 7, 15][self.below(4) as usize];
        let not = if self.below(3) == 0 { "(i32.eqz " } else { "(i32.ne (i32.const 0) " };
        format!(
            "{not}(i32.and (i32.shr_u (local.tee 0 (i32.add (i32.const 1013904223) (i32.mul (local.get 0) (i32.const 1664525)))) (i32.const 20)) (i32.const {mask})))"
        )
    }

    fn statement(&mut self) {
        self.room = self.room.saturating_sub(1);
        let condition = self.condition();
        match self.below(22) {
            0..=3 => self.text.push_str("(local.set 0 (i32.xor (local.get 0) (i32.const 77)))"),
            4 => self
                .text
                .push_str("(drop (i32.div_u (i32.const 7) (i32.or (local.get 0) (i32.const 1))))"),
            5 => self
                .text
                .push_str("(i32.store (i32.and (local.get 0) (i32.const 1020)) (local.get 0))"),
            6 => self.text.push_str(
                "(memory.fill (i32.const 64) (i32.const 1) (i32.and (local.get 0) (i32.const 3)))",
            ),
            // A main function calls, and the others call nothing, or the first.
            7 if self.room > 25 => self.text.push_str("(local.set 0 (call $b (local.get 0)))"),
            7 if self.room > 8 => self.text.push_str("(local.set 0 (call $a (local.get 0)))"),
            8 if self.room > 25 => {
                let _ = write!(
                    self.text,
                    "(local.set 0 (call_indirect (type $f) (local.get 0) {condition}))"
                );
            }
            9..=12 => self.branch_if(&condition),
            13 => {
                let _ = write!(self.text, "(if {condition} (then (return (local.get 0))))");
            }
            14 if self.below(6) == 0 => {
                let _ = write!(self.text, "(if {condition} (then unreachable))");
            }
            15 => self.table(),
            16..=17 => {
                let _ = write!(self.text, "(if {condition} (then ");
                self.inside(Label::Plain);
                if self.below(2) == 0 {
                    self.text.push_str(") (else ");
                    self.inside(Label::Plain);
                }
                self.text.push_str("))");
            }
            18..=19 => {
                self.text.push_str("(loop ");
                self.inside(Label::Plain);
                self.text.push(')');
            }
            20 => {
                self.text.push_str("(block ");
                self.inside(Label::Plain);
                self.text.push(')');
            }
            _ => {
                self.text.push_str("(local.set 0 (block (result i32) ");
                self.inside(Label::Value);
                self.text.push_str("(local.get 0)))");
            }
        }
    }

    /// A few statements inside of a construct, the last sometimes a branch that is always taken.
    fn inside(&mut self, label: Label) {
        self.labels.push(label);
        for _ in 0..=self.below(4) {
            if self.room > 0 {
                self.statement();
            }
        }
        if label == Label::Plain && self.below(4) == 0 {
            let target = self.below(self.labels.len() as u64) as usize;
            match self.labels[self.labels.len() - 1 - target] {
                Label::Plain => _ = write!(self.text, "(br {target})"),
                Label::Value => _ = write!(self.text, "(br {target} (local.get 0))"),
            }
        } else if label == Label::Plain && self.below(2) == 0 {
            let condition = self.condition();
            let _ = write!(self.text, "(br_if 0 {condition})");
        }
        self.labels.pop();
    }

    fn branch_if(&mut self, condition: &str) {
        let target = self.below(self.labels.len() as u64) as usize;
        let _ = match self.labels[self.labels.len() - 1 - target] {
            Label::Plain => write!(self.text, "(br_if {target} {condition})"),
            Label::Value => write!(self.text, "(drop (br_if {target} (local.get 0) {condition}))"),
        };
    }

    /// Three ways out of two blocks, one of them to whatever plain label there is.
    fn table(&mut self) {
        let plain: Vec<usize> = (0..self.labels.len())
            .filter(|depth| self.labels[self.labels.len() - 1 - depth] == Label::Plain)
            .collect();
        let far =
            if plain.is_empty() { 1 } else { plain[self.below(plain.len() as u64) as usize] + 2 };
        let condition = self.condition();
        let _ = write!(
            self.text,
            "(block (block (br_table 0 {far} 1 (i32.and (i32.add {condition} (local.get 0)) (i32.const 3)))) nop)"
        );
    }
}

fn chunk(number: u64) {
    let mut endings = [0u64; 3];
    on_deep_stack(|| {
        for seed in number * 1_000_000..number * 1_000_000 + PER_CHUNK {
            let kind = match examine(seed, &wat(&Weaver::program(seed))).ending {
                Ending::Returned(_) => 0,
                Ending::Trapped(_) => 1,
                _ => 2,
            };
            endings[kind] += 1;
        }
    });
    // A generator of nothing but traps or endless loops would prove nothing.
    assert!(endings[0] > PER_CHUNK / 2 && endings[1] > 0 && endings[2] > 0, "{endings:?}");
}

fn examine(seed: u64, wasm: &[u8]) -> Report {
    let (exact, fast) = (metered(wasm, Variant::Exact), metered(wasm, Variant::Fast));
    let report = interpreted::run_exact(&exact, LIMIT, LIMIT);
    let effort = if seed.is_multiple_of(4) { Effort::Speed } else { Effort::None };
    let fast = compiled::compile(&fast, Variant::Fast, effort);
    compare(seed, &fast, LIMIT, &report);
    if matches!(report.ending, Ending::Returned(_)) {
        assert_eq!(interpreted::run_oracle(wasm), report, "seed {seed}: oracle");
        // The limits at which the run ends somewhere in its last turns, and a few earlier ones.
        let fuel = report.fuel;
        for limit in
            (1..=fuel.min(12)).map(|less| fuel - less).chain((1..6).map(|part| fuel * part / 6))
        {
            let less = interpreted::run_exact(&exact, limit, limit);
            assert_eq!((&less.ending, less.fuel), (&Ending::OutOfFuel, limit), "seed {seed}");
            compare(seed, &fast, limit, &less);
        }
    }
    report
}

/// Fast finds what exact found, or leaves it to exact by a trap.
fn compare(seed: u64, fast: &wasmtime::Module, limit: u64, report: &Report) {
    for slice in [limit, 61] {
        let found = compiled::run_module(fast, Variant::Fast, limit, slice);
        match (&report.ending, &found.ending) {
            (Ending::Trapped(_) | Ending::OutOfFuel, Ending::Trapped(_)) => {}
            _ => assert_eq!(&found, report, "seed {seed}, limit {limit}, slice {slice}"),
        }
    }
}
