//! Ranges of the guest's memory, checked once and then plain slices.

use std::ops::Range;

/// The bytes `[ptr, ptr + len)` if all of them lie inside a memory of `size` bytes. Pointers and
/// lengths are unsigned, whatever the sign of the i32 that carried them.
pub(super) fn range(size: usize, ptr: i32, len: u32) -> Option<Range<usize>> {
    let start = usize::try_from(ptr.cast_unsigned()).ok()?;
    let end = start.checked_add(usize::try_from(len).ok()?)?;
    (end <= size).then_some(start..end)
}

/// The bytes of a range, if it lies inside.
pub(super) fn bytes(memory: &[u8], ptr: i32, len: u32) -> Option<&[u8]> {
    memory.get(range(memory.len(), ptr, len)?)
}

/// The bytes of a range for writing, if it lies inside.
pub(super) fn bytes_mut(memory: &mut [u8], ptr: i32, len: u32) -> Option<&mut [u8]> {
    let range = range(memory.len(), ptr, len)?;
    memory.get_mut(range)
}

/// The u32 at a pointer.
pub(super) fn read_u32(memory: &[u8], ptr: i32) -> Option<u32> {
    Some(u32::from_le_bytes(bytes(memory, ptr, 4)?.try_into().ok()?))
}

/// Puts bytes at a pointer; `None`, and nothing done, if they do not fit.
pub(super) fn put(memory: &mut [u8], ptr: i32, bytes: &[u8]) -> Option<()> {
    let len = u32::try_from(bytes.len()).ok()?;
    bytes_mut(memory, ptr, len)?.copy_from_slice(bytes);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_inside_up_to_its_last_byte() {
        assert_eq!(range(8, 0, 8), Some(0..8));
        assert_eq!(range(8, 8, 0), Some(8..8));
        assert_eq!(range(8, 1, 8), None);
        assert_eq!(range(8, 9, 0), None);
        assert_eq!(range(8, -1, 1), None);
        assert_eq!(range(8, 4, u32::MAX), None);
    }
}
