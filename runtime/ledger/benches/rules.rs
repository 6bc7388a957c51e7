//! How fast the rules are: blocks against their size and against the size of the state, signatures, receipts.
//!
//! Prints its tables. A figure is the best of several runs on this machine, which other work disturbs least; ratios
//! between figures travel better than the figures themselves.

#![allow(
    clippy::unwrap_used,
    reason = "a measurement that cannot build its case should stop there"
)]
#![allow(clippy::print_stdout, reason = "the table is the result")]
#![allow(clippy::disallowed_methods, reason = "measuring is reading the clock")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use talea_ledger::batch::{BatchHead, seal_batch, verify_receipt, verify_receipts};
use talea_ledger::block::{Block, SignedBlock, VerifiedBlock};
use talea_ledger::codec::{Decoder, Document, Field};
use talea_ledger::merkle::LeafIndex;
use talea_ledger::rules::record::{Account, Key, Record, Totals};
use talea_ledger::rules::{State, Tip, apply, propose};
use talea_ledger::sign::seal_document;
use talea_ledger::transaction::{Action, Transfer};
use talea_ledger::*;

/// Rounds of each measurement; the best is told.
const ROUNDS: usize = 5;
/// A round repeats its work until it has taken so long, which is far above the grain of the clock.
const ROUND: Duration = Duration::from_millis(60);
const BALANCE: u64 = 1 << 40;

/// The processor time of this thread, which other work on the machine does not count into; where the system does
/// not tell, the time.
fn clock(start: Instant) -> Duration {
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse().ok())
        .map_or_else(|| start.elapsed(), Duration::from_nanos)
}

/// How long one run of `work` takes.
fn timed<T>(mut work: impl FnMut() -> T) -> Duration {
    let start = Instant::now();
    let round = || {
        let begin = clock(start);
        let mut runs = 0;
        loop {
            // Twice as often each time: reading the clock is itself work.
            for _ in 0..=runs {
                black_box(work());
            }
            runs = runs * 2 + 1;
            let spent = clock(start).saturating_sub(begin);
            if spent >= ROUND {
                return spent / runs;
            }
        }
    };
    std::iter::repeat_with(round).take(ROUNDS).min().unwrap_or_default()
}

fn authority() -> SecretKey {
    SecretKey::from_bytes(&[9; 32])
}

/// A key that can be named; whether it is a point does not matter to an account.
fn named(number: u64) -> PublicKey {
    let digest = Digest::of(&number.to_le_bytes());
    let mut bytes = vec![0x58, 34, 0xed, 1];
    bytes.extend_from_slice(digest.as_bytes());
    PublicKey::take(&mut Decoder::new(&bytes)).unwrap()
}

fn sender(number: u32) -> SecretKey {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    SecretKey::from_bytes(&bytes)
}

/// A state of so many accounts, the senders among them.
fn state(network: &Arc<Network>, accounts: u64, senders: &[SecretKey]) -> State {
    let account = Account { balance: Tal(BALANCE), ..Account::default() };
    let keys = senders.iter().map(SecretKey::public);
    let keys = keys.chain((senders.len() as u64..accounts).map(named));
    let totals = Totals { genesis: Tal(accounts * BALANCE), ..Totals::default() };
    let records = keys
        .map(|key| (Key::Account(key), Record::Account(account)))
        .chain([(Key::Totals(()), Record::Totals(totals))]);
    let tip = Tip { id: network.genesis(), height: Height(0), slot: Slot(0) };
    let state = State::restore(Arc::clone(network), tip, records);
    state.root();
    state
}

/// A block of transfers, each by another sender to an account somewhere in the state.
fn block(network: &Network, state: &State, accounts: u64, senders: &[SecretKey]) -> SignedBlock {
    let transfers: Vec<_> = senders
        .iter()
        .zip(1_u64..)
        .map(|(key, number)| {
            let to =
                named(senders.len() as u64 + number * 7919 % (accounts - senders.len() as u64));
            let order = Transaction {
                action: Action::Transfer(Transfer { to, amount: Tal(number) }),
                network: network.id(),
                sender: key.public(),
                nonce: Nonce(0),
                builds_on: None,
            };
            Arc::new(VerifiedTransaction::verify(&order.seal(key), &network.id()).unwrap())
        })
        .collect();
    let proposal = propose(state, Slot(1), authority().public(), &transfers);
    assert_eq!(proposal.transactions.len(), senders.len());
    let head = seal_document(&authority(), &proposal.header);
    let body = proposal.transactions.iter().map(|each| each.bytes().to_vec()).collect();
    SignedBlock::verify(Block { head, body }, network, Slot(1)).unwrap()
}

fn apply_times(network: &Arc<Network>) {
    println!(
        "\nblocks of transfers between distinct accounts: the rules alone, and with all signatures"
    );
    println!(
        "{:>9} {:>6} {:>11} {:>9} {:>9} {:>11} {:>9} {:>9}",
        "accounts", "block", "rules", "per s", "of 1,000", "whole", "per s", "of 1,000"
    );
    let senders: Vec<SecretKey> = (0..3000).map(sender).collect();
    let mut of_thousand = BTreeMap::new();
    for accounts in [1_000, 10_000, 100_000, 1_000_000_u64] {
        let most = (accounts / 2).min(3000) as usize;
        let state = state(network, accounts, &senders[..most]);
        for size in [1, 10, 100, 500, 3000_usize] {
            if size > most {
                continue;
            }
            let signed = block(network, &state, accounts, &senders[..size]);
            let verified = VerifiedBlock::verify(&signed, network).unwrap();
            let rules = timed(|| apply(&state, &verified).unwrap());
            let whole =
                timed(|| apply(&state, &VerifiedBlock::verify(&signed, network).unwrap()).unwrap());
            let first = *of_thousand.entry(size).or_insert((rules, whole));
            let rate = |time: Duration| size as f64 / time.as_secs_f64();
            let ratio = |time: Duration, first: Duration| time.as_secs_f64() / first.as_secs_f64();
            println!(
                "{accounts:>9} {size:>6} {rules:>11.1?} {:>9.0} {:>8.2}x {whole:>11.1?} {:>9.0} {:>8.2}x",
                rate(rules),
                ratio(rules, first.0),
                rate(whole),
                ratio(whole, first.1),
            );
        }
    }
}

fn signatures(network: &Arc<Network>) {
    let senders: Vec<SecretKey> = (0..512).map(sender).collect();
    let state = state(network, 2000, &senders);
    let signed = block(network, &state, 2000, &senders);
    let time = timed(|| VerifiedBlock::verify(&signed, network).unwrap());
    let rate = senders.len() as f64 / time.as_secs_f64();
    println!("\ntransactions verified (one signature each): {rate:.0}/s");
}

fn receipt(number: u64) -> Receipt {
    let run = RunId::of(&number.to_le_bytes());
    Receipt {
        at: UnixNanos(1_800_000_000_000_000_000 + number),
        host: authority().public(),
        function: FunctionId::of(b"function"),
        input: InputId::of(&number.to_le_bytes()),
        input_len: 512,
        peak_pages: Pages(17),
        network: NetworkId::DEVELOPMENT,
        output: OutputId::of(&number.to_le_bytes()),
        payment: Some(ReceiptPayment {
            sequence: Sequence(number),
            channel: ChannelId::new([7; 32]),
            owed: Tal(number * 1000),
            payer: sender(1).public(),
        }),
        run,
        bill: Tal(1000),
        fuel: Fuel(1_234_567),
        output_len: 2048,
        profile: ProfileId::of(b"profile"),
        host_fuel: Fuel(2400),
        price: Price { per_kib: Tal(3), per_call: Tal(100), rate: 1500 },
        outcome: Outcome::Ok,
    }
}

fn receipts() {
    println!("\nreceipts verified, paid ones of {} bytes", receipt(1 << 20).encode().len());
    println!("{:>8} {:>14} {:>16} {:>18}", "batch", "whole/s", "each proof/s", "sha256 of bytes/s");
    for count in [1, 64, 256, 1024, 4096_u64] {
        let payloads: Vec<Vec<u8>> =
            (0..count).map(|number| receipt(number + (1 << 20)).encode()).collect();
        let head = BatchHead {
            network: NetworkId::DEVELOPMENT,
            number: 9,
            at: UnixNanos(1_800_000_000_000_000_000),
        };
        let sealed = seal_batch(&authority(), head, &payloads).unwrap();
        let rate = |time: Duration| count as f64 / time.as_secs_f64();
        let whole = timed(|| verify_receipts(&payloads, sealed.sealed()).unwrap());
        let proofs: Vec<_> =
            (0..count).map(|at| sealed.proof(LeafIndex::new(at as u32)).unwrap()).collect();
        let mut pairs = payloads.iter().zip(&proofs).cycle();
        let each = timed(|| {
            let (payload, proof) = pairs.next().unwrap();
            verify_receipt(payload, proof).unwrap()
        });
        let each = 1.0 / each.as_secs_f64();
        let hash = timed(|| {
            for bytes in &payloads {
                black_box(Digest::of(bytes));
            }
        });
        println!("{count:>8} {:>14.0} {each:>16.0} {:>18.0}", rate(whole), rate(hash));
    }
}

fn main() {
    let network =
        Arc::new(Network::new(NetworkParams::development(&[], authority().public())).unwrap());
    receipts();
    signatures(&network);
    apply_times(&network);
}
