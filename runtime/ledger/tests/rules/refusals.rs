//! Bad input: each kind is refused with its stable code, and the state is as it was.

use std::sync::Arc;

use talea_ledger::block::{Block, SignedBlock, VerifiedBlock};
use talea_ledger::codec::Document;
use talea_ledger::rules::{apply, propose};
use talea_ledger::sign::{Signed, seal_document};
use talea_ledger::transaction::*;
use talea_ledger::*;

use crate::world::*;

fn transfer(amount: u64) -> Action {
    Action::Transfer(Transfer { to: stranger().public(), amount: Tal(amount) })
}

/// Orders of the payer that are refused, by code.
#[test]
fn transactions() {
    type Make = fn(&World) -> Sealed;
    let table: [(&str, Make); 17] = [
        ("nonce-used", |world| {
            let order = world.order(&payer(), transfer(1));
            Transaction { nonce: Nonce(0), ..order }.seal(&payer())
        }),
        ("nonce-gap", |world| {
            let order = world.order(&payer(), transfer(1));
            Transaction { nonce: Nonce(2), ..order }.seal(&payer())
        }),
        ("nonce-gap", |world| {
            let order = world.order(&payer(), transfer(1));
            Transaction { nonce: Nonce(u64::MAX), ..order }.seal(&payer())
        }),
        ("wrong-network", |world| {
            let order = world.order(&payer(), transfer(1));
            Transaction { network: NetworkId::DEVELOPMENT, ..order }.seal(&payer())
        }),
        ("wrong-signer", |world| world.order(&payer(), transfer(1)).seal(&stranger())),
        ("bad-signature", |world| {
            let sealed = world.order(&payer(), transfer(1)).seal(&payer());
            let forged = world.order(&payer(), transfer(2)).encode();
            Sealed::from_parts(sealed.domain(), forged, sealed.signatures()[0]).unwrap()
        }),
        ("bad-signature", |world| {
            // The order of the group added to S: the same equation, another form.
            let sealed = world.order(&payer(), transfer(1)).seal(&payer());
            let signed = sealed.signatures()[0];
            let mut bytes = *signed.signature.as_bytes();
            let mut carry = 0_u16;
            for (byte, order) in bytes[32..].iter_mut().zip(GROUP_ORDER) {
                let sum = u16::from(*byte) + u16::from(order) + carry;
                (*byte, carry) = (sum as u8, sum >> 8);
            }
            let signature = id::Signature::new(bytes);
            let payload = sealed.payload().to_vec();
            Sealed::from_parts(sealed.domain(), payload, Signed { signature, ..signed }).unwrap()
        }),
        ("malformed", |world| {
            let order = world.order(&payer(), transfer(1)).encode();
            talea_ledger::sign::seal(&payer(), Domain::Transaction, [&order[..], &[0]].concat())
        }),
        ("wrong-type", |world| {
            let order = world.order(&payer(), transfer(1)).encode();
            talea_ledger::sign::seal(&payer(), Domain::Voucher, order)
        }),
        ("fee", |world| world.order(&person(90), register()).seal(&person(90))),
        ("fee", |world| world.order(&payer(), transfer(FUND - FEE - 5)).seal(&payer())),
        ("balance", |world| world.order(&payer(), transfer(FUND + 1)).seal(&payer())),
        ("balance", |world| world.order(&payer(), transfer(u64::MAX)).seal(&payer())),
        ("zero", |world| world.order(&payer(), transfer(0)).seal(&payer())),
        ("stale", |world| {
            let order = world.order(&payer(), transfer(1));
            Transaction { builds_on: Some(TransactionId::new([3; 32])), ..order }.seal(&payer())
        }),
        ("self-channel", |world| {
            let action = OpenChannel { host: payer().public(), ..opening(100, 50) };
            world.order(&payer(), Action::OpenChannel(action)).seal(&payer())
        }),
        ("deadline", |world| {
            let action = Action::OpenChannel(opening(100, world.slot().0));
            world.order(&payer(), action).seal(&payer())
        }),
    ];
    let mut world = World::new();
    world.send(&payer(), transfer(5)).unwrap();
    let root = world.state.root();
    for (code, make) in table {
        let sealed = make(&world);
        assert_eq!(world.submit(&sealed), Err(code));
        assert_eq!(world.state.root(), root, "{code}");
    }
}

/// The order of the curve's group, least byte first.
const GROUP_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

fn opening(escrow: u64, expires: u64) -> OpenChannel {
    OpenChannel {
        host: host().public(),
        escrow: Tal(escrow),
        expires: Slot(expires),
        batch_cap: Tal(300),
        watermark: Tal(escrow),
    }
}

/// Envelopes that are none: bytes that do not decode, or whose key cannot sign.
#[test]
fn envelopes() {
    let world = World::new();
    let good = world.order(&payer(), transfer(1)).seal(&payer()).encode();
    let decode = |bytes: &[u8]| {
        VerifiedTransaction::decode(bytes, &world.network.id()).map_err(|error| error.code())
    };
    assert!(decode(&good).is_ok());
    assert_eq!(decode(&[&good[..], &[0]].concat()).unwrap_err(), "malformed");
    assert_eq!(decode(&good[..good.len() - 1]).unwrap_err(), "malformed");
    assert_eq!(decode(b"").unwrap_err(), "malformed");
    // A key of small order in place of the sender's, in the envelope and in the payload.
    let key = payer().public();
    let mut weak = good.clone();
    let places: Vec<usize> =
        (0..good.len() - 32).filter(|at| good[*at..*at + 32] == *key.as_bytes()).collect();
    assert_eq!(places.len(), 2);
    for place in places {
        weak[place..place + 32].copy_from_slice(&[0; 32]);
    }
    assert_eq!(decode(&weak).unwrap_err(), "malformed");
    // Fields longer than any of their kind: a payload, and a content inside one.
    let long = vec![0; sign::TRANSACTION_LEN_MAX + 1];
    let signed = world.order(&payer(), transfer(1)).seal(&payer()).signatures()[0];
    assert!(Sealed::from_parts(Domain::Transaction, long, signed).is_err());
    let content = Deferred::try_from(vec![7; 1024]).unwrap();
    let order = world.order(&payer(), Action::Deposit(content)).encode();
    let place = order.windows(3).position(|head| head == [0x59, 4, 0]).unwrap();
    let longer = [
        &order[..place],
        &[0x59, 4, 1],
        &order[place + 3..place + 1027],
        &[7],
        &order[place + 1027..],
    ]
    .concat();
    assert!(Transaction::decode(&longer).is_err());
}

/// What a host cannot redeem.
#[test]
fn redeems() {
    let mut world = World::new();
    let channel = world.open(1000, 300);
    world.redeem(&payer(), &world.voucher(channel, 400, 10), &[(0, 400)]).unwrap();
    let root = world.state.root();
    let elsewhere = ChannelId::new([8; 32]);
    type Case<'a> = (&'a str, Voucher, &'a [(u32, u64)]);
    let vouchers: [Case<'_>; 10] = [
        ("voucher-backwards", world.voucher(channel, 399, 10), &[]),
        ("voucher-backwards", world.voucher(channel, 500, 9), &[(0, 100)]),
        ("nothing-owed", world.voucher(channel, 400, 10), &[]),
        ("escrow", world.voucher(channel, 1001, 10), &[(0, 601)]),
        ("escrow", world.voucher(channel, u64::MAX, 10), &[(0, u64::MAX - 400)]),
        ("split", world.voucher(channel, 500, 10), &[(0, 99)]),
        ("split", world.voucher(channel, 500, 10), &[(0, 100), (0, 1)]),
        ("zero", world.voucher(channel, 500, 10), &[(0, 100), (0, 0)]),
        ("overflow", world.voucher(channel, 500, 10), &[(0, u64::MAX), (0, 1)]),
        ("unknown", world.voucher(elsewhere, 500, 10), &[(0, 100)]),
    ];
    for (code, voucher, parts) in vouchers {
        assert_eq!(world.redeem(&payer(), &voucher, parts), Err(code));
    }
    let voucher = world.voucher(channel, 500, 10);
    assert_eq!(world.redeem(&stranger(), &voucher, &[(0, 100)]), Err("wrong-payer"));
    let mine = redeem(&payer(), &voucher, &[(0, 100)], None);
    assert_eq!(world.send(&stranger(), mine), Err("not-owner"));
    let foreign = Voucher { network: NetworkId::DEVELOPMENT, ..voucher };
    assert_eq!(world.redeem(&payer(), &foreign, &[(0, 100)]), Err("wrong-network"));
    // A host that still holds a voucher: the payer cannot settle under it.
    let settle = Action::Settle(Settle { lock: Lock::Channel(channel) });
    assert_eq!(world.send(&payer(), settle.clone()), Err("held"));
    assert_eq!(world.state.root(), root);
    world.send(&payer(), Action::CloseChannel(CloseChannel { channel })).unwrap();
    assert_eq!(world.send(&payer(), settle), Err("held"));
    let close = Action::CloseChannel(CloseChannel { channel });
    assert_eq!(world.send(&payer(), close.clone()), Err("channel-closing"));
    assert_eq!(world.send(&stranger(), close), Err("not-owner"));
    let top_up = Action::TopUp(TopUp { channel, amount: Tal(1), expires: None });
    assert_eq!(world.send(&payer(), top_up), Err("channel-closing"));
    world.redeem(&payer(), &voucher, &[(0, 100)]).unwrap();
}

/// Sessions out of scope, out of time, or of somebody else.
#[test]
fn sessions() {
    type Change = fn(&World, &mut Session);
    let table: [(&str, Change); 8] = [
        ("session-scope", |_, session| session.key = stranger().public()),
        ("session-scope", |_, session| session.hosts = Some(vec![].try_into().unwrap())),
        ("session-scope", |_, session| session.functions = Some(vec![].try_into().unwrap())),
        ("session-expired", |world, session| {
            session.expires = world.network.slot_start(world.slot());
        }),
        ("session-expired", |_, session| session.expires = UnixNanos(0)),
        ("session-total", |_, session| session.total = Tal(99)),
        ("wrong-network", |_, session| session.network = NetworkId::DEVELOPMENT),
        ("wrong-payer", |_, session| session.payer = stranger().public()),
    ];
    let mut world = World::new();
    let channel = world.open(1000, 300);
    let voucher = world.voucher(channel, 100, 1);
    let root = world.state.root();
    for (code, change) in table {
        let mut session = session(&world);
        change(&world, &mut session);
        let granter = if session.payer == payer().public() { payer() } else { stranger() };
        let grant = seal_document(&granter, &session);
        let by_voucher = redeem(&session_key(), &voucher, &[(0, 100)], Some(grant.clone()));
        assert_eq!(world.send(&host(), by_voucher), Err(code), "voucher");
        // The same session under a run. Where another key signed, nothing uses the grant.
        let call = world.call(&session_key(), channel, 1);
        let action = redeem_batch(channel, &[call], vec![grant]);
        let by_run = Action::RedeemBatch(Box::new(action));
        let code = match code {
            "session-scope" if session.key != session_key().public() => "unused-part",
            // A run that outlives its grant is out of its scope before the time is asked.
            "session-expired" => "session-scope",
            code => code,
        };
        assert_eq!(world.send(&host(), by_run), Err(code), "run");
    }
    let forged =
        seal_document(&stranger(), &Session { payer: stranger().public(), ..session(&world) });
    let action = redeem(&session_key(), &voucher, &[(0, 100)], Some(forged));
    assert_eq!(world.send(&host(), action), Err("wrong-payer"));
    assert_eq!(world.state.root(), root);
}

/// What a redeem by batch may not be.
#[test]
fn batches() {
    let mut world = World::new();
    let channel = world.open(1000, 300);
    world.redeem(&payer(), &world.voucher(channel, 10, 10), &[(0, 10)]).unwrap();
    let call = |world: &World, at| world.call(&payer(), channel, at);
    let send =
        |world: &mut World, action| world.send(&host(), Action::RedeemBatch(Box::new(action)));
    for (code, sequence) in [
        ("sequence-paid", 10),
        ("sequence-paid", 0),
        ("sequence-window", 1035),
        ("sequence-window", u64::MAX),
    ] {
        let action = redeem_batch(channel, &[call(&world, sequence)], vec![]);
        assert_eq!(send(&mut world, action), Err(code));
    }
    let calls: Vec<Call> = (11..=14).map(|at| call(&world, at)).collect();
    assert_eq!(send(&mut world, redeem_batch(channel, &calls, vec![])), Err("batch-cap"));
    let poor = world.open(99, 300);
    let action = redeem_batch(poor, &[world.call(&payer(), poor, 1)], vec![]);
    assert_eq!(send(&mut world, action), Err("escrow"));
    // Twice the same, out of order, overlapping in what is owed, none at all.
    let twice = [calls[0].clone(), calls[0].clone()];
    assert_eq!(send(&mut world, redeem_batch(channel, &twice, vec![])), Err("bill-order"));
    let backwards = [calls[1].clone(), calls[0].clone()];
    assert_eq!(send(&mut world, redeem_batch(channel, &backwards, vec![])), Err("bill-order"));
    let overlapping = [calls[0].receipt(200), calls[1].receipt(250)];
    let action = redeem_receipts(channel, &calls[..2], &overlapping, vec![]);
    assert_eq!(send(&mut world, action), Err("bills-overlap"));
    let whole = redeem_batch(channel, &calls[..1], vec![]);
    let none = RedeemBatch { bills: vec![].try_into().unwrap(), ..whole.clone() };
    assert_eq!(send(&mut world, none), Err("bill-order"));
    // A receipt that is not in the batch, a batch that is not there, another channel's run.
    let other = Bill {
        receipt: calls[0].receipt(101).encode().try_into().unwrap(),
        ..whole.bills[0].clone()
    };
    let action = RedeemBatch { bills: vec![other].try_into().unwrap(), ..whole.clone() };
    assert_eq!(send(&mut world, action), Err("bad-proof"));
    let action = RedeemBatch { batches: vec![].try_into().unwrap(), ..whole.clone() };
    assert_eq!(send(&mut world, action), Err("bad-proof"));
    assert_eq!(
        send(&mut world, RedeemBatch { channel: poor, ..whole.clone() }),
        Err("wrong-channel")
    );
    let twice = [whole.batches[0].clone(), whole.batches[0].clone()].to_vec().try_into().unwrap();
    assert_eq!(
        send(&mut world, RedeemBatch { batches: twice, ..whole.clone() }),
        Err("unused-part")
    );
    // A bill above what the run's price gives, and another sender's receipts.
    let high = Receipt { bill: Tal(101), ..calls[0].receipt(200) };
    let action = redeem_receipts(channel, &calls[..1], &[high], vec![]);
    assert_eq!(send(&mut world, action), Err("receipt-differs"));
    let stolen = Action::RedeemBatch(Box::new(whole.clone()));
    assert_eq!(world.send(&stranger(), stolen), Err("wrong-host"));
    // A run that somebody else signed.
    let foreign = world.call(&stranger(), channel, 11);
    assert_eq!(send(&mut world, redeem_batch(channel, &[foreign], vec![])), Err("wrong-payer"));
    send(&mut world, whole).unwrap();
}

fn forge(world: &World, change: impl Fn(&mut Header)) -> Vec<u8> {
    let order = world.verify(&world.order(&payer(), transfer(1)).seal(&payer())).unwrap();
    let proposal = propose(&world.state, world.slot(), authority().public(), &[order]);
    let mut header = proposal.header;
    change(&mut header);
    let signer = if header.author == authority().public() { authority() } else { stranger() };
    let body = proposal.transactions.iter().map(|each| each.bytes().to_vec()).collect();
    Block { head: seal_document(&signer, &header), body }.encode()
}

/// Blocks that are none, or do not follow.
#[test]
fn blocks() {
    type Change = fn(&mut Header);
    let table: [(&str, Change); 15] = [
        ("wrong-author", |header| header.author = stranger().public()),
        ("future-slot", |header| header.slot = Slot(header.slot.0 + 1)),
        ("future-slot", |header| header.slot = Slot::MAX),
        ("wrong-slot", |header| header.slot = Slot(header.slot.0 - 1)),
        ("wrong-height", |header| header.slot = Slot(0)),
        ("wrong-height", |header| header.height = Height(0)),
        ("wrong-height", |header| header.height = Height(header.height.0 + 1)),
        ("wrong-height", |header| header.height = Height(u64::MAX)),
        ("wrong-parent", |header| header.parent = BlockId::of(b"another")),
        ("wrong-network", |header| header.network = NetworkId::DEVELOPMENT),
        ("wrong-state-root", |header| header.state = Digest::of(b"another")),
        ("wrong-body-root", |header| header.body = Digest::of(b"another")),
        ("body-size", |header| header.count += 1),
        ("body-size", |header| header.body_len -= 1),
        ("body-size", |header| header.body_len = u32::MAX),
    ];
    let mut world = World::new();
    world.send(&payer(), transfer(5)).unwrap();
    let root = world.state.root();
    let judge = |bytes: &[u8]| match world.read(bytes) {
        Ok(block) => apply(&world.state, &block).map_err(|error| error.code()).map(|_| ()),
        Err(error) => Err(error.code()),
    };
    assert_eq!(judge(&forge(&world, |_| ())), Ok(()));
    for (code, change) in table {
        assert_eq!(judge(&forge(&world, change)), Err(code));
    }
    // Signed by nobody, and cut short.
    let good = forge(&world, |_| ());
    assert_eq!(judge(&good[..good.len() - 1]), Err("malformed"));
    let block = Block::decode(&good).unwrap();
    let mut payload = block.head.payload().to_vec();
    *payload.last_mut().unwrap() ^= 1;
    let head = Sealed::from_parts(Domain::Block, payload, block.head.signatures()[0]).unwrap();
    assert_eq!(judge(&Block { head, body: block.body }.encode()), Err("bad-signature"));
    assert_eq!(world.state.root(), root);
}

/// A body under a header of its own: what it says about itself is right, what is in it is not.
fn signed(world: &World, body: Vec<Vec<u8>>) -> SignedBlock {
    let header = Header {
        author: authority().public(),
        body_len: body.iter().map(Vec::len).sum::<usize>() as u32,
        network: world.network.id(),
        body: block::body_root(&body).unwrap(),
        slot: world.slot(),
        count: body.len() as u32,
        state: world.state.root(),
        height: world.place().height,
        parent: world.state.tip().id,
    };
    let block = Block { head: seal_document(&authority(), &header), body };
    SignedBlock::verify(block, &world.network, world.slot()).unwrap()
}

#[test]
fn bodies() {
    let world = World::new();
    let sealed = |key: &SecretKey, nonce, amount| {
        let order = world.order(key, transfer(amount));
        Transaction { nonce: Nonce(nonce), ..order }.seal(key).encode()
    };
    let judge = |body: Vec<Vec<u8>>| {
        let block = VerifiedBlock::verify(&signed(&world, body), &world.network)
            .map_err(|error| error.code())?;
        apply(&world.state, &block).map(|_| ()).map_err(|error| error.code())
    };
    assert_eq!(judge(vec![]), Ok(()));
    assert_eq!(judge(vec![b"rubbish".to_vec()]), Err("bad-transaction"));
    // A double spend, a repetition, a gap: the block is none.
    let spend = |to: u64| sealed(&payer(), 0, to);
    let mut rivals = vec![spend(7), spend(8)];
    rivals
        .sort_by_key(|bytes| VerifiedTransaction::decode(bytes, &world.network.id()).unwrap().id());
    assert_eq!(judge(rivals.clone()), Err("transaction-refused"));
    assert_eq!(judge(vec![spend(7), spend(7)]), Err("transaction-refused"));
    assert_eq!(judge(vec![sealed(&payer(), 1, 7)]), Err("transaction-refused"));
    rivals.reverse();
    assert_eq!(judge(rivals), Err("wrong-order"));
    assert_eq!(judge(vec![sealed(&payer(), 1, 7), sealed(&payer(), 0, 7)]), Err("wrong-order"));
    // In order they apply, and only the state's root is wrong.
    assert_eq!(
        judge(vec![sealed(&payer(), 0, 7), sealed(&payer(), 1, 7)]),
        Err("wrong-state-root")
    );
}

#[test]
fn a_proposal_leaves_out_what_does_not_apply_and_says_why() {
    let world = World::new();
    let make = |key: &SecretKey, nonce, amount| {
        let order = Transaction { nonce: Nonce(nonce), ..world.order(key, transfer(amount)) };
        world.verify(&order.seal(key)).unwrap()
    };
    let good = [make(&payer(), 0, 1), make(&payer(), 1, 2), make(&host(), 0, 3)];
    let bad = [make(&host(), 2, 1), make(&author(), 0, FUND + 1)];
    let all: Vec<Arc<VerifiedTransaction>> = good.iter().chain(&bad).cloned().collect();
    let proposal = propose(&world.state, world.slot(), authority().public(), &all);
    assert_eq!(proposal.transactions.len(), 3);
    assert!(is_canonical(&proposal.transactions));
    let mut refused: Vec<_> = proposal.refused.iter().map(|(id, why)| (*id, why.code())).collect();
    refused.sort_unstable();
    let mut expected = vec![(bad[0].id(), "nonce-gap"), (bad[1].id(), "balance")];
    expected.sort_unstable();
    assert_eq!(refused, expected);
    // The order of the candidates does not matter.
    let reversed: Vec<_> = all.iter().rev().cloned().collect();
    let again = propose(&world.state, world.slot(), authority().public(), &reversed);
    assert_eq!(again.header, proposal.header);
}
