//! The head depends on which blocks are known, never on their order; what is final is never left.

#![allow(clippy::arithmetic_side_effects, reason = "a test may fail loudly")]

use proptest::prelude::*;

use super::*;

fn id(n: u32) -> BlockId {
    BlockId::of(&n.to_le_bytes())
}

fn place(n: u32, parent: &Place, slot: u64) -> Place {
    Place {
        id: id(n),
        parent: parent.id,
        height: parent.height.saturating_add(Height::new(1)),
        slot: Slot::new(slot),
    }
}

fn root() -> Place {
    Place { id: id(0), parent: id(0), height: Height::ZERO, slot: Slot::ZERO }
}

/// Blocks 1.. each on a random earlier one, in a random later slot.
fn trees() -> impl Strategy<Value = Vec<Place>> {
    prop::collection::vec((any::<prop::sample::Index>(), 1_u64..4), 1..40).prop_map(|steps| {
        let mut places = vec![root()];
        for (n, (parent, gap)) in (1..).zip(steps) {
            let parent = places[parent.index(places.len())];
            places.push(place(n, &parent, parent.slot.get() + gap));
        }
        places
    })
}

/// Offers blocks in the order given, keeping orphans until their parent has come.
fn grow(root: Place, order: &[Place]) -> Tree {
    let mut tree = Tree::new(root);
    let mut open = order.to_vec();
    while !open.is_empty() {
        let before = open.len();
        open.retain(|place| matches!(tree.insert(*place), Err(PlaceError::Orphan(_))));
        assert!(open.len() < before, "every block's parent is among them");
    }
    tree
}

proptest! {
    #[test]
    fn law_6_the_head_does_not_depend_on_arrival(
        (places, shuffled) in trees().prop_flat_map(|places| {
            (Just(places.clone()), Just(places[1..].to_vec()).prop_shuffle())
        })
    ) {
        let first = grow(places[0], &places[1..]);
        let second = grow(places[0], &shuffled);
        prop_assert_eq!(first.head(), second.head());
        let best = places.iter().max_by_key(|place| place.rank()).unwrap();
        prop_assert_eq!(first.head(), *best);
        prop_assert_eq!(&first.spine, &second.spine);
    }

    #[test]
    fn the_head_descends_from_what_is_final(places in trees(), chosen: prop::sample::Index) {
        let mut tree = grow(places[0], &places[1..]);
        let chosen = places[chosen.index(places.len())];
        let expected = places
            .iter()
            .filter(|place| tree.descends(&chosen.id, &place.id))
            .max_by_key(|place| place.rank())
            .copied()
            .unwrap();
        let all = tree.len();
        if chosen.height > Height::ZERO {
            let (line, lost) = tree.finalise(&chosen.id).unwrap();
            prop_assert_eq!(line.last(), Some(&chosen.id));
            prop_assert_eq!(tree.len() + lost.len(), all);
        }
        prop_assert_eq!(tree.head(), expected);
        prop_assert_eq!(tree.at(expected.height), Some(&expected.id));
        for above in places.iter().filter(|place| tree.contains(&place.id)) {
            let related = tree.descends(&chosen.id, &above.id) || tree.descends(&above.id, &chosen.id);
            prop_assert!(related, "a lost branch is gone");
        }
        tree.forget_below(Height::MAX);
        prop_assert!(tree.contains(&chosen.id));
        prop_assert_eq!(tree.spine().next(), Some((&chosen.height, &chosen.id)));
    }

    #[test]
    fn ancestry_and_routes_agree_with_parents(places in trees(), a: prop::sample::Index, b: prop::sample::Index) {
        let tree = grow(places[0], &places[1..]);
        let (a, b) = (places[a.index(places.len())], places[b.index(places.len())]);
        let mut line = vec![b];
        while let Some(parent) = tree.get(&line[line.len() - 1].parent).filter(|p| p.id != line[line.len() - 1].id) {
            line.push(*parent);
        }
        let stands = line.iter().position(|place| place.id == a.id);
        prop_assert_eq!(stands.is_some(), tree.descends(&a.id, &b.id));
        let ids: Option<Vec<BlockId>> =
            stands.map(|at| line[..at].iter().skip(1).map(|place| place.id).collect());
        prop_assert_eq!(tree.ancestry(&a.id, &b.id), ids);
        let route = tree.route(&a.id, &b.id).unwrap();
        let fork_height = a.height.get() - route.undone.len() as u64;
        prop_assert_eq!(fork_height + route.applied.len() as u64, b.height.get());
        prop_assert_eq!(tree.route(&b.id, &a.id).unwrap().undone.len(), route.applied.len());
    }
}

#[test]
fn ties_go_to_the_smaller_slot_and_then_to_the_lower_id() {
    let base = root();
    let (late, early) = (place(1, &base, 5), place(2, &base, 4));
    assert_eq!(grow(base, &[late, early]).head(), early);
    let (a, b) = (place(3, &base, 4), place(4, &base, 4));
    let lower = if a.id < b.id { a } else { b };
    assert_eq!(grow(base, &[a, b]).head(), lower);
    let taller = place(5, &late, 9);
    assert_eq!(grow(base, &[early, late, taller]).head(), taller, "height counts first");
}

#[test]
fn what_has_no_place_is_refused_with_its_reason() {
    let base = root();
    let mut tree = Tree::new(base);
    let one = place(1, &base, 1);
    let two = place(2, &one, 2);
    assert_eq!(tree.insert(two), Err(PlaceError::Orphan(one.id)));
    tree.insert(one).unwrap();
    tree.insert(two).unwrap();
    let same_slot = place(3, &one, 1);
    assert!(matches!(tree.insert(same_slot), Err(PlaceError::Slot { .. })));
    let high = Place { height: Height::new(9), ..place(4, &one, 7) };
    assert!(matches!(tree.insert(high), Err(PlaceError::Height { .. })));
    tree.finalise(&two.id).unwrap();
    assert_eq!(tree.insert(place(5, &one, 8)), Err(PlaceError::Below));
    assert_eq!(tree.finalise(&one.id), None, "what is final stays");
}

#[test]
fn the_worst_tip_gives_way_and_never_the_head() {
    let base = root();
    let one = place(1, &base, 1);
    let two = place(2, &one, 2);
    let side = place(3, &base, 3);
    let mut tree = grow(base, &[one, two, side]);
    assert_eq!(tree.drop_worst(), Some(side.id));
    assert_eq!(tree.drop_worst(), None);
    assert_eq!(tree.head(), two);
}
