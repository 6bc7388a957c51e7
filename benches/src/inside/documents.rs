//! The documents of one free call, as they stand on the hot path.
//!
//! Owns typical documents, for itself and the other parts. Absent: decoding, which is the verifier's.

use std::hint::black_box;

use sha2::{Digest as _, Sha256};
use talea_ledger::message::{Arguments, Headers, Method, Path, Query, Status};
use talea_ledger::profile::Profile;
use talea_ledger::{
    BodyId, Document, Fuel, FunctionId, Input, NetworkId, Outcome, Output, Pages, Price, ProfileId,
    Receipt, Run, RunId, SecretKey, Tal, UnixNanos,
};

use super::{Figure, Site};
use crate::timing::{Subject, compare};

/// A host whose key is not secret.
#[must_use]
pub fn host() -> SecretKey {
    SecretKey::from_bytes(&[7; 32])
}

/// The edition of the rules that everything here runs under.
#[must_use]
pub fn profile_id() -> ProfileId {
    Profile::v1().id()
}

/// The input of a plain `GET`.
#[must_use]
pub fn input() -> Input {
    let method = Method::try_from("GET").expect("GET is a method");
    Input {
        body_len: 0,
        args: Arguments::default(),
        body: BodyId::of(&[]),
        path: Path::try_from("/").expect("/ is a path"),
        salt: None,
        query: Query::try_from("").expect("an empty query is one"),
        method,
        headers: Headers::of([("accept", "*/*")]).expect("a header of a browser"),
    }
}

/// The output that says hello.
#[must_use]
pub fn output() -> Output {
    Output {
        body_len: 5,
        body: BodyId::of(b"hello"),
        status: Status::OK,
        headers: Headers::of([("content-type", "text/plain; charset=utf-8")])
            .expect("a content type"),
    }
}

/// The free run of a function on [`input`].
#[must_use]
pub fn run(function: FunctionId, profile: ProfileId) -> Run {
    Run {
        function,
        input: input().id(),
        cgi: false,
        clock: UnixNanos(1_795_000_000_000_000_000),
        input_len: 0,
        network: NetworkId::DEVELOPMENT,
        payment: None,
        profile,
        seed: [9; 32],
        price: Price { per_kib: Tal(1), per_call: Tal(10), rate: 100 },
        log_limit: 65_536,
        memory_limit: Pages(1024),
        output_limit: 1 << 20,
        fuel_limit: Fuel(1_000_000_000),
    }
}

/// A receipt of such a run; `number` makes each one different.
#[must_use]
pub fn receipt(host: &SecretKey, number: u64) -> Receipt {
    Receipt {
        at: UnixNanos(1_795_000_000_000_000_000 + number),
        host: host.public(),
        function: FunctionId::of(b"function"),
        input: input().id(),
        input_len: 0,
        peak_pages: Pages(17),
        network: NetworkId::DEVELOPMENT,
        output: output().id(),
        payment: None,
        run: RunId::of(&number.to_le_bytes()),
        forwarded: None,
        bill: Tal(0),
        fuel: Fuel(12_345),
        output_len: 5,
        profile: profile_id(),
        host_fuel: Fuel(678),
        price: Price { per_kib: Tal(1), per_call: Tal(10), rate: 100 },
        outcome: Outcome::Ok,
    }
}

pub(super) fn figures(site: &Site) -> anyhow::Result<Vec<Figure>> {
    let effort = site.effort;
    let (input, output) = (input(), output());
    let run = run(FunctionId::of(b"function"), profile_id());
    let receipt = receipt(&host(), 1);
    let payload = receipt.encode();
    let lens = [input.encode().len(), output.encode().len(), run.encode().len(), payload.len()];
    let timed = compare(
        effort,
        vec![
            Subject::new(format!("sha256 of a receipt ({} bytes)", payload.len()), || {
                black_box(Sha256::digest(black_box(&payload)));
            }),
            Subject::new(format!("input: encode and name ({} bytes)", lens[0]), || {
                black_box(black_box(&input).id());
            }),
            Subject::new(format!("output: encode and name ({} bytes)", lens[1]), || {
                black_box(black_box(&output).id());
            }),
            Subject::new(format!("run: encode and name ({} bytes)", lens[2]), || {
                black_box(black_box(&run).id());
            }),
            Subject::new(format!("receipt: encode and name ({} bytes)", lens[3]), || {
                black_box(black_box(&receipt).id());
            }),
            Subject::new("receipt: encode only", || {
                black_box(black_box(&receipt).encode());
            }),
        ],
    );
    let floor = &timed[0];
    Ok(timed.iter().map(|it| Figure::nanos("documents", it, 1).against(it, floor)).collect())
}
