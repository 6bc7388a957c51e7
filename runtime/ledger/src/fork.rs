//! Fork choice: the tree of blocks above the finalised one, and which of its tips is the head.
//!
//! The head descends from the finalised block; among those, the greater height wins, then the smaller slot, then
//! the lower id. That is a total order on blocks, so the head depends on *which* blocks are known and never on
//! the order in which they came (clocks or arrival as a tie-break let two halves of a network wait for each other
//! for ever).
//!
//! Invariants: every block but the lowest has its parent in the tree; a child is one higher than its parent and
//! in a later slot; above the finalised block everything descends from it; below it stands exactly its own line
//! of ancestors, as far down as votes may still name it.
//!
//! Absent: bodies, states, signatures, authors. A block enters only after it was found valid.

use core::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::id::BlockId;
use crate::units::{Height, Slot};

#[cfg(test)]
mod tests;

/// A block's place in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The block.
    pub id: BlockId,
    /// The one it stands on.
    pub parent: BlockId,
    /// How many blocks lie below it.
    pub height: Height,
    /// The slot it was made in.
    pub slot: Slot,
}

/// How good a tip is: greater is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(Height, Reverse<Slot>, Reverse<BlockId>);

/// Why a block has no place in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// Its parent is not in the tree.
    #[error("the parent {0} is not known")]
    Orphan(BlockId),
    /// Its parent is below the finalised block: it can never be part of the chain.
    #[error("it branches off below the finalised block")]
    Below,
    /// Its height is not its parent's plus one.
    #[error("height {found} where {expected} belongs")]
    Height {
        /// What it says.
        found: Height,
        /// One above its parent.
        expected: Height,
    },
    /// Its slot is not later than its parent's.
    #[error("slot {found} is not after its parent's slot {parent}")]
    Slot {
        /// What it says.
        found: Slot,
        /// The parent's.
        parent: Slot,
    },
}

/// The way from one block to another: down to where they part, and up again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    /// Blocks left, highest first.
    pub undone: Vec<BlockId>,
    /// Blocks entered, lowest first.
    pub applied: Vec<BlockId>,
}

/// The tree.
#[derive(Debug, Clone)]
pub struct Tree {
    places: BTreeMap<BlockId, Place>,
    children: BTreeMap<BlockId, BTreeSet<BlockId>>,
    /// The line from the lowest block to the head, by height: answers at once whether a block is on it.
    spine: BTreeMap<Height, BlockId>,
    finalised: Place,
    head: Place,
}

// === impl Place ===

impl Place {
    /// Its rank among tips.
    pub fn rank(&self) -> Rank {
        Rank::of(self.height, self.slot, self.id)
    }
}

// === impl Rank ===

impl Rank {
    /// The rank of a tip of this height, slot and id.
    pub fn of(height: Height, slot: Slot, id: BlockId) -> Self {
        Self(height, Reverse(slot), Reverse(id))
    }
}

// === impl Tree ===

impl Tree {
    /// A tree of one block, which is final.
    pub fn new(root: Place) -> Self {
        Self {
            places: BTreeMap::from([(root.id, root)]),
            children: BTreeMap::new(),
            spine: BTreeMap::from([(root.height, root.id)]),
            finalised: root,
            head: root,
        }
    }

    /// The best tip.
    pub fn head(&self) -> Place {
        self.head
    }

    /// The last block that can never be undone.
    pub fn finalised(&self) -> Place {
        self.finalised
    }

    /// Where a block stands.
    pub fn get(&self, id: &BlockId) -> Option<&Place> {
        self.places.get(id)
    }

    /// Whether a block is known.
    pub fn contains(&self, id: &BlockId) -> bool {
        self.places.contains_key(id)
    }

    /// How many blocks there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Never true: the lowest block stays.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The block at `height` on the line of the head.
    pub fn at(&self, height: Height) -> Option<&BlockId> {
        self.spine.get(&height)
    }

    /// The line of the head from its lowest known block up.
    pub fn spine(&self) -> impl DoubleEndedIterator<Item = (&Height, &BlockId)> {
        self.spine.iter()
    }

    /// Whether a block could be placed, and where the rules say it must stand.
    pub fn check(&self, place: &Place) -> Result<(), PlaceError> {
        let parent = self.places.get(&place.parent).ok_or(PlaceError::Orphan(place.parent))?;
        if parent.height < self.finalised.height {
            return Err(PlaceError::Below);
        }
        let expected = parent.height.saturating_add(Height::new(1));
        if place.height != expected {
            return Err(PlaceError::Height { found: place.height, expected });
        }
        if place.slot <= parent.slot {
            return Err(PlaceError::Slot { found: place.slot, parent: parent.slot });
        }
        Ok(())
    }

    /// Adds a block. Says whether it is the new head.
    pub fn insert(&mut self, place: Place) -> Result<bool, PlaceError> {
        if self.places.contains_key(&place.id) {
            return Ok(false);
        }
        self.check(&place)?;
        self.places.insert(place.id, place);
        self.children.entry(place.parent).or_default().insert(place.id);
        if place.rank() <= self.head.rank() {
            return Ok(false);
        }
        self.take_head(place);
        Ok(true)
    }

    /// Whether `block` is `base` or stands on it.
    pub fn descends(&self, base: &BlockId, block: &BlockId) -> bool {
        let (Some(base), Some(block)) = (self.places.get(base), self.places.get(block)) else {
            return false;
        };
        self.ancestor_at(block, base.height).is_some_and(|id| id == base.id)
    }

    /// The blocks between, from the parent of `block` down to the child of `base`; nothing when `block` does
    /// not stand on `base`.
    pub fn ancestry(&self, base: &BlockId, block: &BlockId) -> Option<Vec<BlockId>> {
        let base = self.places.get(base)?;
        let mut at = self.places.get(block)?;
        let mut between = Vec::new();
        if at.id == base.id {
            return Some(between);
        }
        loop {
            if at.parent == base.id {
                return Some(between);
            }
            if at.height <= base.height {
                return None;
            }
            at = self.places.get(&at.parent)?;
            between.push(at.id);
        }
    }

    /// The best tip that stands on `base`: what to vote for when an earlier vote binds.
    pub fn best_on(&self, base: &BlockId) -> Option<Place> {
        if self.descends(base, &self.head.id) {
            return Some(self.head);
        }
        let mut best = *self.places.get(base)?;
        let mut open = vec![best.id];
        while let Some(id) = open.pop() {
            if let Some(place) = self.places.get(&id)
                && place.rank() > best.rank()
            {
                best = *place;
            }
            open.extend(self.children.get(&id).into_iter().flatten().copied());
        }
        Some(best)
    }

    /// From one block to another.
    pub fn route(&self, from: &BlockId, to: &BlockId) -> Option<Route> {
        let mut left = *self.places.get(from)?;
        let mut right = *self.places.get(to)?;
        let mut route = Route::default();
        while left.id != right.id {
            if left.height >= right.height {
                route.undone.push(left.id);
                left = *self.places.get(&left.parent)?;
            } else {
                route.applied.push(right.id);
                right = *self.places.get(&right.parent)?;
            }
        }
        route.applied.reverse();
        Some(route)
    }

    /// Makes `id` final. Gives the line that became final, lowest first, and the blocks that left the tree.
    /// Nothing happens when `id` is not above the finalised block on a line of its own.
    pub fn finalise(&mut self, id: &BlockId) -> Option<(Vec<BlockId>, Vec<BlockId>)> {
        let place = *self.places.get(id)?;
        if place.height <= self.finalised.height || !self.descends(&self.finalised.id, id) {
            return None;
        }
        let line = self.route(&self.finalised.id, id)?.applied;
        let kept: BTreeSet<BlockId> = line.iter().copied().collect();
        let mut lost = Vec::new();
        let mut below = self.finalised.id;
        for step in &line {
            let siblings = self.children.get(&below).cloned().unwrap_or_default();
            for sibling in siblings.into_iter().filter(|sibling| !kept.contains(sibling)) {
                self.remove_branch(&sibling, &mut lost);
            }
            below = *step;
        }
        self.finalised = place;
        if !self.descends(id, &self.head.id) {
            let head = self.best_on(id).unwrap_or(place);
            self.take_head(head);
        }
        Some((line, lost))
    }

    /// A broken rule: the block counts as final, and the head does not care.
    #[cfg(test)]
    pub(crate) fn finalise_loosely(&mut self, id: &BlockId) {
        if let Some(place) = self.places.get(id) {
            self.finalised = *place;
        }
    }

    /// Forgets blocks below `height` on the finalised line; never the finalised block.
    pub fn forget_below(&mut self, height: Height) {
        let height = height.min(self.finalised.height);
        while let Some((&lowest, &id)) = self.spine.first_key_value() {
            if lowest >= height {
                return;
            }
            self.spine.remove(&lowest);
            self.places.remove(&id);
            self.children.remove(&id);
        }
    }

    /// Removes the worst tip that is not on the head's line, if there is one: what gives way when the tree is
    /// full. A tip that mattered can be asked for again.
    pub fn drop_worst(&mut self) -> Option<BlockId> {
        let worst = self
            .places
            .values()
            .filter(|place| self.children.get(&place.id).is_none_or(BTreeSet::is_empty))
            .filter(|place| place.height > self.finalised.height && place.id != self.head.id)
            .min_by_key(|place| place.rank())?
            .id;
        let mut lost = Vec::new();
        self.remove_branch(&worst, &mut lost);
        lost.pop()
    }

    /// The ancestor of a block at a height.
    fn ancestor_at(&self, block: &Place, height: Height) -> Option<BlockId> {
        let mut at = *block;
        while at.height >= height {
            if self.spine.get(&at.height) == Some(&at.id) {
                return self.spine.get(&height).copied();
            }
            if at.height == height {
                return Some(at.id);
            }
            at = *self.places.get(&at.parent)?;
        }
        None
    }

    fn take_head(&mut self, head: Place) {
        self.spine.split_off(&head.height);
        let mut at = head;
        while self.spine.get(&at.height) != Some(&at.id) {
            self.spine.insert(at.height, at.id);
            match self.places.get(&at.parent) {
                Some(parent) => at = *parent,
                None => break,
            }
        }
        self.head = head;
    }

    fn remove_branch(&mut self, id: &BlockId, lost: &mut Vec<BlockId>) {
        if let Some(place) = self.places.get(id)
            && let Some(siblings) = self.children.get_mut(&place.parent)
        {
            siblings.remove(id);
        }
        let mut open = vec![*id];
        while let Some(id) = open.pop() {
            self.places.remove(&id);
            open.extend(self.children.remove(&id).into_iter().flatten());
            lost.push(id);
        }
    }
}
