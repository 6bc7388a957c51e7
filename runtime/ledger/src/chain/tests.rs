//! One node and what it refuses: each with its stable code, and with nothing changed.

#![allow(clippy::arithmetic_side_effects, reason = "a test may fail loudly")]

use proptest::prelude::*;

use super::message::Message;
use super::*;
use crate::codec::Document as _;
use crate::id::{ChannelId, Digest, FunctionId, SecretKey};
use crate::params::NetworkParams;
use crate::sign::{self, Domain};
use crate::transaction::{Action as Order, OpenChannel, Part, Redeem, Transaction, Transfer};
use crate::units::{Nonce, Ppm, Sequence, Tal};
use crate::voucher::Voucher;

const PEER: Peer = Peer(7);

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32])
}

/// A network of three authorities with the keys 1, 2, 3, which funds 9.
fn network() -> Arc<Network> {
    let mut params = NetworkParams::development(&[key(9).public()], key(1).public());
    params.authorities =
        vec![key(1).public(), key(2).public(), key(3).public()].try_into().unwrap();
    params.slot_len = Nanos(1_000);
    params.start = UnixNanos::ZERO;
    Arc::new(Network::new(params).unwrap())
}

fn open(n: u8) -> Chain {
    let network = network();
    let recovered = Recovered::genesis(&network);
    Chain::open(network, Box::new(key(n)), Bounds::NODE, recovered, UnixNanos::ZERO).unwrap().0
}

fn at(slot: u64) -> UnixNanos {
    UnixNanos(slot * 1_000 + 1)
}

fn transfer(nonce: u64) -> Vec<u8> {
    let transaction = Transaction {
        action: Order::Transfer(Transfer { to: key(8).public(), amount: Tal(1) }),
        network: network().id(),
        sender: key(9).public(),
        nonce: Nonce(nonce),
        builds_on: None,
    };
    transaction.seal(&key(9)).encode()
}

fn submit(chain: &mut Chain, now: UnixNanos, envelope: Vec<u8>) -> Result<TransactionId, Reason> {
    let submission = Submission(1);
    let actions = chain.handle(now, Event::Submit { submission, envelope });
    actions
        .into_iter()
        .find_map(|action| match action {
            Action::Answer { outcome, .. } => Some(outcome),
            _ => None,
        })
        .expect("every submission is answered")
}

/// The block of a slot by its owner, holding one transfer.
fn block(slot: u64) -> Block {
    let owner = 1 + (slot % 3) as u8;
    let mut chain = open(owner);
    submit(&mut chain, UnixNanos::ZERO, transfer(0)).unwrap();
    chain.handle(at(slot), Event::Tick);
    chain.block(&chain.head().id).expect("it authored").to_block()
}

fn hear(chain: &mut Chain, now: UnixNanos, message: Message) -> Vec<Action> {
    chain.handle(now, Event::Message { from: PEER, message })
}

fn code(actions: &[Action]) -> Option<&'static str> {
    actions.iter().find_map(|action| match action {
        Action::Refused { code, .. } => Some(*code),
        _ => None,
    })
}

fn resealed(block: &Block, by: u8, change: impl Fn(&mut crate::block::Header)) -> Block {
    let mut header = crate::block::Header::decode(block.head.payload()).unwrap();
    change(&mut header);
    let head = sign::seal(&key(by), Domain::Block, header.encode());
    Block { head, body: block.body.clone() }
}

#[test]
fn a_block_of_the_right_author_and_slot_is_taken() {
    let mut chain = open(1);
    let actions = hear(&mut chain, at(2), Message::Block(block(2)));
    assert_eq!(code(&actions), None);
    assert_eq!(chain.head().height, Height(1));
    assert!(matches!(actions[0], Action::Persist(Record::Block(_))), "written before all else");
}

#[test]
fn bad_blocks_are_refused_with_their_code() {
    let good = block(2);
    let owner = 3;
    let cases: [(&str, Block); 9] = [
        ("wrong-author", resealed(&good, 1, |header| header.author = key(1).public())),
        ("wrong-signer", resealed(&good, 1, |_| {})),
        ("wrong-author", resealed(&good, owner, |header| header.slot = Slot(3))),
        ("future-slot", resealed(&good, owner, |header| header.slot = Slot(302))),
        ("wrong-height", resealed(&good, owner, |header| header.height = Height(2))),
        ("wrong-state-root", resealed(&good, owner, |header| header.state = Digest::of(b"x"))),
        ("wrong-body-root", resealed(&good, owner, |header| header.body = Digest::of(b"x"))),
        ("body-size", Block { body: Vec::new(), ..good.clone() }),
        ("wrong-network", {
            resealed(&good, owner, |header| header.network = crate::NetworkId::DEVELOPMENT)
        }),
    ];
    for (expected, block) in cases {
        let mut chain = open(1);
        let before = chain.head_state().root();
        let actions = hear(&mut chain, at(2), Message::Block(block));
        assert_eq!(code(&actions), Some(expected));
        assert_eq!(chain.head().height, Height::ZERO, "{expected}");
        assert_eq!(chain.head_state().root(), before, "{expected}");
    }
}

#[test]
fn a_body_that_nobody_gives_is_given_up() {
    let mut chain = open(1);
    chain.handle(at(2), Event::Joined(PEER));
    let actions = hear(&mut chain, at(2), Message::Announce(block(2).head));
    let asks = |actions: &[Action]| {
        actions
            .iter()
            .any(|action| matches!(action, Action::Send { message: Message::GetBlocks(_), .. }))
    };
    assert!(asks(&actions));
    let mut refused = Vec::new();
    for tick in 0..40 {
        let actions = chain.handle(UnixNanos(2_001 + tick * 500), Event::Tick);
        refused.extend(code(&actions));
    }
    assert_eq!(refused, ["withheld-body"]);
    assert_eq!(chain.head().height, Height::ZERO);
}

#[test]
fn two_blocks_of_a_slot_are_evidence_and_a_third_is_not_taken_unasked() {
    let good = block(2);
    let mut chain = open(1);
    let twice = [
        good.head.clone(),
        resealed(&good, 3, |header| header.state = Digest::of(b"2")).head,
        resealed(&good, 3, |header| header.state = Digest::of(b"3")).head,
    ];
    let mut evidence = 0;
    let mut codes = Vec::new();
    for header in twice {
        let actions = hear(&mut chain, at(2), Message::Announce(header));
        evidence += actions
            .iter()
            .filter(|action| matches!(action, Action::Persist(Record::Equivocation(_))))
            .count();
        codes.push(code(&actions));
    }
    assert_eq!(evidence, 1);
    assert_eq!(codes, [None, None, Some("slot-taken")]);
}

#[test]
fn submissions_are_answered_after_they_are_written_and_refused_with_a_reason() {
    let mut chain = open(1);
    let envelope = transfer(0);
    let submission = Submission(5);
    let actions =
        chain.handle(UnixNanos::ZERO, Event::Submit { submission, envelope: envelope.clone() });
    let place = |wanted: fn(&Action) -> bool| actions.iter().position(wanted).unwrap();
    let written = place(|action| matches!(action, Action::Persist(Record::Transaction(_))));
    let answered = place(|action| matches!(action, Action::Answer { outcome: Ok(_), .. }));
    let sent = place(|action| matches!(action, Action::Broadcast(Message::Transaction(_))));
    assert!(written < answered && answered < sent);

    assert!(submit(&mut chain, UnixNanos::ZERO, envelope.clone()).is_ok(), "again: the same");
    let reason = |outcome: Result<TransactionId, Reason>| outcome.unwrap_err().to_string();
    assert_eq!(reason(submit(&mut chain, UnixNanos::ZERO, vec![1, 2, 3])), "malformed");
    let mut forged = envelope;
    let last = forged.windows(64).position(|part| part[..2] == [0x58, 64]).unwrap() + 5;
    forged[last] ^= 1;
    assert_eq!(reason(submit(&mut chain, UnixNanos::ZERO, forged)), "bad-signature");
    assert_eq!(reason(submit(&mut chain, UnixNanos::ZERO, transfer(9_999))), "nonce-gap");
    assert_eq!(chain.pool().len(), 1);
}

/// Signed by `signer`, whoever the sender is.
fn order(sender: u8, nonce: u64, amount: u64, signer: u8) -> Vec<u8> {
    let transaction = Transaction {
        action: Order::Transfer(Transfer { to: key(8).public(), amount: Tal(amount) }),
        network: network().id(),
        sender: key(sender).public(),
        nonce: Nonce(nonce),
        builds_on: None,
    };
    transaction.seal(&key(signer)).encode()
}

/// The same envelope with one bit of its signature changed.
fn forged(mut envelope: Vec<u8>) -> Vec<u8> {
    let place = envelope.windows(64).position(|part| part[..2] == [0x58, 64]).unwrap() + 5;
    envelope[place] ^= 1;
    envelope
}

#[test]
fn law_9_who_cannot_pay_the_fee_costs_no_signature_and_no_place() {
    let mut chain = open(1);
    let mut judge = |envelope: Vec<u8>| {
        submit(&mut chain, UnixNanos::ZERO, envelope).map_err(|reason| reason.to_string())
    };
    // The signature is bad in each: that it is not what is named shows that it was not looked at.
    for (code, bad) in [("cannot-pay", order(5, 0, 1, 5)), ("nonce-gap", order(9, 9_999, 1, 9))] {
        assert_eq!(judge(forged(bad)), Err(code.to_owned()));
    }
    assert_eq!(judge(order(5, 0, 1, 5)), Err("cannot-pay".to_owned()), "a good one neither");
    assert_eq!(judge(forged(order(9, 0, 1, 9))), Err("bad-signature".to_owned()), "it could pay");
    assert_eq!(judge(order(9, 0, 1, 5)), Err("wrong-signer".to_owned()), "nobody pays for others");
    assert_eq!(chain.pool().len(), 0);
    // A peer is blamed for a forgery, not for a sender whose money this node does not see.
    let heard = |chain: &mut Chain, envelope: Vec<u8>| {
        let message = Message::Transaction(envelope.try_into().unwrap());
        code(&hear(chain, UnixNanos::ZERO, message))
    };
    assert_eq!(heard(&mut chain, forged(order(5, 0, 1, 5))), None);
    assert_eq!(heard(&mut chain, forged(order(9, 0, 1, 9))), Some("bad-signature"));
    assert_eq!(chain.pool().len(), 0);
    assert_eq!(heard(&mut chain, order(9, 0, 1, 9)), None);
    assert_eq!(chain.pool().len(), 1);
}

#[test]
fn a_host_without_money_has_one_pending_redeem_and_pays_its_fee_from_it() {
    let mut chain = open(1);
    let send = |chain: &mut Chain, slot, by: u8, nonce, action| {
        let (network, sender) = (network().id(), key(by).public());
        let nonce = Nonce(nonce);
        let transaction = Transaction { action, network, sender, nonce, builds_on: None };
        let envelope = transaction.seal(&key(by)).encode();
        submit(chain, at(slot), envelope).map_err(|reason| reason.to_string())
    };
    let opening = OpenChannel {
        host: key(7).public(),
        escrow: Tal(1_000),
        expires: Slot(10_000),
        batch_cap: Tal::ZERO,
        watermark: Tal(1_000),
    };
    let opened = send(&mut chain, 1, 9, 0, Order::OpenChannel(opening)).unwrap();
    chain.handle(at(3), Event::Tick);
    let channel = ChannelId::opened_by(&opened);
    assert_eq!(chain.head_state().account(&key(7).public()).balance, Tal::ZERO);
    let redeem = |owed: u64, settled: u64, amount: u64| {
        let (owed, settled) = (Tal(owed), Sequence(settled));
        let voucher = Voucher { network: network().id(), channel, owed, settled };
        let function = FunctionId::of(b"a function");
        let part = Part { function, royalty: Ppm::ZERO, amount: Tal(amount) };
        Order::Redeem(Box::new(Redeem {
            grant: None,
            split: vec![part].try_into().unwrap(),
            voucher: sign::seal_document(&key(9), &voucher),
        }))
    };
    // By what a voucher brings, and not by what it says: this one owes less than the fee.
    assert_eq!(send(&mut chain, 3, 7, 0, redeem(1, 1, 1)), Err("cannot-pay".to_owned()));
    assert_eq!(send(&mut chain, 3, 7, 1, redeem(400, 1, 400)), Err("cannot-pay".to_owned()));
    let first = send(&mut chain, 3, 7, 0, redeem(400, 1, 400)).unwrap();
    // The same promise would pay the fee of many: one counts.
    assert_eq!(send(&mut chain, 3, 7, 1, redeem(500, 2, 100)), Err("cannot-pay".to_owned()));
    chain.handle(at(6), Event::Tick);
    assert!(matches!(chain.transaction_status(&first), TransactionStatus::Included { .. }));
    let state = chain.head_state();
    let has = state.account(&key(7).public()).balance.0;
    // The development network funds one account; fees of two transactions were taken.
    let fees = state.totals().fees.0;
    assert!(has < 400 && has + fees > 400, "{has} and {fees}");
    state.conserved().unwrap();
    send(&mut chain, 6, 7, 1, redeem(500, 2, 100)).unwrap();
}

#[test]
fn a_ledger_at_rest_makes_a_block_before_the_last_one_is_too_old_to_draw_by() {
    let network = network();
    let signer = || Box::new(key(1));
    let mut params = network.params().clone();
    params.authorities = vec![key(1).public()].try_into().unwrap();
    let network = Arc::new(Network::new(params).unwrap());
    let recovered = Recovered::genesis(&network);
    let now = UnixNanos::ZERO;
    let mut chain =
        Chain::open(Arc::clone(&network), signer(), Bounds::NODE, recovered, now).unwrap().0;
    let rest = REST_MAX.0 / 1_000;
    chain.handle(at(3 * rest), Event::Tick);
    assert_eq!(chain.head().height, Height::ZERO, "before the first transaction there is no need");
    let transaction = Transaction {
        action: Order::Transfer(Transfer { to: key(8).public(), amount: Tal(1) }),
        network: network.id(),
        sender: key(9).public(),
        nonce: Nonce(0),
        builds_on: None,
    };
    let began = 3 * rest + 1;
    submit(&mut chain, at(began), transaction.seal(&key(9)).encode()).unwrap();
    chain.handle(at(began), Event::Tick);
    let (first, last) = (chain.head(), began + rest);
    assert_eq!(first.id, chain.finalised().id);
    for slot in began + 1..began + 100 {
        chain.handle(at(slot), Event::Tick);
    }
    chain.handle(at(last - 1), Event::Tick);
    assert_eq!(chain.head().id, first.id, "at rest");
    chain.handle(at(last), Event::Tick);
    assert_eq!((chain.head().height.0, chain.head().slot), (first.height.0 + 1, Slot(last)));
    chain.handle(at(last + 1), Event::Tick);
    assert_eq!(chain.head().slot, Slot(last), "one is enough");
}

/// Delivers what the chains say to each other, `from` one to all others, until nobody says anything more.
fn talk(chains: &mut [Chain], now: UnixNanos, from: usize, actions: Vec<Action>) {
    let mut said: Vec<(usize, Vec<Action>)> = vec![(from, actions)];
    while let Some((from, actions)) = said.pop() {
        for action in actions {
            let (to, message) = match action {
                Action::Broadcast(message) => (None, message),
                Action::Send { to, message } => (Some(to.0 as usize), message),
                _ => continue,
            };
            for (at, chain) in chains.iter_mut().enumerate() {
                if at != from && to.is_none_or(|to| to == at) {
                    let from = Peer(from as u64);
                    let event = Event::Message { from, message: message.clone() };
                    said.push((at, chain.handle(now, event)));
                }
            }
        }
    }
}

#[test]
fn a_double_spend_across_branches_is_paid_once_and_the_other_has_its_reason() {
    let mut chains: Vec<Chain> = (1..=3).map(open).collect();
    // Two orders with one number, each given to another node, while the nodes do not hear each other.
    let rivals = [order(9, 0, 70, 9), order(9, 0, 80, 9)];
    let mut ids = Vec::new();
    for (at, rival) in rivals.into_iter().enumerate() {
        ids.push(submit(&mut chains[at], UnixNanos::ZERO, rival).unwrap());
    }
    for slot in 1..=3 {
        for chain in &mut chains[..2] {
            chain.handle(at(slot), Event::Tick);
        }
    }
    assert!(chains[..2].iter().all(|chain| chain.head().height == Height(1)), "a branch each");
    // They hear each other, and go on until a block is final.
    for slot in 4..=40 {
        for number in 0..chains.len() {
            let actions = chains[number].handle(at(slot), Event::Tick);
            talk(&mut chains, at(slot), number, actions);
        }
    }
    for chain in &chains {
        assert!(chain.finalised().height > Height(2), "{:?}", chain.finalised());
        let paid = chain.finalised_state().account(&key(8).public()).balance;
        assert!([Tal(70), Tal(80)].contains(&paid), "{paid}");
        assert_eq!(chain.finalised_state().account(&key(9).public()).nonce, Nonce(1));
        chain.finalised_state().conserved().unwrap();
    }
    let lost = if chains[0].finalised_state().account(&key(8).public()).balance == Tal(70) {
        1
    } else {
        0
    };
    let status = chains[lost].transaction_status(&ids[lost]);
    assert_eq!(status, TransactionStatus::Rejected(Reason::new("nonce-used")));
}

#[test]
fn transactions_sent_again_unasked_are_held_against_their_sender_and_answers_are_not() {
    let mut chain = open(1);
    chain.handle(at(2), Event::Joined(PEER));
    let verified = |nonce| VerifiedTransaction::decode(&transfer(nonce), &network().id()).unwrap();
    let sent = |chain: &mut Chain, nonce, is_news| {
        let transaction = Box::new(verified(nonce));
        let actions = chain.handle(at(2), Event::Transaction { from: PEER, transaction, is_news });
        code(&actions).map(|code| assert_eq!(code, "replayed")).is_some()
    };
    assert!(!sent(&mut chain, 0, false), "it was new");
    // Whoever passes on what all are told cannot know who has heard it.
    assert!((0..100).all(|_| !sent(&mut chain, 0, true)));
    let refused = (0..34).filter(|_| sent(&mut chain, 0, false)).count();
    assert_eq!(refused, 2, "each seventeenth");
    // What was asked for may have come from somebody else meanwhile.
    let ids: Vec<TransactionId> = (1..=40).map(|nonce| verified(nonce).id()).collect();
    let asks = |chain: &mut Chain, slot| {
        let pool = Message::Pool(ids.clone().try_into().unwrap());
        let actions = hear(chain, at(slot), pool);
        actions.into_iter().find_map(|action| match action {
            Action::Send { message: Message::GetTransactions(ids), .. } => Some(ids.len()),
            _ => None,
        })
    };
    assert_eq!(asks(&mut chain, 2), Some(40));
    assert_eq!(asks(&mut chain, 2), None, "once a slot");
    for is_news in [true, false] {
        assert!((1..=40).all(|nonce| !sent(&mut chain, nonce, is_news)));
    }
    let refused = (0..34).filter(|_| sent(&mut chain, 0, false)).count();
    assert_eq!(refused, 2, "all answers have come");
}

#[test]
fn an_authority_rests_when_its_head_is_final_and_nothing_is_pending() {
    let mut chain = open(1);
    for slot in 1..9 {
        chain.handle(at(slot), Event::Tick);
    }
    assert_eq!(chain.head().height, Height::ZERO);
    submit(&mut chain, at(9), transfer(0)).unwrap();
    assert_eq!(chain.head().height, Height(1), "slot 9 is its own");
    chain.handle(at(10), Event::Tick);
    assert_eq!(chain.head().height, Height(1), "slot 10 is another's");
    chain.handle(at(12), Event::Tick);
    assert_eq!(chain.head().height, Height(2), "the head is not final: it goes on");
}

/// Blocks of all three authorities, some beside each other.
fn forest() -> Vec<Block> {
    let mut chains: Vec<Chain> = (1..=3).map(open).collect();
    let mut blocks = Vec::new();
    submit(&mut chains[0], UnixNanos::ZERO, transfer(0)).unwrap();
    submit(&mut chains[1], UnixNanos::ZERO, transfer(0)).unwrap();
    submit(&mut chains[2], UnixNanos::ZERO, transfer(0)).unwrap();
    for slot in 1..=9 {
        let owner = (slot % 3) as usize;
        chains[owner].handle(at(slot), Event::Tick);
        let head = chains[owner].head().id;
        let block = chains[owner].block(&head).expect("it authored").to_block();
        if slot >= 5 {
            // From here on the first two hear each other; the third stays alone.
            for other in [0, 1] {
                for known in blocks.iter().chain([&block]).cloned() {
                    chains[other].handle(
                        at(slot),
                        Event::Message { from: PEER, message: Message::Block(known) },
                    );
                }
            }
        }
        blocks.push(block);
    }
    blocks
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Law 6: the same blocks in any order, with repeats, give the same head and the same state.
    #[test]
    fn law_6_permuted_deliveries_give_the_same_head(order in Just(forest()).prop_shuffle()) {
        let deliver = |blocks: &[Block]| {
            let mut chain = open(4);
            for _ in 0..blocks.len() {
                for block in blocks {
                    hear(&mut chain, at(10), Message::Block(block.clone()));
                }
            }
            (chain.head(), chain.head_state().root())
        };
        prop_assert_eq!(deliver(&order), deliver(&forest()));
    }

    /// Whatever bytes a peer sends: no panic, and the head stays.
    #[test]
    fn any_message_is_survived(
        which in 0_usize..4, at_byte: prop::sample::Index, flip in 1_u8..=255
    ) {
        let block = block(2);
        let message = [
            Message::Block(block.clone()),
            Message::Announce(block.head.clone()),
            Message::Headers(vec![block.head.clone()].try_into().unwrap()),
            Message::Vote(block.head),
        ][which].clone();
        let mut bytes = message.encode();
        let place = at_byte.index(bytes.len());
        bytes[place] ^= flip;
        let mut chain = open(1);
        if let Ok(message) = Message::decode(&bytes) {
            hear(&mut chain, at(2), message);
            prop_assert_eq!(chain.head().height, Height::ZERO);
        }
    }
}
