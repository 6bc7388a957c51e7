//! One full and one least document of every type, made from fixed keys.

use talea_ledger::batch::{BatchHead, SealedBatch, seal_batch};
use talea_ledger::bundle::BundledRun;
use talea_ledger::merkle::LeafIndex;
use talea_ledger::message::{FunctionName, HeaderName, Status, arguments};
use talea_ledger::registration::{Kind, Limits};
use talea_ledger::sign::seal_document;
use talea_ledger::*;

pub(crate) const CODE: &[u8] = b"\0asm\x01\0\0\0";
pub(crate) const INPUT_BODY: &[u8] = b"# Title\n";
pub(crate) const OUTPUT_BODY: &[u8] = b"<h1>Title</h1>\n";

pub(crate) fn payer() -> SecretKey {
    SecretKey::from_bytes(&[1; 32])
}

pub(crate) fn host() -> SecretKey {
    SecretKey::from_bytes(&[2; 32])
}

pub(crate) fn owner() -> SecretKey {
    SecretKey::from_bytes(&[3; 32])
}

pub(crate) fn channel() -> ChannelId {
    ChannelId::local(&payer().public(), &host().public(), &NetworkId::DEVELOPMENT)
}

pub(crate) fn input() -> Input {
    Input {
        body_len: INPUT_BODY.len() as u64,
        args: arguments(["--flavour", "gr\u{fc}n"]).unwrap(),
        body: BodyId::of(INPUT_BODY),
        path: "/pages/1".parse().unwrap(),
        salt: Some([0x5a; 16]),
        query: "a=1&b=%20".parse().unwrap(),
        method: "POST".parse().unwrap(),
        headers: Headers::of([("Content-Type", "text/markdown"), ("accept", "*/*")]).unwrap(),
    }
}

pub(crate) fn input_least() -> Input {
    Input {
        body_len: 0,
        args: arguments([]).unwrap(),
        body: BodyId::of(b""),
        path: "".parse().unwrap(),
        salt: None,
        query: "".parse().unwrap(),
        method: "GET".parse().unwrap(),
        headers: Headers::none(),
    }
}

pub(crate) fn output() -> Output {
    Output {
        body_len: OUTPUT_BODY.len() as u64,
        body: BodyId::of(OUTPUT_BODY),
        status: Status::new(201).unwrap(),
        headers: Headers::of([("content-type", "text/html")]).unwrap(),
    }
}

pub(crate) fn profile() -> ProfileId {
    ProfileId::of(b"a profile")
}

pub(crate) fn price() -> Price {
    Price { per_kib: Tal(3), per_call: Tal(100), rate: 1_500 }
}

pub(crate) fn run_free() -> Run {
    Run {
        function: FunctionId::of(CODE),
        input: input().id(),
        cgi: false,
        clock: UnixNanos(1_700_000_000_000_000_000),
        input_len: INPUT_BODY.len() as u64,
        network: NetworkId::DEVELOPMENT,
        payment: None,
        profile: profile(),
        seed: [7; 32],
        price: price(),
        log_limit: 65_536,
        memory_limit: Pages(256),
        output_limit: 1 << 20,
        fuel_limit: Fuel(1_000_000_000),
    }
}

pub(crate) fn run_paid() -> Run {
    Run {
        cgi: true,
        payment: Some(Payment {
            cap: Tal(50_000),
            expires: UnixNanos(1_700_000_060_000_000_000),
            royalty_ppm: Ppm::new(25_000).unwrap(),
            sequence: Sequence(41),
            channel: channel(),
            host: Some(host().public()),
        }),
        ..run_free()
    }
}

pub(crate) fn facts() -> Facts {
    Facts {
        outcome: Outcome::Ok,
        fuel: Fuel(12_345_678),
        host_fuel: Fuel(2_400),
        peak_pages: Pages(17),
        output: output().id(),
        output_len: OUTPUT_BODY.len() as u64,
        floats: audit::Floats::Determined,
    }
}

fn receipt_of(run: &Run) -> Receipt {
    let facts = facts();
    let body_bytes = run.input_len + facts.output_len;
    Receipt {
        at: UnixNanos(1_700_000_000_123_456_789),
        host: host().public(),
        function: run.function,
        input: run.input,
        input_len: run.input_len,
        peak_pages: facts.peak_pages,
        network: run.network,
        output: facts.output,
        payment: run.payment.as_ref().map(|payment| ReceiptPayment {
            sequence: payment.sequence,
            channel: payment.channel,
            owed: Tal(1_000_000),
            payer: payer().public(),
        }),
        run: run.id(),
        forwarded: None,
        bill: talea_ledger::price::bill(&run.price, facts.fuel, body_bytes, run.cap()),
        fuel: facts.fuel,
        output_len: facts.output_len,
        profile: run.profile,
        host_fuel: facts.host_fuel,
        price: run.price,
        outcome: facts.outcome,
    }
}

pub(crate) fn receipt_paid() -> Receipt {
    receipt_of(&run_paid())
}

pub(crate) fn receipt_free() -> Receipt {
    receipt_of(&run_free())
}

/// Three receipts in one batch: the paid one, the free one, and one that trapped.
pub(crate) fn payloads() -> Vec<Vec<u8>> {
    let trapped = Receipt {
        outcome: Outcome::Trap(TrapCode::IntegerDivideByZero),
        output: Output::empty().id(),
        output_len: 0,
        ..receipt_free()
    };
    vec![receipt_paid().encode(), receipt_free().encode(), trapped.encode()]
}

pub(crate) fn sealed_batch() -> SealedBatch {
    let head = BatchHead {
        network: NetworkId::DEVELOPMENT,
        number: 9,
        at: UnixNanos(1_700_000_000_200_000_000),
    };
    seal_batch(&host(), head, &payloads()).unwrap()
}

pub(crate) fn batch() -> Batch {
    sealed_batch().batch().clone()
}

pub(crate) fn proof(index: u32) -> Proof {
    sealed_batch().proof(LeafIndex::new(index)).unwrap()
}

pub(crate) fn sealed_run() -> Sealed {
    seal_document(&payer(), &run_paid())
}

pub(crate) fn bundle() -> Bundle {
    Bundle {
        function: Some(CODE.try_into().unwrap()),
        input: Some(input().encode().try_into().unwrap()),
        output: Some(output().encode().try_into().unwrap()),
        run: BundledRun::Paid(sealed_run()),
        forward: None,
        proof: proof(0),
        input_body: Some(INPUT_BODY.try_into().unwrap()),
        output_body: Some(OUTPUT_BODY.try_into().unwrap()),
        receipt: receipt_paid().encode().try_into().unwrap(),
    }
}

pub(crate) fn bundle_least() -> Bundle {
    Bundle {
        function: None,
        input: None,
        output: None,
        run: BundledRun::Free(run_free().encode().try_into().unwrap()),
        forward: None,
        proof: proof(1),
        input_body: None,
        output_body: None,
        receipt: receipt_free().encode().try_into().unwrap(),
    }
}

pub(crate) fn registration() -> Registration {
    let headers: Vec<HeaderName> = ["content-type", "accept", "accept-language"]
        .into_iter()
        .map(|name| HeaderName::try_from(name).unwrap())
        .collect();
    Registration {
        at: UnixNanos(1_690_000_000_000_000_000),
        function: FunctionId::of(CODE),
        cgi: true,
        limits: Limits { log: 4096, memory: Pages(64), output: 1 << 16, fuel: Fuel(5_000_000) },
        network: NetworkId::DEVELOPMENT,
        kind: Kind::Command,
        name: Some(FunctionName::try_from("demo/markdown").unwrap()),
        owner: owner().public(),
        headers: headers.try_into().unwrap(),
    }
}

pub(crate) fn registration_least() -> Registration {
    Registration {
        cgi: false,
        kind: Kind::Handler,
        name: None,
        headers: Vec::new().try_into().unwrap(),
        ..registration()
    }
}

pub(crate) fn request() -> Request {
    Request {
        at: UnixNanos(1_700_000_001_000_000_000),
        network: NetworkId::DEVELOPMENT,
        body: BodyId::of(b""),
        path_and_query: "/functions/x/logs?after=3".parse().unwrap(),
        method: "GET".parse().unwrap(),
    }
}

/// A document by name: its bytes, and its decoder followed by its encoder.
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) media_type: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) recode: fn(&[u8]) -> Result<Vec<u8>, DecodeError>,
}

pub(crate) fn sample<T: Document>(name: &'static str, document: &T) -> Sample {
    Sample {
        name,
        media_type: T::DOMAIN.media_type(),
        bytes: document.encode(),
        recode: |bytes| T::decode(bytes).map(|document| document.encode()),
    }
}

/// All of them.
pub(crate) fn all() -> Vec<Sample> {
    let mut all = calls();
    all.extend(crate::chain::all());
    all.extend(crate::votes::all());
    all.extend(crate::forward::all());
    all
}

/// Those of one invocation.
fn calls() -> Vec<Sample> {
    vec![
        sample("input", &input()),
        sample("input-least", &input_least()),
        sample("output", &output()),
        sample("output-empty", &Output::empty()),
        sample("run-paid", &run_paid()),
        sample("run-free", &run_free()),
        sample("receipt-paid", &receipt_paid()),
        sample("receipt-free", &receipt_free()),
        sample("batch", &batch()),
        sample("proof", &proof(0)),
        sample("proof-promoted", &proof(2)),
        sample("bundle", &bundle()),
        sample("bundle-least", &bundle_least()),
        sample("registration", &registration()),
        sample("registration-least", &registration_least()),
        sample("request", &request()),
        Sample {
            name: "sealed-run",
            media_type: "-",
            bytes: sealed_run().encode(),
            recode: |bytes| Sealed::decode(bytes).map(|sealed| sealed.encode()),
        },
    ]
}
