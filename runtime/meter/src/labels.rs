//! Labels of a body that is being rewritten.
//!
//! Owns: how deep a branch of the original goes in the output, where a construct may have several labels
//! and a block stands in the place of the function's own; and, in the fast variant, what all ways to a
//! label agree on. Invariant: one entry per open construct of the original.

/// What is known of the counter at a place, whichever way led there (fast variant).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Debt {
    /// Charges of segments entered that are not yet taken off the counter.
    pub(crate) owed: u64,
    /// Whether this activation has compared the counter with zero.
    pub(crate) checked: bool,
}

/// What a branch to a construct's label does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Goes past the construct's end.
    Forward,
    /// Goes on to the next turn of the loop, which is written out.
    Turn,
    /// Turns back, to where the counter is checked.
    Head,
}

/// An open construct.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Label {
    pub(crate) target: Target,
    /// Its label, counted from the outermost of the output.
    place: u32,
    /// Labels open in the output before it.
    below: u32,
    /// Loops open, itself included.
    pub(crate) loops: u32,
    /// Whether a branch to it carries values.
    pub(crate) carries: bool,
    /// What all ways to the label have in common, once there is one.
    pub(crate) agreed: Option<Debt>,
    /// Of an `if` whose `else` is still to come: what its condition left.
    pub(crate) other: Option<Debt>,
}

/// All open constructs of the original.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    open: Vec<Label>,
    /// Labels open in the output.
    depth: u32,
}

// === impl Labels ===

impl Labels {
    /// Opens a construct with one label.
    pub(crate) fn open(&mut self) -> &mut Label {
        self.push(1, Target::Forward, 0)
    }

    /// Opens a loop that is written as two, one in the other; a branch goes to the inner one.
    pub(crate) fn open_loop(&mut self) -> &mut Label {
        self.push(2, Target::Head, 1)
    }

    /// Opens one of the turns of a loop: a branch to the loop goes past the end of this turn.
    pub(crate) fn open_turn(&mut self) -> &mut Label {
        self.push(1, Target::Turn, 1)
    }

    /// Opens the turn that goes back, to the innermost label of the output.
    pub(crate) fn open_last_turn(&mut self) -> &mut Label {
        self.push(0, Target::Head, 1)
    }

    fn push(&mut self, labels: u32, target: Target, loops: u32) -> &mut Label {
        let loops = self.open.last().map_or(0, |label| label.loops) + loops;
        let below = self.depth;
        self.depth += labels;
        let place = self.depth - 1;
        self.open.push(Label {
            target,
            place,
            below,
            loops,
            carries: false,
            agreed: None,
            other: None,
        });
        self.open.last_mut().expect("just pushed")
    }

    /// Closes the innermost construct; tells how many labels of the output end with it.
    pub(crate) fn close(&mut self) -> (Label, u32) {
        let label = self.open.pop().expect("validated");
        let ends = self.depth - label.below;
        self.depth = label.below;
        (label, ends)
    }

    /// Labels that the output has beside those of constructs: opened.
    pub(crate) fn deepen(&mut self, by: u32) {
        self.depth += by;
    }

    /// And closed.
    pub(crate) fn surface(&mut self, by: u32) {
        self.depth -= by;
    }

    pub(crate) fn output_depth(&self) -> u32 {
        self.depth
    }

    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn innermost(&mut self) -> &mut Label {
        self.open.last_mut().expect("the body itself is open")
    }

    /// The construct at this depth of the original.
    pub(crate) fn target(&mut self, depth: u32) -> &mut Label {
        let index = self.open.len() - 1 - depth as usize;
        &mut self.open[index]
    }

    /// The depth in the output of what is at this depth in the original.
    pub(crate) fn depth(&self, original: u32) -> u32 {
        let index = self.open.len() - 1 - original as usize;
        self.depth - 1 - self.open[index].place
    }

    /// The depth in the original of the function's own label.
    pub(crate) fn outermost(&self) -> u32 {
        u32::try_from(self.open.len() - 1).expect("nesting is bounded")
    }
}
