//! Answers of WASI preview 1 that this host gives, with the numbers of its witx definition.

/// An errno of preview 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(in crate::executor) enum Errno {
    /// Done.
    Success = 0,
    /// No such descriptor, or one that does not do this.
    Badf = 8,
    /// A range outside the guest's memory.
    Fault = 21,
    /// An argument without a meaning.
    Inval = 28,
    /// A path below something that is no directory.
    Notdir = 54,
    /// A socket call on something that is none.
    Notsock = 57,
    /// Nothing here to do that with.
    Notsup = 58,
    /// A position in a stream.
    Spipe = 70,
}

impl Errno {
    /// The number that crosses the border.
    pub(in crate::executor) fn number(self) -> i32 {
        self as i32
    }
}
