//! What an ending of the engine means: an outcome, a repeat in the exact variant, or our own fault.
//!
//! Invariant: every trap of wasmtime is named here. One that a guest of a profile cannot raise is a
//! host fault and never a bill, and so is one that a later wasmtime adds.

use talea_ledger::outcome::TrapCode;
use wasmtime::Trap;

/// A trap, as the host reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TrapMeaning {
    /// The guest's own doing.
    Guest(TrapCode),
    /// The native stack is used up.
    NativeStack,
    /// Nothing that a module of this profile can do.
    Ours,
}

/// What a trap means. Exhaustive but for the arm that wasmtime's `non_exhaustive` asks for; a test
/// goes over every code that this wasmtime knows.
pub(super) fn meaning(trap: Trap) -> TrapMeaning {
    match trap {
        Trap::StackOverflow => TrapMeaning::NativeStack,
        Trap::MemoryOutOfBounds => TrapMeaning::Guest(TrapCode::MemoryOutOfBounds),
        Trap::TableOutOfBounds => TrapMeaning::Guest(TrapCode::TableOutOfBounds),
        Trap::IndirectCallToNull => TrapMeaning::Guest(TrapCode::IndirectCallToNull),
        Trap::BadSignature => TrapMeaning::Guest(TrapCode::IndirectCallTypeMismatch),
        Trap::IntegerOverflow => TrapMeaning::Guest(TrapCode::IntegerOverflow),
        Trap::IntegerDivisionByZero => TrapMeaning::Guest(TrapCode::IntegerDivideByZero),
        Trap::BadConversionToInteger => TrapMeaning::Guest(TrapCode::InvalidConversionToInteger),
        Trap::UnreachableCodeReached => TrapMeaning::Guest(TrapCode::Unreachable),
        // Features that no profile allows, engine settings that are off, and components.
        Trap::HeapMisaligned
        | Trap::Interrupt
        | Trap::OutOfFuel
        | Trap::AtomicWaitNonSharedMemory
        | Trap::NullReference
        | Trap::ArrayOutOfBounds
        | Trap::AllocationTooLarge
        | Trap::CastFailure
        | Trap::CannotEnterComponent
        | Trap::NoAsyncResult
        | Trap::UnhandledTag
        | Trap::ContinuationAlreadyConsumed
        | Trap::DisabledOpcode
        | Trap::AsyncDeadlock
        | Trap::CannotLeaveComponent
        | Trap::CannotBlockSyncTask
        | Trap::InvalidChar
        | Trap::DebugAssertStringEncodingFinished
        | Trap::DebugAssertEqualCodeUnits
        | Trap::DebugAssertPointerAligned
        | Trap::DebugAssertUpperBitsUnset
        | Trap::StringOutOfBounds
        | Trap::ListOutOfBounds
        | Trap::InvalidDiscriminant
        | Trap::UnalignedPointer
        | Trap::TaskCancelNotCancelled
        | Trap::TaskCancelOrReturnTwice
        | Trap::SubtaskCancelAfterTerminal
        | Trap::TaskReturnInvalid
        | Trap::WaitableSetDropHasWaiters
        | Trap::SubtaskDropNotResolved
        | Trap::ThreadNewIndirectInvalidType
        | Trap::ThreadNewIndirectUninitialized
        | Trap::BackpressureOverflow
        | Trap::UnsupportedCallbackCode
        | Trap::CannotResumeThread
        | Trap::ConcurrentFutureStreamOp
        | Trap::ReferenceCountOverflow
        | Trap::StreamOpTooBig
        | Trap::WaitableSyncAndAsync
        | Trap::UncaughtException => TrapMeaning::Ours,
        // What a later wasmtime adds is ours until somebody has read what it means.
        _ => TrapMeaning::Ours,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Traps that the guests of a profile can raise, and what each means.
    const GUEST: [(Trap, TrapCode); 8] = [
        (Trap::MemoryOutOfBounds, TrapCode::MemoryOutOfBounds),
        (Trap::TableOutOfBounds, TrapCode::TableOutOfBounds),
        (Trap::IndirectCallToNull, TrapCode::IndirectCallToNull),
        (Trap::BadSignature, TrapCode::IndirectCallTypeMismatch),
        (Trap::IntegerOverflow, TrapCode::IntegerOverflow),
        (Trap::IntegerDivisionByZero, TrapCode::IntegerDivideByZero),
        (Trap::BadConversionToInteger, TrapCode::InvalidConversionToInteger),
        (Trap::UnreachableCodeReached, TrapCode::Unreachable),
    ];

    #[test]
    fn every_trap_has_one_meaning() {
        let mut guest = 0;
        let mut known = 0;
        for trap in (0..=u8::MAX).filter_map(Trap::from_u8) {
            known += 1;
            let expected = GUEST.iter().find(|(t, _)| *t == trap).map(|(_, code)| *code);
            match meaning(trap) {
                TrapMeaning::Guest(code) => {
                    guest += 1;
                    assert_eq!(Some(code), expected, "{trap:?}");
                }
                TrapMeaning::NativeStack => assert_eq!(trap, Trap::StackOverflow),
                TrapMeaning::Ours => assert_eq!(expected, None, "{trap:?}"),
            }
        }
        assert_eq!(guest, GUEST.len());
        // A wasmtime that adds or drops a trap must be read before it is used.
        assert_eq!(known, 50);
    }
}
