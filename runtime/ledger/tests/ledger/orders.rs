//! Any document of the ledger that can be made encodes within its bound and decodes to itself.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use talea_ledger::codec::Document;
use talea_ledger::merkle::LeafIndex;
use talea_ledger::message::FunctionName;
use talea_ledger::params::{Balance, NetworkParams};
use talea_ledger::rules::record::*;
use talea_ledger::sign::seal_document;
use talea_ledger::transaction::*;
use talea_ledger::units::Nanos;
use talea_ledger::*;

use crate::roundtrip::{channel, check, digest, key, network, number, proof, receipt, run, secret};

fn ppm() -> impl Strategy<Value = Ppm> {
    (0..=1_000_000_u32).prop_map(|share| Ppm::new(share).unwrap())
}

fn function() -> impl Strategy<Value = FunctionId> {
    digest().prop_map(FunctionId::from_digest)
}

fn transaction_id() -> impl Strategy<Value = TransactionId> {
    any::<[u8; 32]>().prop_map(TransactionId::new)
}

fn name() -> impl Strategy<Value = FunctionName> {
    "[a-z0-9]{1,64}/[a-z0-9]{1,64}".prop_map(|text| text.parse().unwrap())
}

fn voucher() -> impl Strategy<Value = Voucher> {
    (network(), channel(), number(), number()).prop_map(|(network, channel, owed, settled)| {
        Voucher { network, channel, owed: Tal(owed), settled: Sequence(settled) }
    })
}

fn session() -> impl Strategy<Value = Session> {
    let lists = (option::of(vec(key(), 0..4)), option::of(vec(function(), 0..4)));
    (network(), key(), key(), number(), number(), lists).prop_map(
        |(network, key, payer, total, expires, (hosts, functions))| Session {
            key,
            network,
            hosts: hosts.map(|list| list.try_into().unwrap()),
            payer,
            total: Tal(total),
            expires: UnixNanos(expires),
            functions: functions.map(|list| list.try_into().unwrap()),
        },
    )
}

fn header() -> impl Strategy<Value = Header> {
    let numbers = (number(), number(), any::<u32>(), any::<u32>());
    (key(), network(), digest(), digest(), digest(), numbers).prop_map(
        |(author, network, body, state, parent, (slot, height, count, body_len))| Header {
            author,
            body_len,
            network,
            body,
            slot: Slot(slot),
            count,
            state,
            height: Height(height),
            parent: BlockId::from_digest(parent),
        },
    )
}

fn params() -> impl Strategy<Value = NetworkParams> {
    let windows = (number(), number(), number(), number(), number());
    let balance = (key(), number()).prop_map(|(key, amount)| Balance { key, amount: Tal(amount) });
    (number(), number(), number(), windows, vec(balance, 0..5), vec(key(), 0..5)).prop_map(
        |(fee, slot, start, windows, balances, authorities)| NetworkParams {
            fee: Tal(fee),
            slot_len: Nanos(slot),
            start: UnixNanos(start),
            close_window: Slots(windows.0),
            answer_window: Slots(windows.1),
            redeem_margin: Slots(windows.2),
            dispute_window: Slots(windows.3),
            unstake_window: Slots(windows.4),
            balances: balances.try_into().unwrap(),
            authorities: authorities.try_into().unwrap(),
            ..crate::chain::params()
        },
    )
}

fn lock() -> impl Strategy<Value = Lock> {
    prop_oneof![
        transaction_id().prop_map(Lock::Claim),
        key().prop_map(Lock::Stake),
        channel().prop_map(Lock::Channel),
    ]
}

fn redeem() -> impl Strategy<Value = Action> {
    let part = (function(), ppm(), number()).prop_map(|(function, royalty, amount)| Part {
        function,
        royalty,
        amount: Tal(amount),
    });
    (option::of(session()), vec(part, 0..5), voucher(), secret()).prop_map(
        |(grant, split, voucher, key)| {
            Action::Redeem(Box::new(Redeem {
                grant: grant.map(|session| seal_document(&key, &session)),
                split: split.try_into().unwrap(),
                voucher: seal_document(&key, &voucher),
            }))
        },
    )
}

fn redeem_batch() -> impl Strategy<Value = Action> {
    let bill = (run(), receipt(), proof(), 0..32_u32, secret()).prop_map(
        |(run, receipt, proof, batch, key)| Bill {
            run: seal_document(&key, &run),
            path: proof.path,
            batch,
            index: LeafIndex::new(batch),
            receipt: receipt.encode().try_into().unwrap(),
        },
    );
    (channel(), vec(bill, 0..4), vec(proof(), 0..3), option::of(session()), secret()).prop_map(
        |(channel, bills, proofs, grant, key)| {
            let batches: Vec<Sealed> = proofs.into_iter().map(|proof| proof.batch).collect();
            let grants: Vec<Sealed> =
                grant.iter().map(|session| seal_document(&key, session)).collect();
            Action::RedeemBatch(Box::new(RedeemBatch {
                channel,
                bills: bills.try_into().unwrap(),
                grants: grants.try_into().unwrap(),
                batches: batches.try_into().unwrap(),
            }))
        },
    )
}

fn action() -> impl Strategy<Value = Action> {
    let updates = (option::of(function()), option::of(ppm()), option::of(key()));
    prop_oneof![
        (key(), number())
            .prop_map(|(to, amount)| { Action::Transfer(Transfer { to, amount: Tal(amount) }) }),
        (name(), updates, option::of(any::<bool>())).prop_map(
            |(name, (function, royalty, owner), private)| {
                Action::UpdateName(UpdateName { function, royalty, name, owner, private })
            }
        ),
        (key(), name(), option::of(select(vec!["GET", "POST"]))).prop_map(|(key, name, method)| {
            let methods = method.map(|method| vec![method.parse().unwrap()].try_into().unwrap());
            Action::Grant(Grant { key, name, methods })
        }),
        (key(), number(), number(), number()).prop_map(|(host, escrow, expires, batch_cap)| {
            Action::OpenChannel(OpenChannel {
                host,
                escrow: Tal(escrow),
                expires: Slot(expires),
                batch_cap: Tal(batch_cap),
                watermark: Tal(escrow),
            })
        }),
        (channel(), number(), option::of(number())).prop_map(|(channel, amount, expires)| {
            Action::TopUp(TopUp { channel, amount: Tal(amount), expires: expires.map(Slot) })
        }),
        lock().prop_map(|lock| Action::Settle(Settle { lock })),
        redeem(),
        redeem_batch(),
        (transaction_id(), number()).prop_map(|(claim, sequence)| {
            Action::Challenge(Challenge { sequence: Sequence(sequence), claim })
        }),
        (proof(), receipt(), proof(), receipt()).prop_map(|(one, first, other, second)| {
            let proven = |proof, receipt: Receipt| ProvenReceipt {
                proof,
                receipt: receipt.encode().try_into().unwrap(),
            };
            Action::ReportFraud(Box::new(ReportFraud {
                first: proven(one, first),
                second: proven(other, second),
            }))
        }),
        vec(any::<u8>(), 0..1024).prop_map(|bytes| Action::Withdraw(bytes.try_into().unwrap())),
    ]
}

fn transaction() -> impl Strategy<Value = Transaction> {
    (action(), network(), key(), number(), option::of(transaction_id())).prop_map(
        |(action, network, sender, nonce, builds_on)| Transaction {
            action,
            network,
            sender,
            nonce: Nonce(nonce),
            builds_on,
        },
    )
}

fn record() -> impl Strategy<Value = Record> {
    let window = vec(0..1024_usize, 0..20).prop_map(|places| {
        let mut window = Window::EMPTY;
        places.into_iter().for_each(|place| window.set(place));
        window
    });
    let numbers = (number(), number(), number(), number(), option::of(number()));
    let channel = (key(), key(), transaction_id(), window, numbers).prop_map(
        |(host, payer, last, used, (escrow, expires, settled, redeemed, closing))| {
            Record::Channel(Box::new(Channel {
                host,
                last,
                used,
                payer,
                escrow: Tal(escrow),
                opened: Slot(expires),
                batched: Tal(redeemed),
                closing: closing.map(Slot),
                expires: Slot(expires),
                settled: Sequence(settled),
                vouched: Tal(redeemed),
                batch_cap: Tal(escrow),
                redeemed: Tal(redeemed),
                watermark: Tal(escrow),
            }))
        },
    );
    let account =
        (option::of(transaction_id()), number(), number()).prop_map(|(last, nonce, balance)| {
            Record::Account(Account { last, nonce: Nonce(nonce), balance: Tal(balance) })
        });
    prop_oneof![account, channel]
}

proptest! {
    #[test]
    fn vouchers(document in voucher()) { check(&document); }

    #[test]
    fn sessions(document in session()) { check(&document); }

    #[test]
    fn headers(document in header()) { check(&document); }

    #[test]
    fn networks(document in params()) { check(&document); }

    #[test]
    fn transactions(document in transaction()) { check(&document); }

    #[test]
    fn records(document in record()) { check(&document); }

    /// The window of a channel: moving it up forgets what falls below and keeps the rest.
    #[test]
    fn windows(places in vec(0..1024_usize, 0..40), by in prop_oneof![0..1100_u64, any::<u64>()]) {
        let mut window = Window::EMPTY;
        places.iter().for_each(|place| window.set(*place));
        let moved = window.moved(by);
        for place in 0..1024_usize {
            let before = usize::try_from(by).ok().and_then(|by| place.checked_add(by));
            prop_assert_eq!(moved.has(place), before.is_some_and(|before| window.has(before)));
        }
    }
}
