//! What one activation of a function counts against the depth limits, and why that suffices.
//!
//! Owns: the estimate of a native frame from what the wasm says, and the weight made of it.
//!
//! # The argument
//!
//! Let `w(f)` be the weight of function f, D the profile's `depth_max`, H its `heavy_max`, U its
//! `unit_bytes`, N the fast variant's native stack.
//!
//! 1. *Leaves.* A function that calls no function of the module (neither by name nor through a table)
//!    weighs 0 and is counted in neither variant. It can only be the top frame, so it adds at most one
//!    frame, of at most `frame_bytes_max`: a larger estimate is refused.
//! 2. *Others* weigh `ceil(frame(f) / U)`, at least 1.
//! 3. *Exact never overflows natively.* Every frame but the top one belongs to a function that calls,
//!    hence is counted, and their weights sum to at most D. So the stack in use is at most
//!    `D * U + frame_bytes_max`, which is at most the exact variant's native stack.
//! 4. *What fast lets live, exact lets live.* Fast counts weights above 1 and stops above H, so they
//!    sum to at most H. A function of weight 1 calls, so its native frame holds a return address and a
//!    frame pointer, `NATIVE_FRAME_BYTES_MIN`; at most `N / NATIVE_FRAME_BYTES_MIN` of them fit. The
//!    function being entered may not have its frame yet: one more. So exact's sum is at most
//!    `H + N / NATIVE_FRAME_BYTES_MIN + 1 <= D`, and exact does not stop.
//! 5. *What fast stops, exact decides.* A stop or a native overflow in fast is never an outcome: the
//!    run is repeated in exact.
//!
//! Step 3 leans on `frame(f)` not being below the native frame. A compiler may keep any value of a
//! body live across a call: it may compute loop-invariant and repeated expressions once and early, or
//! late, keeping their operands. A value is a parameter, a result, a local, an operand stack entry, or
//! something an instruction makes on its way to its result; the compiler's own slots may be shared
//! badly, so instructions are counted, not what is live at once. Hence
//!
//! ```text
//! frame = frame_bytes + value size * (params + results + locals + highest operand stack
//!         + values_per_instruction * instructions that make a value
//!         + values_per_call * calls, growths and table instructions + their arguments and results)
//! ```
//!
//! Reading and writing locals, constants and branches make no value of their own. The tests attack
//! this estimate with functions made to have large frames, at both ends of the optimiser. If it were
//! wrong for some function after all, the run would end in a native overflow of the exact variant,
//! which is a host fault: no receipt and no bill, never a wrong one.

use talea_ledger::profile::StackRule;
use wasmparser::{FuncType, ValType};

/// What one activation of a function counts against the depth limits, in the profile's units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(pub u32);

/// Gathers what a native frame may have to hold.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Frame {
    values: u64,
    vectors: bool,
}

// === impl Frame ===

impl Frame {
    /// Parameters and results, of the function itself, a callee or a block.
    pub(crate) fn signature(&mut self, ty: &FuncType) {
        self.values += (ty.params().len() + ty.results().len()) as u64;
        self.vectors |= ty.params().iter().chain(ty.results()).any(|ty| *ty == ValType::V128);
    }

    /// Several values of one type.
    pub(crate) fn values(&mut self, count: u64, ty: ValType) {
        self.values += count;
        self.vectors |= ty == ValType::V128;
    }

    /// Several values that only vectors seen elsewhere could make large.
    pub(crate) fn untyped(&mut self, count: u64) {
        self.values += count;
    }

    /// A vector instruction.
    pub(crate) fn vector(&mut self) {
        self.vectors = true;
    }

    /// Bytes the native frame is taken to have at most.
    pub(crate) fn bytes(&self, rule: &StackRule) -> u64 {
        let size = if self.vectors { rule.vector_bytes } else { rule.value_bytes };
        rule.frame_bytes + size * self.values
    }

    /// The weight of a function with this frame that calls others.
    pub(crate) fn weight(&self, rule: &StackRule) -> Weight {
        let units = self.bytes(rule).div_ceil(rule.unit_bytes);
        Weight(u32::try_from(units).expect("frames are bounded before weights are taken"))
    }
}
