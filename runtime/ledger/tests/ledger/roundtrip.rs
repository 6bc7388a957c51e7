//! Any document that can be made encodes within its bound and decodes to itself.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use talea_ledger::bundle::BundledRun;
use talea_ledger::codec::{Blob, Decoder, Encoder, Field, Table};
use talea_ledger::merkle::{LEAVES_MAX, LeafCount, LeafIndex, PATH_LEN_MAX};
use talea_ledger::message::{Argument, FunctionName, HeaderName, HeaderValue, Status};
use talea_ledger::registration::{Kind, Limits};
use talea_ledger::sign::seal_document;
use talea_ledger::*;

/// Numbers of every length on the wire, not only large ones.
fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(|(bits, shift)| bits >> shift)
}

fn narrow() -> impl Strategy<Value = u32> {
    (any::<u32>(), 0..32_u32).prop_map(|(bits, shift)| bits >> shift)
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::new)
}

fn network() -> impl Strategy<Value = NetworkId> {
    any::<[u8; 32]>().prop_map(NetworkId::new)
}

fn channel() -> impl Strategy<Value = ChannelId> {
    any::<[u8; 32]>().prop_map(ChannelId::new)
}

fn secret() -> impl Strategy<Value = SecretKey> {
    any::<[u8; 32]>().prop_map(|bytes| SecretKey::from_bytes(&bytes))
}

fn key() -> impl Strategy<Value = PublicKey> {
    secret().prop_map(|key| key.public())
}

fn price() -> impl Strategy<Value = Price> {
    (number(), number(), number()).prop_map(|(per_kib, per_call, rate)| Price {
        per_kib: Tal(per_kib),
        per_call: Tal(per_call),
        rate,
    })
}

fn headers() -> impl Strategy<Value = Headers> {
    let header = ("[a-z][a-z0-9-]{0,20}", "([!-~]([ -~\t]{0,30}[!-~])?)?");
    vec(header, 0..8).prop_map(|list| {
        let headers = list
            .into_iter()
            .map(|(name, value)| {
                (HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap())
            })
            .collect();
        Headers::new(headers).unwrap()
    })
}

fn input() -> impl Strategy<Value = Input> {
    let args = vec("[^\0]{0,12}", 0..6);
    let texts = ("(/[!-\"$->@-~]{0,40})?", "[!-\"$-~]{0,40}", "[A-Z]{1,32}");
    (number(), args, digest(), option::of(any::<[u8; 16]>()), texts, headers()).prop_map(
        |(body_len, args, body, salt, (path, query, method), headers)| {
            let args: Vec<Argument> =
                args.into_iter().map(|arg| Argument::try_from(arg).unwrap()).collect();
            Input {
                body_len,
                args: args.try_into().unwrap(),
                body: BodyId::from_digest(body),
                path: path.parse().unwrap(),
                salt,
                query: query.parse().unwrap(),
                method: method.parse().unwrap(),
                headers,
            }
        },
    )
}

fn output() -> impl Strategy<Value = Output> {
    (number(), digest(), 200..600_u16, headers()).prop_map(|(body_len, body, status, headers)| {
        Output {
            body_len,
            body: BodyId::from_digest(body),
            status: Status::new(status).unwrap(),
            headers,
        }
    })
}

fn payment() -> impl Strategy<Value = Payment> {
    let numbers = (number(), number(), 0..=1_000_000_u32, number());
    (numbers, channel(), option::of(key())).prop_map(
        |((cap, expires, ppm, sequence), channel, host)| Payment {
            cap: Tal(cap),
            expires: UnixNanos(expires),
            royalty_ppm: Ppm::new(ppm).unwrap(),
            sequence: Sequence(sequence),
            channel,
            host,
        },
    )
}

fn run() -> impl Strategy<Value = Run> {
    let names = (digest(), digest(), digest(), network());
    let numbers = (number(), number(), number(), narrow(), number(), number());
    (names, numbers, any::<bool>(), any::<[u8; 32]>(), price(), option::of(payment())).prop_map(
        |((function, input, profile, network), numbers, cgi, seed, price, payment)| {
            let (clock, input_len, log_limit, memory, output_limit, fuel) = numbers;
            Run {
                function: FunctionId::from_digest(function),
                input: InputId::from_digest(input),
                cgi,
                clock: UnixNanos(clock),
                input_len,
                network,
                payment,
                profile: ProfileId::from_digest(profile),
                seed,
                price,
                log_limit,
                memory_limit: Pages(memory),
                output_limit,
                fuel_limit: Fuel(fuel),
            }
        },
    )
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Ok),
        narrow().prop_map(Outcome::exit),
        proptest::sample::select(TrapCode::ALL).prop_map(Outcome::Trap),
        Just(Outcome::OutOfFuel),
        proptest::sample::select(LimitKind::ALL).prop_map(Outcome::Limit),
    ]
}

fn receipt() -> impl Strategy<Value = Receipt> {
    let paid =
        (number(), channel(), number(), key()).prop_map(|(sequence, channel, owed, payer)| {
            ReceiptPayment { sequence: Sequence(sequence), channel, owed: Tal(owed), payer }
        });
    let names = (digest(), digest(), digest(), digest(), digest(), network());
    let numbers = (number(), number(), narrow(), number(), number(), number(), number());
    (names, numbers, key(), option::of(paid), price(), outcome()).prop_map(
        |(
            (function, input, output, run, profile, network),
            numbers,
            host,
            payment,
            price,
            outcome,
        )| {
            let (at, input_len, pages, bill, fuel, output_len, host_fuel) = numbers;
            Receipt {
                at: UnixNanos(at),
                host,
                function: FunctionId::from_digest(function),
                input: InputId::from_digest(input),
                input_len,
                peak_pages: Pages(pages),
                network,
                output: OutputId::from_digest(output),
                payment,
                run: RunId::from_digest(run),
                forwarded: None,
                bill: Tal(bill),
                fuel: Fuel(fuel),
                output_len,
                profile: ProfileId::from_digest(profile),
                host_fuel: Fuel(host_fuel),
                price,
                outcome,
            }
        },
    )
}

fn batch() -> impl Strategy<Value = Batch> {
    (number(), key(), network(), number(), digest(), 1..=LEAVES_MAX).prop_map(
        |(at, host, network, number, root, count)| Batch {
            at: UnixNanos(at),
            host,
            network,
            number,
            root,
            count: LeafCount::of(count as usize).unwrap(),
        },
    )
}

fn proof() -> impl Strategy<Value = Proof> {
    let path = vec(digest(), 0..=PATH_LEN_MAX);
    (0..LEAVES_MAX, path, batch(), secret()).prop_map(|(index, path, batch, secret)| Proof {
        path: path.try_into().unwrap(),
        batch: seal_document(&secret, &batch),
        index: LeafIndex::new(index),
    })
}

fn blob<const MAX: usize>() -> impl Strategy<Value = Option<Blob<MAX>>> {
    option::of(vec(any::<u8>(), 0..300).prop_map(|bytes| bytes.try_into().unwrap()))
}

fn bundle() -> impl Strategy<Value = Bundle> {
    let run = (run(), option::of(secret())).prop_map(|(run, key)| match key {
        Some(key) => BundledRun::Paid(seal_document(&key, &run)),
        None => BundledRun::Free(run.encode().try_into().unwrap()),
    });
    (blob(), blob(), blob(), run, proof(), blob(), blob(), receipt()).prop_map(
        |(function, input, output, run, proof, input_body, output_body, receipt)| Bundle {
            function,
            input,
            output,
            run,
            forward: None,
            proof,
            input_body,
            output_body,
            receipt: receipt.encode().try_into().unwrap(),
        },
    )
}

fn registration() -> impl Strategy<Value = Registration> {
    let name = option::of("[a-z0-9]{1,64}/[a-z0-9]{1,64}");
    let names = vec("[a-z-]{1,128}", 0..=64);
    let limits = (number(), narrow(), number(), number());
    let flags = (any::<bool>(), any::<bool>());
    (number(), digest(), flags, limits, network(), name, key(), names).prop_map(
        |(
            at,
            function,
            (cgi, is_command),
            (log, memory, output, fuel),
            network,
            name,
            owner,
            names,
        )| {
            let headers: Vec<HeaderName> =
                names.into_iter().map(|name| HeaderName::try_from(name).unwrap()).collect();
            Registration {
                at: UnixNanos(at),
                function: FunctionId::from_digest(function),
                cgi,
                limits: Limits { log, memory: Pages(memory), output, fuel: Fuel(fuel) },
                network,
                kind: if is_command { Kind::Command } else { Kind::Handler },
                name: name.map(|name| FunctionName::try_from(name).unwrap()),
                owner,
                headers: headers.try_into().unwrap(),
            }
        },
    )
}

fn request() -> impl Strategy<Value = Request> {
    (number(), network(), digest(), "/[!-\"$-~]{0,60}", "[A-Z]{1,10}").prop_map(
        |(at, network, body, path, method)| Request {
            at: UnixNanos(at),
            network,
            body: BodyId::from_digest(body),
            path_and_query: path.parse().unwrap(),
            method: method.parse().unwrap(),
        },
    )
}

fn check<T: Document + PartialEq + std::fmt::Debug>(document: &T) {
    let bytes = document.encode();
    assert!(bytes.len() <= <T as Document>::LEN_MAX);
    assert_eq!(T::decode(&bytes).as_ref(), Ok(document));
    if !T::DOMAIN.is_signed() {
        return;
    }
    assert!(document.network().is_some(), "what is signed names its network");
}

proptest! {
    #[test]
    fn inputs(document in input()) { check(&document); }

    #[test]
    fn outputs(document in output()) { check(&document); }

    #[test]
    fn runs(document in run()) { check(&document); }

    #[test]
    fn receipts(document in receipt()) { check(&document); }

    #[test]
    fn batches(document in batch()) { check(&document); }

    #[test]
    fn proofs(document in proof()) { check(&document); }

    #[test]
    fn bundles(document in bundle()) { check(&document); }

    #[test]
    fn registrations(document in registration()) { check(&document); }

    #[test]
    fn requests(document in request()) { check(&document); }

    #[test]
    fn envelopes(run in run(), key in secret()) {
        let sealed = seal_document(&key, &run);
        let bytes = sealed.encode();
        prop_assert!(bytes.len() <= <Sealed as Field>::LEN_MAX);
        prop_assert_eq!(Sealed::decode(&bytes).unwrap(), sealed.clone());
        let verified = sealed.verify::<Run>().unwrap();
        prop_assert_eq!(verified.document(), &run);
        prop_assert_eq!(verified.signer(), &key.public());
    }

    #[test]
    fn tables(entries in proptest::collection::btree_map("[ -~]{1,64}", number(), 0..200)) {
        let table = Table::of(entries.clone()).unwrap();
        let mut out = Encoder::with_capacity(0);
        table.put(&mut out);
        let bytes = out.finish();
        prop_assert!(bytes.len() <= Table::LEN_MAX);
        let mut input = Decoder::new(&bytes);
        prop_assert_eq!(&Table::take(&mut input).unwrap(), &table);
        input.end().unwrap();
        for (key, value) in &entries {
            prop_assert_eq!(table.get(key), Some(*value));
        }
    }

    #[test]
    fn outcomes_have_one_text(outcome in outcome()) {
        prop_assert_eq!(outcome.code_text().parse(), Ok(outcome));
        let (class, code) = outcome.numbers();
        prop_assert_eq!(Outcome::from_numbers(class, code), Some(outcome));
    }

    #[test]
    fn garbage_is_an_error(bytes in vec(any::<u8>(), 0..600)) {
        prop_assert!(Receipt::decode(&bytes).is_err());
        prop_assert!(Bundle::decode(&bytes).is_err());
        prop_assert!(Sealed::decode(&bytes).is_err());
    }
}

#[test]
fn the_longest_documents_reach_their_bound() {
    // The bounds are not only upper: a receipt whose every number is at its longest has exactly that length.
    let mut receipt = crate::samples::receipt_paid();
    receipt.at = UnixNanos::MAX;
    (receipt.input_len, receipt.output_len) = (u64::MAX, u64::MAX);
    receipt.peak_pages = Pages::MAX;
    (receipt.bill, receipt.fuel, receipt.host_fuel) = (Tal::MAX, Fuel::MAX, Fuel::MAX);
    receipt.price = Price { per_kib: Tal::MAX, per_call: Tal::MAX, rate: u64::MAX };
    receipt.outcome = Outcome::exit(u32::MAX);
    let payment = receipt.payment.as_mut().unwrap();
    (payment.sequence, payment.owed) = (Sequence::MAX, Tal::MAX);
    receipt.forwarded = crate::forward::receipt().forwarded;
    assert_eq!(receipt.encode().len(), <Receipt as Document>::LEN_MAX);
}

#[test]
fn tables_are_strict() {
    let table = |bytes: &[u8]| Table::take(&mut Decoder::new(bytes)).is_ok();
    assert!(table(&[0xa2, 0x61, b'b', 1, 0x62, b'a', b'a', 2]));
    assert!(!table(&[0xa2, 0x62, b'a', b'a', 2, 0x61, b'b', 1]), "shorter keys come first");
    assert!(!table(&[0xa2, 0x61, b'b', 1, 0x61, b'b', 1]), "a key twice");
    assert!(!table(&[0xa1, 0x60, 1]), "an empty key");
    assert!(Table::of([("a", 1), ("a", 2)]).is_err());
    assert!(Table::of([("", 1)]).is_err());
    assert!(Table::of((0..1025).map(|key| (key.to_string(), 1))).is_err());
}
