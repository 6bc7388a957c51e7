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

/// Runs of each measurement; the best is told.
const ROUNDS: usize = 15;
const BALANCE: u64 = 1 << 40;

fn best(mut measure: impl FnMut() -> Duration) -> Duration {
    (0..ROUNDS).map(|_| measure()).min().unwrap_or_default()
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    black_box(work());
    start.elapsed()
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
    println!("\nblock apply, transfers between distinct accounts (signatures behind)");
    println!("{:>10} {:>8} {:>12} {:>14}", "accounts", "block", "apply", "transactions/s");
    let senders: Vec<SecretKey> = (0..3000).map(sender).collect();
    let mut reference = Duration::ZERO;
    for accounts in [1_000, 10_000, 100_000, 1_000_000_u64] {
        let most = (accounts / 2).min(3000) as usize;
        let state = state(network, accounts, &senders[..most]);
        for size in [1, 10, 100, 500, 1000, 3000_usize] {
            if size > most {
                continue;
            }
            let signed = block(network, &state, accounts, &senders[..size]);
            let verified = VerifiedBlock::verify(&signed, network).unwrap();
            let time = best(|| timed(|| apply(&state, &verified).unwrap()));
            let rate = size as f64 / time.as_secs_f64();
            let mut note = String::new();
            if size == 500 && accounts == 1_000 {
                reference = time;
            } else if size == 500 {
                note = format!("  {:.2}x of 1,000", time.as_secs_f64() / reference.as_secs_f64());
            }
            println!("{accounts:>10} {size:>8} {time:>12.1?} {rate:>14.0}{note}");
        }
    }
}

fn signatures(network: &Arc<Network>) {
    let senders: Vec<SecretKey> = (0..512).map(sender).collect();
    let state = state(network, 2000, &senders);
    let signed = block(network, &state, 2000, &senders);
    let time = best(|| timed(|| VerifiedBlock::verify(&signed, network).unwrap()));
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
        forwarded: None,
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
        let repeats = (4096 / count).max(1);
        let rate = |time: Duration| (count * repeats) as f64 / time.as_secs_f64();
        let whole = best(|| {
            timed(|| {
                for _ in 0..repeats {
                    black_box(verify_receipts(&payloads, sealed.sealed()).unwrap());
                }
            })
        });
        let proofs: Vec<_> =
            (0..count).map(|at| sealed.proof(LeafIndex::new(at as u32)).unwrap()).collect();
        let each = best(|| {
            timed(|| {
                for (payload, proof) in payloads.iter().zip(&proofs).take(64) {
                    black_box(verify_receipt(payload, proof).unwrap());
                }
            })
        });
        let each = count.min(64) as f64 / each.as_secs_f64();
        let hash = best(|| {
            timed(|| {
                for _ in 0..repeats {
                    for payload in &payloads {
                        black_box(Digest::of(payload));
                    }
                }
            })
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
