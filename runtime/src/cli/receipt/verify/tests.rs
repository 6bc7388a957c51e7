//! Receipts made here, honestly and not, and what an offline check says of them.

use bytes::Bytes;
use talea_ledger::batch::{BatchHead, seal_batch};
use talea_ledger::bundle::BundledRun;
use talea_ledger::merkle::LeafIndex;
use talea_ledger::message::Headers;
use talea_ledger::price::bill;
use talea_ledger::sign::seal_document;
use talea_ledger::*;

use super::State;
use super::*;
use crate::cli::screen::{Colour, Format, Screen};
use crate::cli::surroundings::Surroundings;

/// Reads its body and answers with it: both lengths and every byte matter to the bill.
const ECHO: &str = r#"(module
  (import "talea" "input_len" (func $len (param i32) (result i32)))
  (import "talea" "input_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "talea" "output_write" (func $write (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "talea_handle") (result i32)
    (local $n i32)
    (local.set $n (call $len (i32.const 0)))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 0) (local.get $n)))
    (drop (call $write (i32.const 0) (local.get $n)))
    (i32.const 0)))"#;

const BODY: &[u8] = b"a tally stick";
const PRICE: Price = Price { per_call: Tal(10), rate: 1_000_000, per_kib: Tal(3) };

/// One paid call and all its papers, before anybody has lied.
struct Call {
    host: SecretKey,
    wasm: Vec<u8>,
    run: Run,
    sealed_run: Sealed,
    input: Input,
    output: Output,
    output_body: Bytes,
    receipt: Receipt,
}

impl Call {
    fn made() -> Self {
        let (host, payer) = (SecretKey::from_bytes(&[1; 32]), SecretKey::from_bytes(&[2; 32]));
        let wasm = wat::parse_str(ECHO).unwrap();
        let network = NetworkId::DEVELOPMENT;
        let input = Input {
            body_len: BODY.len() as u64,
            args: Default::default(),
            body: BodyId::of(BODY),
            path: "/".try_into().unwrap(),
            salt: None,
            query: "".try_into().unwrap(),
            method: "POST".try_into().unwrap(),
            headers: Headers::none(),
        };
        let channel = ChannelId::local(&payer.public(), &host.public(), &network);
        let payment = Payment {
            cap: Tal(1_000_000_000),
            expires: UnixNanos::MAX,
            royalty_ppm: Ppm::ZERO,
            sequence: Sequence(1),
            channel,
            host: Some(host.public()),
        };
        let run = Run {
            function: FunctionId::of(&wasm),
            input: input.id(),
            cgi: false,
            clock: UnixNanos(1),
            input_len: input.body_len,
            network,
            payment: Some(payment),
            profile: talea_ledger::profile::Profile::v1().id(),
            seed: [7; 32],
            price: PRICE,
            log_limit: 1024,
            memory_limit: Pages(16),
            output_limit: 1 << 20,
            fuel_limit: Fuel(10_000_000),
        };
        let sealed_run = seal_document(&payer, &run);
        let done = rerun(&wasm, &run, &input, Bytes::from_static(BODY)).unwrap();
        assert_eq!(done.output_body, BODY, "the guest echoes");
        let due = bill(&PRICE, done.fuel, input.body_len + done.output.body_len, run.cap());
        let receipt = Receipt {
            at: UnixNanos(2),
            host: host.public(),
            function: run.function,
            input: run.input,
            input_len: run.input_len,
            peak_pages: done.peak_pages,
            network,
            output: done.output.id(),
            payment: Some(ReceiptPayment {
                sequence: Sequence(1),
                channel,
                owed: due,
                payer: payer.public(),
            }),
            run: run.id(),
            forwarded: None,
            bill: due,
            fuel: done.fuel,
            output_len: done.output.body_len,
            profile: run.profile,
            host_fuel: done.host_fuel,
            price: PRICE,
            outcome: done.outcome,
        };
        let (output, output_body) = (done.output, done.output_body);
        Self { host, wasm, run, sealed_run, input, output, output_body, receipt }
    }

    /// The papers, with whatever the receipt now says sealed by the host.
    fn bundle(&self) -> Bundle {
        let payload = self.receipt.encode();
        let head = BatchHead { network: self.run.network, number: 1, at: UnixNanos(3) };
        let batch = seal_batch(&self.host, head, &[&payload]).unwrap();
        Bundle {
            function: Some(self.wasm.clone().try_into().unwrap()),
            input: Some(self.input.encode().try_into().unwrap()),
            output: Some(self.output.encode().try_into().unwrap()),
            run: BundledRun::Paid(self.sealed_run.clone()),
            forward: None,
            proof: batch.proof(LeafIndex::new(0)).unwrap(),
            input_body: Some(BODY.to_vec().try_into().unwrap()),
            output_body: Some(self.output_body.to_vec().try_into().unwrap()),
            receipt: payload.try_into().unwrap(),
        }
    }

    /// What the price makes of the receipt's fuel and lengths: a liar keeps the sums right.
    fn bill_anew(&mut self) {
        let due = bill(&PRICE, self.receipt.fuel, self.receipt.body_bytes(), self.run.cap());
        self.receipt.bill = due;
        self.receipt.payment.as_mut().unwrap().owed = due;
    }
}

fn judged(bundle: &Bundle, wants_rerun: bool) -> (Exit, Option<String>) {
    let report = report(bundle, wants_rerun);
    (report.exit(), report.verdict.as_ref().map(ToString::to_string))
}

fn report(bundle: &Bundle, wants_rerun: bool) -> Report {
    let around = Surroundings::default();
    let context =
        Context { screen: Screen::new(Format::Text, Colour::Never, true, &around), around };
    // Through bytes, as a file is.
    let bundle = Bundle::decode(&bundle.encode()).unwrap();
    judge(&bundle, wants_rerun, None, &context)
}

#[test]
fn an_honest_receipt_holds_and_matches() {
    let bundle = Call::made().bundle();
    assert_eq!(judged(&bundle, false), (Exit::Ok, None));
    assert_eq!(judged(&bundle, true), (Exit::Ok, Some("match".into())));
}

#[test]
fn a_host_that_signs_a_lie_is_found_by_the_rerun_alone() {
    let mut fuel = Call::made();
    fuel.receipt.fuel = Fuel(fuel.receipt.fuel.0 + 1);
    fuel.bill_anew();
    assert_eq!(
        judged(&fuel.bundle(), false),
        (Exit::Ok, None),
        "signature, links and price are right"
    );
    assert_eq!(judged(&fuel.bundle(), true), (Exit::Mismatch, Some("mismatch(fuel)".into())));

    let mut output = Call::made();
    let mut body = output.output_body.to_vec();
    body[0] ^= 1;
    output.output.body = BodyId::of(&body);
    output.output_body = body.into();
    output.receipt.output = output.output.id();
    assert_eq!(judged(&output.bundle(), false), (Exit::Ok, None));
    assert_eq!(judged(&output.bundle(), true), (Exit::Mismatch, Some("mismatch(output)".into())));
}

#[test]
fn a_receipt_that_contradicts_its_run_or_price_is_false_without_a_rerun() {
    let mut bill = Call::made();
    bill.receipt.bill = Tal(bill.receipt.bill.0 + 1);
    assert_eq!(judged(&bill.bundle(), false), (Exit::Mismatch, Some("mismatch(bill)".into())));

    let mut price = Call::made();
    price.receipt.price.rate += 1;
    assert_eq!(judged(&price.bundle(), false), (Exit::Mismatch, Some("mismatch(price)".into())));
}

#[test]
fn papers_that_were_exchanged_are_false() {
    let honest = Call::made();
    let mut body = honest.bundle();
    body.output_body = Some(b"another answer".to_vec().try_into().unwrap());
    assert_eq!(judged(&body, true).0, Exit::Mismatch);
    let mut function = honest.bundle();
    function.function = Some(b"another module".to_vec().try_into().unwrap());
    assert_eq!(judged(&function, true).0, Exit::Mismatch);
    let mut receipt = honest.bundle();
    receipt.receipt = {
        let mut changed = honest.receipt.clone();
        changed.fuel = Fuel(changed.fuel.0 + 1);
        changed.encode().try_into().unwrap()
    };
    assert_eq!(
        judged(&receipt, true).0,
        Exit::Mismatch,
        "the old proof does not lead to a new receipt"
    );
}

#[test]
fn what_is_not_among_the_papers_cannot_be_decided() {
    let honest = Call::made();
    let mut function = honest.bundle();
    function.function = None;
    assert_eq!(judged(&function, false), (Exit::Ok, None));
    assert_eq!(
        judged(&function, true),
        (Exit::Indeterminate, Some("indeterminate(function_missing)".into()))
    );
    let mut body = honest.bundle();
    body.input_body = None;
    assert_eq!(
        judged(&body, true),
        (Exit::Indeterminate, Some("indeterminate(input_missing)".into()))
    );
}

/// The golden bundle of a forwarded run: three candidates, their offers, the block's header.
fn forwarded() -> Bundle {
    let text = include_str!("../../../../../tests/conformance/documents/bundle-forwarded.hex");
    let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    let bytes: Vec<u8> =
        digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect();
    Bundle::decode(&bytes).unwrap()
}

/// What is said of the forward.
fn of_forward(bundle: &Bundle) -> (State, String) {
    let report = report(bundle, false);
    let part = report.parts.into_iter().find(|part| part.name == "forward").unwrap();
    (part.state, part.says)
}

#[test]
fn the_draw_of_a_forwarded_run_is_checked() {
    let bundle = forwarded();
    let (state, says) = of_forward(&bundle);
    assert_eq!(state, State::Holds, "{says}");
    assert!(says.contains("drawn from 3 with block 88 whose header is here; 3 of"), "{says}");
    let bare = Bundle { forward: None, ..bundle.clone() };
    let (state, says) = of_forward(&bare);
    assert_eq!(state, State::Absent, "{says}");
    assert_eq!(judged(&bare, false).0, Exit::Ok, "what is not there is not held against it");
    // The gateway signs another draw than the one its receipt names.
    let mut forward = *bundle.forward.clone().unwrap();
    let mut draw = Draw::decode(forward.draw.payload()).unwrap();
    draw.drawn = (draw.drawn + 1) % 3;
    forward.draw = seal_document(&SecretKey::from_bytes(&[2; 32]), &draw);
    let other = Bundle { forward: Some(Box::new(forward)), ..bundle };
    let (state, says) = of_forward(&other);
    assert_eq!(state, State::False, "{says}");
    assert_eq!(judged(&other, false).0, Exit::Mismatch);
}

#[test]
fn differences_are_told_in_plain_values() {
    for (debug, value) in [
        ("Fuel(7)", "7"),
        ("true", "true"),
        ("Trap(Unreachable)", "Unreachable"),
        ("A(B(1))", "A(B(1))"),
    ] {
        assert_eq!(value_of(debug), value);
    }
}
