//! The fast variant's way through a body: every charge is paid as late as can be, and with others.
//!
//! Owns: what is owed at every place, and the shape of branches and loops in the fast variant.
//!
//! A segment that is entered is owed for, and the sum is known while the body is written; it comes off
//! the counter in one subtraction where somebody may look: before a call, a charge by operand and a
//! return. All ways to a label agree on what is owed there, and pay what they have above it. So at each of
//! those places the counter is what it is in exact, and elsewhere it is higher by a sum that one body
//! bounds: nothing is ever stopped here that exact would let live, and what exact would have stopped is
//! found out at the next place, before the host does anything.
//!
//! Checks stand at a loop's head, and at the entry of a function; of a small one before its first call. A
//! loop whose inside is small and looks at nothing has several turns written out, one after the other: one
//! payment and one check for all of them.

use talea_ledger::profile::Profile;
use wasm_encoder::BlockType;
use wasmparser::{BrTable, OperatorsReader};

use super::Writer;
use crate::front::Body;
use crate::labels::{Debt, Target};
use crate::refusal::Refusal;
use crate::segment::Shape;

/// What a label that a table jumps to agrees on, before there is a way to it: one table may jump to
/// many, and pays once.
const PAID: Debt = Debt { owed: 0, checked: true };

/// `loop` without parameters and results, as it is written (core specification, 5.4.1).
const PLAIN_LOOP: &[u8] = &[0x03, 0x40];

impl<'a> Writer<'a> {
    pub(super) fn open_body(&mut self, has_results: bool) {
        let label = self.labels.open();
        label.agreed = Some(PAID);
        label.carries = has_results;
    }

    pub(super) fn entry_check(&mut self, body: &Body<'_>, profile: &Profile) {
        if body.plan.is_large(profile) {
            self.check();
            self.debt.checked = true;
        }
    }

    pub(super) fn open_block(&mut self, shape: Shape, carries: bool) {
        if shape.tabled {
            self.settle();
        }
        let label = self.labels.open();
        label.carries = carries;
        label.agreed = shape.tabled.then_some(PAID);
    }

    pub(super) fn open_if(&mut self, shape: Shape, carries: bool) {
        self.open_block(shape, carries);
        let debt = self.debt;
        let label = self.labels.innermost();
        if shape.alternative {
            label.other = Some(debt);
        } else {
            // The way past it, when the condition does not hold.
            label.agreed = Some(debt);
        }
    }

    pub(super) fn other_arm(&mut self, reached: bool) {
        if reached {
            self.agree(0);
        }
        self.debt = self.labels.innermost().other.take().expect("an `if` with an `else`");
    }

    /// Before the `end`s of the innermost construct.
    pub(super) fn join(&mut self, reached: bool) {
        let label = *self.labels.innermost();
        match label.target {
            Target::Forward | Target::Turn => {
                if reached {
                    self.agree(0);
                }
                self.debt = self.labels.innermost().agreed.unwrap_or_default();
            }
            Target::Head if !reached => self.debt = Debt::default(),
            Target::Head => {}
        }
    }

    /// Makes what is owed what all ways to that label agree on.
    fn agree(&mut self, depth: u32) {
        let debt = self.debt;
        let label = self.labels.target(depth);
        let agreed = label.agreed.get_or_insert(debt);
        agreed.checked &= debt.checked;
        let owed = agreed.owed;
        self.pay_down_to(owed);
    }

    fn pay_down_to(&mut self, owed: u64) {
        let bounded = |sum: u64| i64::try_from(sum).expect("a body's cost is bounded by its bytes");
        let due = bounded(self.debt.owed) - bounded(owed);
        self.debt.owed = owed;
        if due != 0 {
            self.counter_get();
            self.sink().i64_const(due).i64_sub();
            self.counter_set();
        }
    }

    /// Pays everything: somebody may look at the counter now.
    pub(super) fn settle(&mut self) {
        self.pay_down_to(0);
    }

    /// Before a call of a function of the module.
    pub(super) fn check_once(&mut self) {
        if !self.debt.checked {
            self.check();
            self.debt.checked = true;
        }
    }

    pub(super) fn branch(&mut self, depth: u32) {
        self.agree(depth);
        let depth = self.labels.depth(depth);
        self.sink().br(depth);
    }

    /// Pays before it branches, or, out of a loop and without values, only where it does.
    pub(super) fn branch_if(&mut self, depth: u32) {
        let debt = self.debt;
        let loops = self.labels.innermost().loops;
        let label = *self.labels.target(depth);
        let even = label.agreed.is_none_or(|agreed| agreed.owed == debt.owed);
        let leaves = label.target == Target::Forward && label.loops < loops;
        if label.target == Target::Turn {
            // Of an `if` without `else` the compiler would place the inside after all that follows.
            self.sink().i32_eqz().if_(BlockType::Empty).else_();
        } else if leaves && !even && !label.carries {
            self.sink().if_(BlockType::Empty);
        } else {
            self.agree(depth);
            let depth = self.labels.depth(depth);
            self.sink().br_if(depth);
            return;
        }
        self.labels.deepen(1);
        self.branch(depth);
        self.labels.surface(1);
        self.sink().end();
        self.debt = debt;
    }

    pub(super) fn branch_by_table(&mut self, targets: &BrTable<'_>) -> Result<(), Refusal> {
        self.settle();
        for depth in targets.targets() {
            self.agree(depth?);
        }
        self.agree(targets.default());
        Ok(())
    }

    /// A loop with every turn checked at its head.
    pub(super) fn open_loop(&mut self, bytes: &[u8], shape: Shape) {
        if shape.tabled {
            self.settle();
        }
        self.head_loop(bytes);
        self.debt.checked = true;
        let debt = self.debt;
        self.labels.innermost().agreed = Some(debt);
    }

    /// A loop with several turns written out, up to its `end`: one check for all of them.
    ///
    /// ```text
    /// block exit; loop; check; loop; branch to the outer one if overdrawn
    ///   block  a turn: a branch to the loop goes past the end of this block; leaves by `br exit`
    ///   end
    ///   ..
    ///   the last turn: a branch to the loop goes back to the inner one
    /// end; end; end
    /// ```
    pub(super) fn turns(
        &mut self,
        reader: &mut OperatorsReader<'a>,
        shape: Shape,
    ) -> Result<(), Refusal> {
        let exit = self.labels.output_depth();
        self.sink().block(BlockType::Empty);
        self.head(PLAIN_LOOP);
        self.labels.deepen(3);
        self.debt.checked = true;
        let entry = self.debt;
        let mut left: Option<Debt> = None;
        let (inside, at) = (reader.get_binary_reader(), reader.original_position());
        let (charges, shapes) = (self.charges, self.shapes);
        for turn in 1..=shape.turns {
            let is_last = turn == shape.turns;
            (self.charges, self.shapes) = (charges, shapes);
            if is_last {
                self.labels.open_last_turn().agreed = Some(entry);
            } else {
                self.sink().block(BlockType::Empty);
                self.labels.open_turn();
            }
            self.charge_at(at);
            if self.run(&mut OperatorsReader::new(inside.clone()))? {
                let debt = self.debt;
                let all = left.get_or_insert(debt);
                all.checked &= debt.checked;
                let owed = all.owed;
                self.pay_down_to(owed);
                if !is_last {
                    let depth = self.labels.output_depth() - 1 - exit;
                    self.sink().br(depth);
                }
            }
            let (label, ends) = self.labels.close();
            (0..ends).for_each(|_| _ = self.sink().end());
            self.debt = label.agreed.unwrap_or_default();
        }
        self.sink().end().end().end();
        self.labels.surface(3);
        self.debt = left.unwrap_or_default();
        while reader.original_position() < shape.end as usize {
            reader.read()?;
        }
        Ok(())
    }
}
