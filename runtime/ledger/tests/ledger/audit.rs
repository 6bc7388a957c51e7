//! Every field of a receipt that is wrong is noticed: by the comparison, by name, or by the signature.

use talea_ledger::audit::{Field, Floats, Reason, Verdict, against_run, compare};
use talea_ledger::batch::verify_receipt;
use talea_ledger::bundle::{BundleError, BundledRun};
use talea_ledger::sign::seal_document;
use talea_ledger::*;

use crate::samples;

/// One change to every field, and the field that the audit names. `None`: no re-execution determines it.
type Change = (&'static str, Option<Field>, fn(&mut Receipt));

const CHANGES: &[Change] = &[
    ("at", None, |receipt| receipt.at.0 += 1),
    ("by", Some(Field::Host), |receipt| receipt.host = samples::owner().public()),
    ("fn", Some(Field::Function), |receipt| receipt.function = FunctionId::of(b"other")),
    ("in", Some(Field::Input), |receipt| receipt.input = InputId::of(b"other")),
    ("inn", Some(Field::InputLen), |receipt| receipt.input_len += 1),
    ("mem", Some(Field::PeakPages), |receipt| receipt.peak_pages.0 += 1),
    ("net", Some(Field::Network), |receipt| receipt.network = NetworkId::new([1; 32])),
    ("out", Some(Field::Output), |receipt| receipt.output = OutputId::of(b"other")),
    ("pay", Some(Field::Payment), |receipt| receipt.payment = None),
    ("run", Some(Field::Run), |receipt| receipt.run = RunId::of(b"other")),
    ("bill", Some(Field::Bill), |receipt| receipt.bill.0 += 1),
    ("fuel", Some(Field::Fuel), |receipt| receipt.fuel.0 += 1),
    ("outn", Some(Field::OutputLen), |receipt| receipt.output_len += 1),
    ("prof", Some(Field::Profile), |receipt| receipt.profile = ProfileId::of(b"other")),
    ("hfuel", Some(Field::HostFuel), |receipt| receipt.host_fuel.0 += 1),
    ("price/kib", Some(Field::Price), |receipt| receipt.price.per_kib.0 += 1),
    ("price/call", Some(Field::Price), |receipt| receipt.price.per_call.0 += 1),
    ("price/rate", Some(Field::Price), |receipt| receipt.price.rate += 1),
    ("outcome", Some(Field::Outcome), |receipt| receipt.outcome = Outcome::exit(1)),
    ("pay/seq", Some(Field::Sequence), |receipt| payment(receipt).sequence.0 += 1),
    ("pay/chan", Some(Field::Channel), |receipt| {
        payment(receipt).channel = ChannelId::new([1; 32])
    }),
    ("pay/owed", None, |receipt| payment(receipt).owed.0 += 1),
    ("pay/owed", Some(Field::Owed), |receipt| payment(receipt).owed.0 = receipt_bill() - 1),
    ("pay/payer", None, |receipt| payment(receipt).payer = samples::owner().public()),
];

fn payment(receipt: &mut Receipt) -> &mut ReceiptPayment {
    receipt.payment.as_mut().unwrap()
}

fn receipt_bill() -> u64 {
    samples::receipt_paid().bill.0
}

#[test]
fn every_key_of_a_receipt_has_a_change() {
    let tree = crate::tree::parse(&samples::receipt_paid().encode());
    let leaves = crate::tree::places(&tree);
    let mut names: Vec<String> = leaves
        .iter()
        .map(|place| crate::tree::name(&tree, place))
        .filter(|name| !name.is_empty())
        .collect();
    names.retain(|name| !name.starts_with("/outcome/"));
    for name in names {
        let is_covered = CHANGES.iter().any(|(key, ..)| name == format!("/{key}"))
            // `price` is covered by its three parts.
            || name == "/price";
        assert!(is_covered, "{name} has no change in the table");
    }
}

#[test]
fn every_changed_field_is_named_and_breaks_name_and_proof() {
    let (right, run, facts) = (samples::receipt_paid(), samples::run_paid(), samples::facts());
    assert_eq!(compare(&right, &run, &facts), Verdict::Match);
    let proof = samples::proof(0);
    assert!(verify_receipt(&right.encode(), &proof).is_ok());
    for (key, field, change) in CHANGES {
        let mut wrong = right.clone();
        change(&mut wrong);
        assert_ne!(wrong.id(), right.id(), "{key}");
        assert!(verify_receipt(&wrong.encode(), &proof).is_err(), "{key}");
        let found = match compare(&wrong, &run, &facts) {
            Verdict::Match => None,
            Verdict::Mismatch(difference) => Some(difference.field),
            Verdict::Indeterminate(reason) => panic!("{key}: {reason:?}"),
        };
        assert_eq!(found, *field, "{key}");
    }
}

#[test]
fn every_changed_fact_is_named() {
    let (receipt, run, facts) = (samples::receipt_paid(), samples::run_paid(), samples::facts());
    let wrong = [
        (Field::Outcome, Facts { outcome: Outcome::OutOfFuel, ..facts }),
        (Field::Fuel, Facts { fuel: Fuel(facts.fuel.0 - 1), ..facts }),
        (Field::HostFuel, Facts { host_fuel: Fuel(0), ..facts }),
        (Field::PeakPages, Facts { peak_pages: Pages(18), ..facts }),
        (Field::Output, Facts { output: OutputId::of(b""), ..facts }),
        (Field::OutputLen, Facts { output_len: 0, ..facts }),
    ];
    for (field, facts) in wrong {
        let Verdict::Mismatch(difference) = compare(&receipt, &run, &facts) else {
            panic!("{field} was not noticed");
        };
        assert_eq!(difference.field, field);
        // Under another engine and with floats the same difference proves nothing.
        let foreign = Facts { floats: Floats::EngineDefined, ..facts };
        let verdict = compare(&receipt, &run, &foreign);
        assert_eq!(verdict, Verdict::Indeterminate(Reason::Floats));
    }
    let foreign = Facts { floats: Floats::EngineDefined, ..facts };
    assert_eq!(compare(&receipt, &run, &foreign), Verdict::Match);
}

#[test]
fn a_wrong_bill_needs_no_engine() {
    let (mut receipt, run) = (samples::receipt_paid(), samples::run_paid());
    assert_eq!(against_run(&receipt, &run), None);
    receipt.bill.0 -= 1;
    let foreign = Facts { floats: Floats::EngineDefined, ..samples::facts() };
    let verdict = compare(&receipt, &run, &foreign);
    assert_eq!(verdict.to_string(), "mismatch(bill)");
    // A free run is never billed.
    let mut free = samples::receipt_free();
    assert_eq!(free.bill, Tal::ZERO);
    free.bill = Tal(1);
    assert_eq!(against_run(&free, &samples::run_free()).unwrap().field, Field::Bill);
}

#[test]
fn verdicts_have_stable_texts() {
    let (receipt, run, facts) = (samples::receipt_paid(), samples::run_paid(), samples::facts());
    let less = Facts { fuel: Fuel(1), ..facts };
    let foreign = Facts { floats: Floats::EngineDefined, ..less };
    let texts = [facts, less, foreign].map(|facts| compare(&receipt, &run, &facts).to_string());
    assert_eq!(texts, ["match", "mismatch(fuel)", "indeterminate(floats)"]);
}

// === bundles ===

#[test]
fn a_bundle_agrees_with_itself() {
    let checked = samples::bundle().check().unwrap();
    assert_eq!(checked.receipt().document(), &samples::receipt_paid());
    assert_eq!(checked.run(), &samples::run_paid());
    assert_eq!(checked.input(), Some(&samples::input()));
    assert_eq!(checked.output(), Some(&samples::output()));
    let checked = samples::bundle_least().check().unwrap();
    assert_eq!(checked.run(), &samples::run_free());
    assert!(checked.input().is_none() && checked.output().is_none());
}

#[test]
fn every_exchanged_part_of_a_bundle_is_noticed() {
    type Exchange = fn(&mut Bundle);
    let exchanges: &[(&str, Exchange)] = &[
        ("function", |bundle| bundle.function = Some(b"\0asm"[..].try_into().unwrap())),
        ("input", |bundle| {
            bundle.input = Some(samples::input_least().encode().try_into().unwrap());
        }),
        ("input body", |bundle| bundle.input_body = Some(b"# title\n"[..].try_into().unwrap())),
        ("input body alone", |bundle| bundle.input = None),
        ("output", |bundle| bundle.output = Some(Output::empty().encode().try_into().unwrap())),
        ("output body", |bundle| bundle.output_body = Some(b""[..].try_into().unwrap())),
        ("output body alone", |bundle| bundle.output = None),
        ("proof of another", |bundle| bundle.proof = samples::proof(1)),
        ("receipt of another", |bundle| {
            bundle.receipt = samples::receipt_free().encode().try_into().unwrap();
        }),
        ("another run", |bundle| {
            let mut run = samples::run_paid();
            run.fuel_limit.0 += 1;
            bundle.run = BundledRun::Paid(seal_document(&samples::payer(), &run));
        }),
        ("run of another payer", |bundle| {
            bundle.run = BundledRun::Paid(seal_document(&samples::owner(), &samples::run_paid()));
        }),
        ("paid run without its signature", |bundle| {
            bundle.run = BundledRun::Free(samples::run_paid().encode().try_into().unwrap());
        }),
        ("free run with a signature", |bundle| {
            bundle.run = BundledRun::Paid(seal_document(&samples::payer(), &samples::run_free()));
        }),
        ("malformed run", |bundle| bundle.run = BundledRun::Free(b"x"[..].try_into().unwrap())),
    ];
    for (what, exchange) in exchanges {
        let mut bundle = samples::bundle();
        exchange(&mut bundle);
        assert!(bundle.check().is_err(), "{what} was not noticed");
    }
}

#[test]
fn any_changed_byte_of_a_bundle_is_noticed() {
    let bytes = samples::bundle().encode();
    for at in 0..bytes.len() {
        for bit in [0, 3, 7] {
            let mut other = bytes.clone();
            other[at] ^= 1 << bit;
            let holds = Bundle::decode(&other).is_ok_and(|bundle| bundle.check().is_ok());
            assert!(!holds, "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn a_signed_receipt_with_a_wrong_bill_is_told_from_a_forged_one() {
    use talea_ledger::batch::{BatchHead, seal_batch};
    use talea_ledger::merkle::LeafIndex;
    let mut receipt = samples::receipt_paid();
    receipt.bill.0 += 1;
    let payload = receipt.encode();
    let head = BatchHead { network: NetworkId::DEVELOPMENT, number: 1, at: UnixNanos(1) };
    let sealed = seal_batch(&samples::host(), head, &[&payload]).unwrap();
    let bundle = Bundle {
        receipt: payload.try_into().unwrap(),
        proof: sealed.proof(LeafIndex::new(0)).unwrap(),
        ..samples::bundle()
    };
    let error = bundle.check().unwrap_err();
    assert!(matches!(error, BundleError::Differs { field: Field::Bill, .. }), "{error}");
}
