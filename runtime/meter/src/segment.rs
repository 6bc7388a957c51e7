//! Where a body is charged, and how much.
//!
//! Owns: the division of a function body into segments. A segment is charged when it is entered; all
//! of its instructions run exactly once per entry, unless one of them traps or never ends.
//!
//! # The rule (edition 1 of the profile's `placement`)
//!
//! - The body's first segment begins at its first instruction; its charge includes the entry charge.
//! - After `br_if` a new segment begins.
//! - An arm of an `if` and the body of a `loop` are segments of their own.
//! - After `br`, `br_table`, `return` and `unreachable` code is dead up to the `end` or `else` of the
//!   construct it is in: it is not charged, and not copied.
//! - At the `end` of a construct: if a branch inside it goes past that end (to a construct around it,
//!   or out of the function), a new segment begins; otherwise the construct is left through its end
//!   exactly once each time it is entered, and the segment that was current before it goes on.
//! - Calls do not end a segment.
//! - What is charged by operand (bulk memory, tables, growth) is charged where it stands.
//!
//! A branch's depth is remembered, per construct, as the outermost target seen, and handed outward at
//! each end, so that the work is linear however deep blocks nest.
//!
//! # Checks
//!
//! They are the exact variant's: the fast one looks later, and decides nothing that exact would not
//! (`body::lazy`).
//!
//! The counter is compared with zero after the charge at function entry (but not in a small function that
//! calls none of the module's: it ends soon, and a cold call in it would cost it a frame), before the charge at
//! each loop header (on every turn), and after the charge by operand but before the effect.

use std::ops::Range;

use talea_ledger::profile::Profile;
use wasmparser::{BlockType, FuncType, Operator};

use crate::opcode::Opcode;
use crate::weight::Frame;

/// A charge, and the byte of the module before which it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) at: usize,
    pub(crate) cost: u64,
}

/// What the analysis knows of a body.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Charges above zero, in order of place. The first is the entry's.
    pub(crate) charges: Vec<Charge>,
    /// What its native frame may have to hold.
    pub(crate) frame: Frame,
    /// Whether it calls a function of the module.
    pub(crate) calls: bool,
    /// Whether it holds an instruction that needs the scratch local.
    pub(crate) scratch: bool,
    /// Whether it takes a reference of a function.
    pub(crate) references: bool,
    /// Whether anything in it is a float.
    pub(crate) floats: bool,
    /// Blocks and branch targets: the work of building its SSA form.
    pub(crate) joins: u64,
    /// Of every live construct in the order of their heads; the first is the body itself.
    pub(crate) shapes: Vec<Shape>,
}

/// What the fast variant wants to know of a construct before it writes it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shape {
    /// The byte of the module after its `end`.
    pub(crate) end: u32,
    /// Whether a `br_table` goes to its label.
    pub(crate) tabled: bool,
    /// Whether it is an `if` with an `else`.
    pub(crate) alternative: bool,
    /// How many turns of a loop are written out one after the other, at least 1.
    pub(crate) turns: u8,
}

/// All turns of a loop that are written out have together at most so many bytes, ...
const TURNS_BYTES_MAX: usize = 400;
/// ... and are at most so many. Both were the best of those tried on twenty kernels (benches/RESULTS.md, "Metering and
/// prices"); beyond them the gain is lost in the noise.
const TURNS_MAX: usize = 8;
/// Turns written out make a body at most twice as long, and so many bytes.
const TURNS_BYTES_FREE: usize = 256;

// === impl Plan ===

impl Plan {
    /// Whether the counter is checked at the function's entry.
    pub(crate) fn checks_entry(&self, profile: &Profile) -> bool {
        self.calls || self.is_large(profile)
    }

    /// Whether all its charges together are above what may run unchecked.
    pub(crate) fn is_large(&self, profile: &Profile) -> bool {
        let all: u64 = self.charges.iter().map(|charge| charge.cost).sum();
        all > profile.placement.leaf_unchecked
    }
}

/// What a body needs to know of its module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signatures<'a> {
    pub(crate) types: &'a [FuncType],
    /// Type index of every function, imports first.
    pub(crate) functions: &'a [u32],
    /// How many of them are imported.
    pub(crate) imported: u32,
}

/// Takes a body's instructions one by one and makes its [`Plan`].
#[derive(Debug)]
pub(crate) struct Analysis<'a> {
    profile: &'a Profile,
    signatures: Signatures<'a>,
    open: Vec<Construct>,
    /// The segment that instructions are added to.
    current: usize,
    /// Constructs opened in dead code, if the code is dead.
    dead: Option<u32>,
    operands_max: u32,
    /// Bytes that turns written out may still add to the body.
    room: usize,
    plan: Plan,
}

/// An open block, loop, if, or the body itself.
#[derive(Clone, Copy, Debug)]
struct Construct {
    /// The segment that was current before it.
    outer: usize,
    /// The outermost construct, by place in the stack, that a branch inside it goes to.
    reach: usize,
    /// Its place among the shapes.
    shape: usize,
    /// Where its inside begins.
    inside: usize,
    /// Whether its inside holds a loop, a call, or a charge by operand.
    busy: bool,
    is_loop: bool,
    /// A loop that takes and leaves nothing.
    plain_loop: bool,
}

// === impl Analysis ===

impl<'a> Analysis<'a> {
    /// Begins with a body whose instructions stand at `code`; `locals` are those it declares.
    pub(crate) fn new(
        profile: &'a Profile,
        signatures: Signatures<'a>,
        frame: Frame,
        locals: u64,
        code: Range<usize>,
    ) -> Self {
        let at = code.start;
        let entry = profile.bulk.entry + locals.div_ceil(profile.bulk.locals_per_fuel);
        Self {
            profile,
            signatures,
            open: vec![Construct {
                outer: 0,
                reach: usize::MAX,
                shape: 0,
                inside: at,
                busy: false,
                is_loop: false,
                plain_loop: false,
            }],
            current: 0,
            dead: None,
            operands_max: 0,
            room: code.len() + TURNS_BYTES_FREE,
            plan: Plan {
                charges: vec![Charge { at, cost: entry }],
                frame,
                calls: false,
                scratch: false,
                references: false,
                floats: false,
                joins: 0,
                shapes: vec![Shape { turns: 1, ..Shape::default() }],
            },
        }
    }

    /// Takes the next instruction. `bytes` are its own, `next` is where the one after it stands,
    /// `operands` is the height of the operand stack after it.
    pub(crate) fn take(&mut self, op: &Operator<'_>, bytes: &[u8], next: usize, operands: u32) {
        if let Some(depth) = self.dead {
            self.skip(op, depth, next);
            return;
        }
        let opcode = Opcode::of(bytes);
        self.plan.charges[self.current].cost += opcode.cost(&self.profile.opcodes);
        self.plan.floats |= opcode.is_float();
        self.plan.references |= matches!(op, Operator::RefFunc { .. });
        self.operands_max = self.operands_max.max(operands);
        self.weigh(op, opcode);
        self.place(op, next);
    }

    /// Ends with the body.
    pub(crate) fn finish(mut self) -> Plan {
        assert!(self.open.is_empty(), "validation saw the end of every construct");
        self.plan.frame.untyped(u64::from(self.operands_max));
        let mut entry = true;
        // The entry keeps its place even if a profile made it free: its check stands there.
        self.plan.charges.retain(|charge| std::mem::take(&mut entry) || charge.cost > 0);
        self.plan
    }

    /// Dead code: only its nesting matters.
    fn skip(&mut self, op: &Operator<'_>, depth: u32, next: usize) {
        self.dead = match op {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => Some(depth + 1),
            Operator::End if depth > 0 => Some(depth - 1),
            Operator::End | Operator::Else if depth == 0 => {
                self.dead = None;
                self.place(op, next);
                return;
            }
            _ => Some(depth),
        };
    }

    /// Opens and closes constructs and segments.
    fn place(&mut self, op: &Operator<'_>, next: usize) {
        match op {
            Operator::Block { .. } => self.open(next, None),
            Operator::Loop { blockty } => {
                self.open(next, Some(*blockty));
                self.begin(next);
            }
            Operator::If { .. } => {
                self.open(next, None);
                self.begin(next);
            }
            Operator::Else => {
                let shape = self.innermost().shape;
                self.plan.shapes[shape].alternative = true;
                self.begin(next);
            }
            Operator::End => self.close(next),
            Operator::BrIf { relative_depth } => {
                self.branch(*relative_depth);
                self.begin(next);
            }
            Operator::Br { relative_depth } => {
                self.branch(*relative_depth);
                self.dead = Some(0);
            }
            Operator::BrTable { targets } => {
                self.plan.joins += u64::from(targets.len());
                let listed = targets.targets().map(|depth| depth.expect("validated"));
                let mut outermost = 0;
                for depth in listed.chain([targets.default()]) {
                    outermost = outermost.max(depth);
                    let target = self.open.len() - 1 - depth as usize;
                    self.plan.shapes[self.open[target].shape].tabled = true;
                }
                self.branch(outermost);
                self.dead = Some(0);
            }
            Operator::Return => {
                self.branch(u32::try_from(self.open.len() - 1).expect("nesting is bounded"));
                self.dead = Some(0);
            }
            Operator::Unreachable => self.dead = Some(0),
            _ => {}
        }
    }

    /// A branch to the construct `depth` outward of the innermost.
    fn branch(&mut self, depth: u32) {
        self.plan.joins += 1;
        let target = self.open.len() - 1 - depth as usize;
        let innermost = self.innermost();
        innermost.reach = innermost.reach.min(target);
    }

    fn innermost(&mut self) -> &mut Construct {
        self.open.last_mut().expect("the body itself is open")
    }

    fn open(&mut self, inside: usize, repeated: Option<BlockType>) {
        self.plan.joins += 1;
        self.open.push(Construct {
            outer: self.current,
            reach: usize::MAX,
            shape: self.plan.shapes.len(),
            inside,
            busy: false,
            is_loop: repeated.is_some(),
            plain_loop: repeated == Some(BlockType::Empty),
        });
        self.plan.shapes.push(Shape { turns: 1, ..Shape::default() });
    }

    /// The shape of a construct is known at its end.
    fn shape(&mut self, closed: Construct, next: usize) {
        let shape = &mut self.plan.shapes[closed.shape];
        shape.end = u32::try_from(next).expect("modules are bounded");
        if closed.plain_loop && !closed.busy && !shape.tabled {
            let bytes = next - closed.inside;
            let turns = (TURNS_BYTES_MAX.min(self.room) / bytes).clamp(1, TURNS_MAX);
            self.room -= (turns - 1) * bytes;
            shape.turns = u8::try_from(turns).expect("a few");
        }
    }

    fn begin(&mut self, at: usize) {
        self.current = self.plan.charges.len();
        self.plan.charges.push(Charge { at, cost: 0 });
    }

    fn close(&mut self, next: usize) {
        let closed = self.open.pop().expect("validated");
        self.shape(closed, next);
        let Some(around) = self.open.last_mut() else { return };
        around.reach = around.reach.min(closed.reach);
        around.busy |= closed.busy || closed.is_loop;
        // The closed construct's own place in the stack is what the stack's length is now.
        if closed.reach < self.open.len() {
            self.begin(next);
        } else {
            self.current = closed.outer;
        }
    }

    /// What the instruction may add to the native frame.
    fn weigh(&mut self, op: &Operator<'_>, opcode: Opcode) {
        let stack = &self.profile.stack;
        let frame = &mut self.plan.frame;
        if opcode.is_vector() {
            frame.vector();
        }
        match op {
            Operator::Block { blockty } | Operator::Loop { blockty } | Operator::If { blockty } => {
                match blockty {
                    BlockType::Empty => {}
                    BlockType::Type(ty) => frame.values(1, *ty),
                    BlockType::FuncType(ty) => {
                        frame.signature(&self.signatures.types[*ty as usize])
                    }
                }
            }
            Operator::Call { function_index } => {
                let ty = self.signatures.functions[*function_index as usize];
                frame.signature(&self.signatures.types[ty as usize]);
                frame.untyped(stack.values_per_call);
                self.plan.calls |= *function_index >= self.signatures.imported;
                self.innermost().busy = true;
            }
            Operator::CallIndirect { type_index, .. } => {
                frame.signature(&self.signatures.types[*type_index as usize]);
                frame.untyped(stack.values_per_call);
                self.plan.calls = true;
                self.plan.scratch = true;
                self.innermost().busy = true;
            }
            Operator::MemoryGrow { .. }
            | Operator::MemoryFill { .. }
            | Operator::MemoryCopy { .. }
            | Operator::MemoryInit { .. }
            | Operator::TableGrow { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. } => {
                frame.untyped(stack.values_per_call);
                self.plan.scratch = true;
                self.innermost().busy = true;
            }
            Operator::MemorySize { .. }
            | Operator::DataDrop { .. }
            | Operator::ElemDrop { .. }
            | Operator::TableSize { .. }
            | Operator::TableGet { .. }
            | Operator::TableSet { .. }
            | Operator::RefFunc { .. } => frame.untyped(stack.values_per_call),
            Operator::End
            | Operator::Else
            | Operator::Nop
            | Operator::Drop
            | Operator::Unreachable
            | Operator::Br { .. }
            | Operator::Return
            | Operator::LocalGet { .. }
            | Operator::LocalSet { .. }
            | Operator::LocalTee { .. }
            | Operator::I32Const { .. }
            | Operator::I64Const { .. } => {}
            _ => frame.untyped(stack.values_per_instruction),
        }
    }
}
