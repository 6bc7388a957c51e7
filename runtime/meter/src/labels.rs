//! Labels of a body that is being rewritten.
//!
//! Owns: how deep a branch of the original goes in the output, where each loop is two and a block stands
//! in the place of the function's own label. Invariant: one entry per open construct of the original.

/// Where the labels of the original are among those of the output: a loop has two there, and the block
/// in the place of the function's label is the first.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    /// Per open construct of the original, the place of its label in the output.
    places: Vec<u32>,
    /// Labels open in the output.
    open: u32,
}

// === impl Labels ===

impl Labels {
    pub(crate) fn open(&mut self) {
        self.places.push(self.open);
        self.open += 1;
    }

    /// A branch to the loop goes to the inner of the two.
    pub(crate) fn open_loop(&mut self) {
        self.places.push(self.open + 1);
        self.open += 2;
    }

    /// Closes the innermost construct; tells whether it was a loop.
    pub(crate) fn close(&mut self) -> bool {
        let place = self.places.pop().expect("validated");
        let around = self.places.last().map_or(0, |place| place + 1);
        self.open = around;
        place > around
    }

    /// The depth in the output of what was at this depth in the original.
    pub(crate) fn depth(&self, original: u32) -> u32 {
        let index = self.places.len() - 1 - original as usize;
        self.open - 1 - self.places[index]
    }

    pub(crate) fn outermost(&self) -> u32 {
        self.open - 1
    }
}
