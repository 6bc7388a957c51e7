//! The rules are total: whatever bytes come, there is an answer, and a refusal leaves no trace.
//!
//! Changed bytes rarely pass a signature, so they are also signed anew: as a transaction by its sender, as a block
//! by its author. What passes all doors then meets the rules.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use talea_ledger::block::{Block, SignedBlock, VerifiedBlock};
use talea_ledger::codec::Document;
use talea_ledger::rules::apply;
use talea_ledger::sign::{TRANSACTION_LEN_MAX, seal, seal_document};
use talea_ledger::transaction::*;
use talea_ledger::*;

use crate::world::*;

/// A world in which most things are there: a function, a name, a stake, channels, a claim under challenge.
fn world() -> (World, ChannelId, TransactionId) {
    let mut world = World::new();
    world.send(&author(), register()).unwrap();
    world.send(&host(), Action::Stake(Stake { amount: Tal(500) })).unwrap();
    world.send(&host(), Action::Unstake(Unstake { amount: Tal(200) })).unwrap();
    let channel = world.open(10_000, 5000);
    let calls = [1, 2].map(|at| world.call(&payer(), channel, at));
    let action = Action::RedeemBatch(Box::new(redeem_batch(channel, &calls, vec![])));
    let claim = world.send(&host(), action).unwrap();
    world.send(&payer(), Action::Challenge(Challenge { sequence: Sequence(1), claim })).unwrap();
    (world, channel, claim)
}

/// Orders that apply in that world, each with who sends it.
fn orders(
    world: &World,
    channel: ChannelId,
    claim: TransactionId,
) -> Vec<(SecretKey, Transaction)> {
    let session = session(world);
    let grant = seal_document(&payer(), &session);
    let voucher = world.voucher(channel, 700, 7);
    let call = world.call(&session_key(), channel, 9);
    let answered = world.call(&payer(), channel, 1);
    let answer = Answer {
        input: input().encode().try_into().unwrap(),
        sequence: Sequence(1),
        body: Some(BODY.try_into().unwrap()),
        claim,
        receipt: answered.receipt(100).encode().try_into().unwrap(),
    };
    let name = |text: &str| text.parse().unwrap();
    let actions = [
        (payer(), Action::Transfer(Transfer { to: stranger().public(), amount: Tal(77) })),
        (
            author(),
            Action::RegisterName(RegisterName {
                function: function(),
                royalty: Ppm::new(9).unwrap(),
                name: name("art/one"),
                private: false,
            }),
        ),
        (
            payer(),
            Action::OpenChannel(OpenChannel {
                host: host().public(),
                escrow: Tal(600),
                expires: Slot(5000),
                batch_cap: Tal(600),
                watermark: Tal(600),
            }),
        ),
        (payer(), Action::TopUp(TopUp { channel, amount: Tal(5), expires: Some(Slot(9000)) })),
        (payer(), Action::CloseChannel(CloseChannel { channel })),
        (payer(), Action::RevokeSession(RevokeSession { channel, session: session.id() })),
        (host(), redeem(&session_key(), &voucher, &[(7, 500)], Some(grant.clone()))),
        (host(), Action::RedeemBatch(Box::new(redeem_batch(channel, &[call], vec![grant])))),
        (payer(), Action::Challenge(Challenge { sequence: Sequence(2), claim })),
        (host(), Action::Answer(Box::new(answer))),
        (host(), Action::Stake(Stake { amount: Tal(1) })),
    ];
    actions
        .into_iter()
        .map(|(key, action)| {
            let order = world.order(&key, action);
            (key, order)
        })
        .collect()
}

/// One change of bytes.
#[derive(Debug, Clone)]
enum Change {
    Set(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Copy(Index, Index, u8),
    Cut(Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        4 => (at(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        1 => (at(), any::<u8>()).prop_map(|(at, byte)| Change::Insert(at, byte)),
        1 => at().prop_map(Change::Remove),
        2 => (at(), at(), 1..40_u8).prop_map(|(from, to, len)| Change::Copy(from, to, len)),
        1 => at().prop_map(Change::Cut),
    ]
}

fn changed(bytes: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for change in changes {
        let len = bytes.len();
        if len == 0 {
            return bytes;
        }
        match change {
            Change::Set(at, byte) => bytes[at.index(len)] = *byte,
            Change::Insert(at, byte) => bytes.insert(at.index(len), *byte),
            Change::Remove(at) => {
                bytes.remove(at.index(len));
            }
            Change::Copy(from, to, more) => {
                let (from, to) = (from.index(len), to.index(len));
                let count = usize::from(*more).min(len - from).min(len - to);
                bytes.copy_within(from..from + count, to);
            }
            Change::Cut(at) => bytes.truncate(at.index(len)),
        }
    }
    bytes
}

/// A block around bodies that are right or wrong, under a header that fits them.
fn block_of(world: &World, body: Vec<Vec<u8>>, state: Digest) -> Block {
    let header = Header {
        author: authority().public(),
        body_len: body.iter().map(Vec::len).sum::<usize>() as u32,
        network: world.network.id(),
        body: block::body_root(&body).unwrap(),
        slot: world.slot(),
        count: body.len() as u32,
        state,
        height: world.place().height,
        parent: world.state.tip().id,
    };
    Block { head: seal_document(&authority(), &header), body }
}

/// All the way down, as a node would. Tells whether the block applied.
fn judge(world: &World, bytes: &[u8]) -> bool {
    let root = world.state.root();
    let Ok(block) = world.read(bytes) else { return false };
    let answer = apply(&world.state, &block);
    assert_eq!(world.state.root(), root, "apply changed the state before");
    answer.is_ok_and(|next| next.conserved().is_ok())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn changed_transactions_signed_anew(
        which in any::<Index>(),
        changes in vec(change(), 1..4),
        slots in 0..30_u64,
    ) {
        let (mut world, channel, claim) = world();
        let orders = orders(&world, channel, claim);
        let (key, order) = &orders[which.index(orders.len())];
        let mut payload = changed(&order.encode(), &changes);
        payload.truncate(TRANSACTION_LEN_MAX);
        world.pass(slots);
        let sealed = seal(key, Domain::Transaction, payload);
        let mut after = world.state.clone();
        if let Ok(verified) = world.verify(&sealed) {
            let root = after.root();
            match after.attempt(&verified, world.place()) {
                Ok(()) => after.conserved().unwrap(),
                Err(_) => prop_assert_eq!(after.root(), root),
            }
        }
        let block = block_of(&world, vec![sealed.encode()], after.root());
        judge(&world, &block.encode());
    }

    #[test]
    fn changed_blocks(
        count in 0..4_usize,
        changes in vec(change(), 1..6),
        resigned in any::<bool>(),
    ) {
        let (world, channel, claim) = world();
        let orders = orders(&world, channel, claim);
        let verified: Vec<_> = orders.iter().take(count)
            .map(|(key, order)| world.verify(&order.seal(key)).unwrap()).collect();
        let proposal = rules::propose(&world.state, world.slot(), authority().public(), &verified);
        let body: Vec<Vec<u8>> =
            proposal.transactions.iter().map(|each| each.bytes().to_vec()).collect();
        let head = seal_document(&authority(), &proposal.header);
        let whole = Block { head, body: body.clone() };
        prop_assert!(judge(&world, &whole.encode()));
        if resigned {
            let payload = changed(&proposal.header.encode(), &changes);
            let head = seal(&authority(), Domain::Block, payload);
            judge(&world, &Block { head, body }.encode());
        } else {
            judge(&world, &changed(&whole.encode(), &changes));
        }
    }

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..400)) {
        let world = World::new();
        prop_assert!(!judge(&world, &bytes));
        prop_assert!(VerifiedTransaction::decode(&bytes, &world.network.id()).is_err());
        let whole = block_of(&world, vec![bytes], world.state.root());
        prop_assert!(!judge(&world, &whole.encode()));
    }
}

/// The unchanged orders do apply: the changed ones start from something.
#[test]
fn the_orders_apply() {
    let (world, channel, claim) = world();
    for (key, order) in orders(&world, channel, claim) {
        let verified = world.verify(&order.seal(&key)).unwrap();
        let mut after = world.state.clone();
        after.attempt(&verified, world.place()).unwrap();
        let block = block_of(&world, vec![verified.bytes().to_vec()], after.root());
        let signed = SignedBlock::verify(block, &world.network, world.slot()).unwrap();
        let block = VerifiedBlock::verify(&signed, &world.network).unwrap();
        assert_eq!(apply(&world.state, &block).unwrap().root(), after.root());
    }
}
