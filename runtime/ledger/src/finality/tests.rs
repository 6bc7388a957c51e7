//! Rounds of votes: one authority alone, all of two and three, more than two thirds of more; what is counted
//! agrees with the crate's own check of a commit; nobody votes twice, and who does is found.

#![allow(clippy::arithmetic_side_effects, reason = "a test may fail loudly")]

use finality_grandpa::{Precommit, SignedPrecommit, validate_commit};
use proptest::prelude::*;

use super::*;
use crate::fork::Place;
use crate::id::{BlockId, SecretKey};
use crate::units::{Height, Slot};

const NETWORK: NetworkId = NetworkId::DEVELOPMENT;
const PACE: Nanos = Nanos(1_000);

fn keys(count: u8) -> Vec<SecretKey> {
    (0..count).map(|n| SecretKey::from_bytes(&[n; 32])).collect()
}

fn id(n: u64) -> BlockId {
    BlockId::of(&n.to_le_bytes())
}

fn root() -> Place {
    Place { id: id(0), parent: id(0), height: Height::ZERO, slot: Slot::ZERO }
}

fn place(n: u64, parent: &Place) -> Place {
    Place {
        id: id(n),
        parent: parent.id,
        height: parent.height.saturating_add(Height(1)),
        slot: Slot(n),
    }
}

/// A chain of `n` blocks.
fn chain(n: u64) -> Tree {
    let mut tree = Tree::new(root());
    let mut last = root();
    for n in 1..=n {
        last = place(n, &last);
        tree.insert(last).unwrap();
    }
    tree
}

struct Node {
    key: SecretKey,
    finality: Finality,
    tree: Tree,
    effects: Vec<Effect>,
}

fn setting(keys: &[SecretKey], me: PublicKey) -> Setting {
    let mut authorities: Vec<PublicKey> = keys.iter().map(SecretKey::public).collect();
    authorities.sort();
    Setting { network: NETWORK, authorities, me: Some(me), pace: PACE }
}

fn nodes(count: u8, tree: &Tree) -> Vec<Node> {
    let all = keys(count);
    keys(count)
        .into_iter()
        .map(|key| {
            let start = Tree::new(root());
            let (finality, effects) = Finality::open(
                setting(&all, key.public()),
                &start,
                Rounds::default(),
                UnixNanos(0),
            );
            Node { key, finality, tree: tree.clone(), effects }
        })
        .collect()
}

impl Node {
    fn run(&mut self, now: u64) -> Vec<Sealed> {
        let mut sent = Vec::new();
        loop {
            let effects = self.finality.step(&self.tree, UnixNanos(now), &self.key);
            if effects.is_empty() {
                return sent;
            }
            self.apply(&effects);
            sent.extend(effects.iter().filter_map(|effect| match effect {
                Effect::Cast(vote) => Some(vote.clone()),
                _ => None,
            }));
            self.effects.extend(effects);
        }
    }

    fn apply(&mut self, effects: &[Effect]) {
        for effect in effects {
            if let Effect::Finalised(commit) = effect {
                self.tree.finalise(&commit.block);
            }
        }
    }

    fn hear(&mut self, vote: &Sealed) {
        let effects = self.finality.import(&self.tree, vote.clone()).unwrap();
        self.apply(&effects);
        self.effects.extend(effects);
    }
}

/// Lets all nodes but the `silent` last ones vote and hear each other until nothing moves.
fn settle(nodes: &mut [Node], silent: usize) {
    let talking = nodes.len() - silent;
    for now in 1..12 {
        let sent: Vec<Sealed> =
            nodes[..talking].iter_mut().flat_map(|node| node.run(now * PACE.0)).collect();
        for node in nodes.iter_mut() {
            for vote in &sent {
                node.hear(vote);
            }
        }
    }
}

#[test]
fn finality_takes_one_of_one_all_of_two_and_three_then_more_than_two_thirds() {
    for (count, silent, is_final) in [
        (1, 0, true),
        (2, 0, true),
        (2, 1, false),
        (3, 0, true),
        (3, 1, false),
        (4, 1, true),
        (4, 2, false),
        (7, 2, true),
        (7, 3, false),
        (10, 3, true),
        (10, 4, false),
    ] {
        let mut nodes = nodes(count, &chain(5));
        settle(&mut nodes, silent);
        for node in &nodes {
            let expected = if is_final { 5 } else { 0 };
            assert_eq!(node.finality.finalised().height, Height(expected), "{count} less {silent}");
        }
    }
}

#[test]
fn one_authority_finalises_in_one_call_and_then_rests() {
    let mut node = nodes(1, &chain(3)).remove(0);
    let votes = node.run(0);
    assert_eq!(votes.len(), 2);
    assert_eq!(node.finality.finalised().height, Height(3));
    assert_eq!(node.finality.round_number(), RoundNumber::FIRST.next());
    assert!(node.run(u64::MAX).is_empty(), "nothing new to vote for");
    let order: Vec<_> = node
        .effects
        .iter()
        .map(|effect| match effect {
            Effect::Cast(_) => "cast",
            Effect::Finalised(_) => "final",
            Effect::Round(_) => "round",
            _ => "other",
        })
        .collect();
    assert_eq!(order, ["round", "cast", "cast", "final", "round"]);
}

#[test]
fn a_restarted_node_signs_nothing_twice_and_goes_on_where_it_was() {
    let mut all = nodes(4, &chain(2));
    let votes = all[0].run(10 * PACE.0);
    assert_eq!(votes.len(), 1);
    let Node { key, tree, effects, .. } = all.remove(0);
    let mut rounds = Rounds::default();
    for effect in effects {
        match effect {
            Effect::Round(start) => rounds.starts.push(start),
            Effect::Cast(vote) | Effect::Counted(vote) => rounds.votes.push(vote),
            _ => {}
        }
    }
    let mut grown = tree.clone();
    grown.insert(place(77, grown.get(&id(2)).unwrap())).unwrap();
    let (finality, effects) =
        Finality::open(setting(&keys(4), key.public()), &grown, rounds, UnixNanos(0));
    assert!(effects.is_empty());
    let mut node = Node { key, finality, tree: grown, effects: Vec::new() };
    assert!(node.run(100 * PACE.0).is_empty(), "its prevote of this round was for another block");
    assert_eq!(node.finality.votes(RoundNumber::FIRST), votes);
}

#[test]
fn two_votes_of_one_phase_are_evidence_and_count_for_both() {
    let mut tree = chain(1);
    let (a, b) = (place(10, &root()), place(11, &root()));
    tree.insert(a).unwrap();
    tree.insert(b).unwrap();
    let mut all = nodes(4, &tree);
    let twice: Vec<Sealed> = [a, b]
        .iter()
        .map(|place| {
            let target = Target { id: place.id, height: place.height };
            all[3].finality.sign(&all[3].key, Phase::Prevote, target)
        })
        .collect();
    for vote in &twice {
        all[0].hear(vote);
        all[0].hear(vote);
    }
    let evidence: Vec<_> = all[0]
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Equivocation(evidence) => Some(evidence.clone()),
            _ => None,
        })
        .collect();
    let [first, second] = <[Sealed; 2]>::try_from(twice).unwrap();
    assert_eq!(evidence, [Equivocation { first, second }]);
}

#[test]
fn a_lagging_node_enters_the_round_of_the_others() {
    let mut all = nodes(4, &chain(1));
    settle(&mut all, 1);
    let behind_tree = all[0].tree.clone();
    for round in 0..3 {
        let tip = all[0].tree.head();
        let next = place(100 + round, &tip);
        for node in &mut all {
            node.tree.insert(next).unwrap();
        }
        let mut late = all.pop().unwrap();
        settle(&mut all, 0);
        late.tree = all[0].tree.clone();
        all.push(late);
    }
    let mut late = all.pop().unwrap();
    assert!(late.finality.finalised().height < all[0].finality.finalised().height);
    late.tree = behind_tree;
    for place in [id(100), id(101), id(102)].map(|id| *all[0].tree.get(&id).unwrap()) {
        late.tree.insert(place).unwrap();
    }
    let done = all[0].finality.round_number().previous().unwrap();
    let votes = all[0].finality.votes(done);
    let effects = late.finality.catch_up(&late.tree, UnixNanos(0), &votes).unwrap();
    late.apply(&effects);
    assert_eq!(late.finality.round_number(), all[0].finality.round_number());
    assert_eq!(late.finality.finalised(), all[0].finality.finalised());
}

#[test]
fn commits_are_weighed_and_bad_ones_refused() {
    let mut all = nodes(4, &chain(2));
    settle(&mut all[..3], 0);
    let commit = all[0].finality.commit().unwrap().clone();
    let fresh = || nodes(4, &chain(2)).remove(3);

    let mut node = fresh();
    let done = node.finality.import_commit(&node.tree, commit.clone()).unwrap();
    assert!(matches!(done, CommitOutcome::Effects(_)));
    assert_eq!(node.finality.finalised().height, Height(2));
    assert_eq!(node.finality.import_commit(&node.tree, commit.clone()), Ok(CommitOutcome::Known));

    let mut node = fresh();
    let mut short = commit.clone();
    short.votes = List::try_from(commit.votes[..2].to_vec()).unwrap();
    let refused = node.finality.import_commit(&node.tree, short);
    assert_eq!(refused, Err(VoteError::TooFew { found: 2, threshold: 3 }));

    let mut behind = nodes(4, &chain(1)).remove(3);
    let missing = behind.finality.import_commit(&behind.tree, commit.clone()).unwrap();
    assert_eq!(missing, CommitOutcome::Missing(vec![commit.block]));

    // Nobody looks for a block because of votes for another one, or of none.
    for votes in [commit.votes.to_vec(), Vec::new()] {
        let mut nowhere = commit.clone();
        nowhere.block = id(9);
        nowhere.votes = List::try_from(votes).unwrap();
        let refused = node.finality.import_commit(&node.tree, nowhere);
        assert_eq!(refused, Err(VoteError::TooFew { found: 0, threshold: 3 }));
    }

    let mut other_round = commit.clone();
    other_round.round = RoundNumber::FIRST.next();
    assert_eq!(node.finality.import_commit(&node.tree, other_round), Err(VoteError::Foreign));

    let stranger = SecretKey::from_bytes(&[99; 32]);
    let mut forged = commit;
    let vote = all[0].finality.sign(&stranger, Phase::Precommit, forged.target());
    forged.votes = List::try_from(vec![vote]).unwrap();
    let refused = node.finality.import_commit(&node.tree, forged);
    assert_eq!(refused, Err(VoteError::NotAuthority(stranger.public())));
    assert_eq!(node.finality.finalised().height, Height::ZERO, "nothing of it changed anything");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever precommits there are, what this crate takes for final is what the crate `finality-grandpa`
    /// takes for a valid commit.
    #[test]
    fn what_is_final_agrees_with_the_check_of_the_crate(
        shape in prop::collection::vec(any::<prop::sample::Index>(), 1..8),
        votes in prop::collection::vec((0_u8..7, any::<prop::sample::Index>()), 1..12),
    ) {
        let mut tree = Tree::new(root());
        let mut places = vec![root()];
        for (n, parent) in (1..).zip(shape) {
            let next = place(n, &places[parent.index(places.len())]);
            tree.insert(next).unwrap();
            places.push(next);
        }
        let keys = keys(7);
        let voters = VoterSet::new(keys.iter().map(|key| (key.public(), 1))).unwrap();
        let template = nodes(7, &tree).remove(0).finality;
        let mut cast: BTreeMap<u8, Vec<(Target, Sealed)>> = BTreeMap::new();
        for (voter, chosen) in votes {
            let chosen = places[chosen.index(places.len())];
            let target = Target { id: chosen.id, height: chosen.height };
            let own = cast.entry(voter).or_default();
            if own.len() < 2 && own.iter().all(|(known, _)| *known != target) {
                own.push((target, template.sign(&keys[usize::from(voter)], Phase::Precommit, target)));
            }
        }
        for place in &places[1..] {
            let signed = |(target, sealed): &(Target, Sealed)| SignedPrecommit {
                precommit: Precommit::new(target.id, target.height.get()),
                signature: sealed.payload().to_vec(),
                id: sealed.signatures()[0].key,
            };
            // The crate wants votes above the target only, and the target to be the highest that they agree on.
            let above: Vec<_> = cast
                .values()
                .filter(|own| own.iter().all(|(target, _)| tree.descends(&place.id, &target.id)))
                .flatten()
                .collect();
            let theirs = finality_grandpa::Commit {
                target_hash: place.id,
                target_number: place.height.get(),
                precommits: above.iter().map(|vote| signed(vote)).collect(),
            };
            let is_valid = validate_commit(&theirs, &voters, &tree).is_ok_and(|result| result.is_valid());
            let ours = Commit {
                network: NETWORK,
                block: place.id,
                round: RoundNumber::FIRST,
                votes: List::try_from(above.iter().map(|(_, sealed)| sealed.clone()).collect::<Vec<_>>()).unwrap(),
                height: place.height,
            };
            let outcome = nodes(7, &tree).remove(0).finality.import_commit(&tree, ours);
            let supported = matches!(outcome, Ok(CommitOutcome::Effects(_)));
            let behind = above.iter().map(|(_, sealed)| sealed.signatures()[0].key).collect::<std::collections::BTreeSet<_>>();
            prop_assert_eq!(supported, behind.len() >= 5);
            prop_assert!(supported || !is_valid, "the crate accepts it");
            let higher = places.iter().any(|child| {
                let all = cast.values().flatten().filter(|(t, _)| tree.descends(&child.id, &t.id));
                child.parent == place.id && child.id != place.id && all.count() >= 5
            });
            let twice = above.len() > behind.len();
            // The crate begins to count at the lowest vote, and takes no commit in which another does not descend from
            // that: votes on two branches above the target, and none for it, are enough for this crate alone.
            let has_base = above
                .iter()
                .any(|(low, _)| above.iter().all(|(target, _)| tree.descends(&low.id, &target.id)));
            if supported && !higher && !twice && has_base {
                prop_assert!(is_valid, "the crate refuses it");
            }
        }
    }
}
