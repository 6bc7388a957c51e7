//! The binary's allocator: mimalloc, asked in the form that it answers fastest.
//!
//! Rust names an alignment with every piece of memory. Asked for one by its aligned door, mimalloc looks for it, and
//! takes more than was wanted where the size alone does not promise it; its plain door promises what nearly every
//! type needs. Invariant: no piece is aligned less than was asked for. Absent: any other choice of an allocator.

use std::alloc::{GlobalAlloc, Layout};

use libmimalloc_sys as mi;

/// What the plain door promises for pieces of at least this size (`MI_MAX_ALIGN_SIZE`); smaller pieces are aligned to
/// their size rounded up to a power of two.
const PLAIN_ALIGN: usize = 16;

/// mimalloc, for `#[global_allocator]`.
#[derive(Debug)]
pub(crate) struct Allocator;

/// Whether the plain door aligns as much as is asked for.
fn is_plain(align: usize, size: usize) -> bool {
    align <= PLAIN_ALIGN && align <= size
}

// SAFETY: every piece comes from mimalloc with at least the size and alignment of its layout, a null pointer says that
// there is none, and what comes from either door is given back and resized by the same allocator.
#[allow(unsafe_code, reason = "an allocator is unsafe by its trait")]
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: both take any size; the alignment of a layout is a power of two.
        unsafe {
            match is_plain(align, size) {
                true => mi::mi_malloc(size).cast(),
                false => mi::mi_malloc_aligned(size, align).cast(),
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: as in `alloc`.
        unsafe {
            match is_plain(align, size) {
                true => mi::mi_zalloc(size).cast(),
                false => mi::mi_zalloc_aligned(size, align).cast(),
            }
        }
    }

    unsafe fn dealloc(&self, piece: *mut u8, _: Layout) {
        // SAFETY: the caller gives back what `alloc` or `realloc` gave.
        unsafe { mi::mi_free(piece.cast()) };
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let align = layout.align();
        // SAFETY: the piece is mimalloc's, and the caller's new size fits its layout's alignment.
        unsafe {
            match is_plain(align, size) {
                true => mi::mi_realloc(piece.cast(), size).cast(),
                false => mi::mi_realloc_aligned(piece.cast(), size, align).cast(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(unsafe_code, reason = "an allocator is asked by hand")]
    fn every_piece_is_aligned_as_asked_for_and_keeps_its_bytes() {
        for align in [1, 2, 4, 8, 16, 32, 64, 4096] {
            for size in (1..200).chain([1000, 1024, 4095, 70_000, 3 << 20]) {
                let layout = Layout::from_size_align(size, align).unwrap();
                let more = size + size / 2 + 1;
                // SAFETY: the layouts are not empty; each piece is written within its size and given back once.
                unsafe {
                    let plain = Allocator.alloc(layout);
                    let zeroed = Allocator.alloc_zeroed(layout);
                    assert!(!plain.is_null() && plain.addr().is_multiple_of(align), "{layout:?}");
                    assert!(!zeroed.is_null() && zeroed.addr().is_multiple_of(align), "{layout:?}");
                    assert!((0..size).all(|at| *zeroed.add(at) == 0));
                    plain.write_bytes(7, size);
                    let grown = Allocator.realloc(plain, layout, more);
                    assert!(!grown.is_null() && grown.addr().is_multiple_of(align), "{layout:?}");
                    assert!((0..size).all(|at| *grown.add(at) == 7));
                    Allocator.dealloc(grown, Layout::from_size_align(more, align).unwrap());
                    Allocator.dealloc(zeroed, layout);
                }
            }
        }
    }
}
