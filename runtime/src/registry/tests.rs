//! Plans and orders: whose limits count, what a guest is shown, what a payer must have signed.

use std::net::Ipv4Addr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use talea_ledger::registration::{Kind, Limits};
use talea_ledger::{
    BodyId, ChannelId, Document as _, Input, InputId, Network, NetworkId, NetworkParams, Pages,
    Payment, Ppm, Price, ProfileId, PublicKey, Registration, Run, Sealed, SecretKey, Sequence,
    Session, State, Tal, UnixNanos, Verified, sign,
};

use super::*;
use crate::auth::{
    Admission, Auth, Channels, ChannelsError, Cover, Escrow, Record, Standing, States, Vouched,
};
use crate::call::Head;
use crate::config;

const NOW: UnixNanos = UnixNanos(1_800_000_000_000_000_000);

fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32])
}

fn function() -> FunctionId {
    FunctionId::of(b"module")
}

fn offer() -> Offer {
    Offer {
        network: NetworkId::DEVELOPMENT,
        host: key(1).public(),
        profile: ProfileId::of(b"profile"),
        price: Price { per_call: Tal(1), rate: 0, per_kib: Tal(0) },
        fuel_max: Fuel(1000),
        memory_max: Pages(10),
        output_len_max: 500,
        watermark: Tal(1000),
        log_len_max: 50,
    }
}

/// One function under one name.
#[derive(Debug)]
struct OneFunction;

impl Functions for OneFunction {
    fn by_id(&self, id: FunctionId) -> Result<Option<Function>, FunctionsError> {
        let names = ["content-type", "x-wanted"].map(|name| name.parse().unwrap());
        let registration = Registration {
            at: NOW,
            function: function(),
            cgi: false,
            limits: Limits { log: 60, memory: Pages(4), output: 400, fuel: Fuel(900) },
            network: NetworkId::DEVELOPMENT,
            kind: Kind::Handler,
            name: Some("acme/one".parse().unwrap()),
            owner: key(3).public(),
            headers: names.to_vec().try_into().unwrap(),
        };
        Ok((id == function()).then_some(Function { registration, len: 6 }))
    }

    fn named(&self, name: &FunctionName) -> Result<Option<FunctionId>, FunctionsError> {
        Ok((name.as_str() == "acme/one").then(function))
    }

    /// Only who signs may read `acme/closed`.
    fn owner(&self, _: &FunctionName) -> Option<PublicKey> {
        None
    }

    fn royalty(&self, name: &FunctionName) -> Ppm {
        Ppm::new(if name.as_str() == "acme/dear" { 1000 } else { 0 }).unwrap()
    }

    fn admits(&self, name: &FunctionName, payer: Option<&PublicKey>, method: &str) -> bool {
        name.as_str() != "acme/closed" || (payer.is_some() && method == "GET")
    }
}

#[derive(Debug)]
struct NothingRecorded;

impl Channels for NothingRecorded {
    fn record(&self, _: ChannelId, floor: Sequence) -> Result<Record, ChannelsError> {
        Ok(Record { owed: Tal(0), floor, standing: Standing::Fresh })
    }

    fn debts(&self) -> Vec<(ChannelId, Tal)> {
        Vec::new()
    }
}

/// A ledger that has its genesis only.
#[derive(Debug)]
struct NothingLocked;

impl Escrow for NothingLocked {
    fn states(&self) -> States {
        let params = NetworkParams::development(&[], key(1).public());
        let head = State::genesis(Arc::new(Network::new(params).unwrap()));
        States { finalised: head.clone(), head }
    }

    fn vouched(&self, _: &ChannelId) -> Vouched {
        Vouched::default()
    }

    fn keep_grant(&self, _: &Verified<Session>, _: &Sealed) -> Result<(), ChannelsError> {
        Ok(())
    }
}

fn registry() -> Registry {
    Registry::new(Arc::new(OneFunction), offer(), Fuel(800), Seeds::from_seed([1; 32]))
}

fn authorized(target: &str, headers: &[(&str, &str)]) -> Authorized {
    let mut request = http::Request::post(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let (method, uri, headers) = (parts.method, parts.uri, parts.headers);
    let head = Head { method, uri, headers, peer: Ipv4Addr::LOCALHOST.into(), at: NOW };
    let free = config::Free { calls: true, per_second: None, burst: 1 };
    let credit = config::Credit { payers: vec![key(2).public()], cap: Tal(1000) };
    let (channels, escrow) = (Arc::new(NothingRecorded), Arc::new(NothingLocked));
    let cover = Cover { credit, exposure: Tal(0), channels, escrow };
    let auth = Auth::new(offer(), &free, cover, config::Deploy::Anyone);
    match auth.authorize(Call::new(head).unwrap()).unwrap() {
        Admission::Run(authorized) => authorized,
        other => panic!("{other:?}"),
    }
}

fn order(target: &str, headers: &[(&str, &str)], body: &'static [u8]) -> Order {
    let plan = registry().resolve(authorized(target, headers)).unwrap();
    registry().order(plan, Bytes::from_static(body)).unwrap()
}

#[test]
fn a_private_name_is_not_resolved_for_whom_it_is_not() {
    let refused = registry().resolve(authorized("/f/acme/closed/", &[])).unwrap_err();
    assert!(matches!(refused, ResolveError::NotGranted(_)), "{refused}");
}

#[test]
fn a_guest_is_shown_what_its_registration_names_and_nothing_else() {
    let headers = [
        ("x-wanted", "one"),
        ("x-wanted", "two"),
        ("x-other", "hidden"),
        ("authorization", "hidden"),
        ("talea-args", "a b"),
        ("talea-salt", "000102030405060708090a0b0c0d0e0f"),
    ];
    let order = order("/f/acme/one/sub?q=1", &headers, b"body");
    let invocation = order.invocation();
    let input = &invocation.input;
    let shown: Vec<_> = input.headers.iter().collect();
    assert_eq!(shown, [("x-wanted", "one, two")]);
    assert_eq!((&*input.method, &*input.path, &*input.query), ("POST", "/sub", "q=1"));
    assert_eq!(input.args.iter().map(|a| a.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(input.salt.map(|salt| salt[15]), Some(15));
    assert_eq!((input.body, input.body_len), (BodyId::of(b"body"), 4));
    assert_eq!(invocation.function, function());
}

#[test]
fn a_free_run_gets_the_least_of_all_limits_and_costs_nothing() {
    let parts = order("/f/acme/one", &[], b"").into_parts();
    let run = parts.run;
    assert_eq!(run.fuel_limit, Fuel(800), "the node's for free calls");
    assert_eq!(run.memory_limit, Pages(4), "the registration's");
    assert_eq!((run.output_limit, run.log_limit), (400, 50));
    assert_eq!((run.payment, run.clock, run.price), (None, NOW, Price::FREE));
    assert_eq!(run.input, InputId::of(&parts.input.encode()));
    let again = registry().resolve(authorized("/f/acme/one", &[])).unwrap();
    let other = registry().seeds.draw();
    assert!(matches!(again.account, Account::Node { seed, .. } if seed == other.0));
}

#[test]
fn what_nobody_deployed_is_not_found() {
    let unknown = |target: &str| registry().resolve(authorized(target, &[])).unwrap_err();
    assert!(matches!(unknown("/f/acme/two"), ResolveError::NameUnknown(_)));
    let other = FunctionId::of(b"other");
    let fault = unknown(&format!("/f/{other}"));
    assert!(matches!(fault, ResolveError::FunctionUnknown(id) if id == other));
}

/// The run that a payer would sign for an empty POST to the function.
fn run() -> Run {
    let input = Input {
        body_len: 0,
        args: Vec::new().try_into().unwrap(),
        body: BodyId::of(b""),
        path: "".parse().unwrap(),
        salt: None,
        query: "".parse().unwrap(),
        method: "POST".parse().unwrap(),
        headers: talea_ledger::Headers::none(),
    };
    let offer = offer();
    Run {
        function: function(),
        input: InputId::of(&input.encode()),
        clock: NOW,
        input_len: 0,
        network: offer.network,
        payment: Some(Payment {
            cap: Tal(1),
            expires: UnixNanos(NOW.0 + 1),
            royalty_ppm: Ppm::ZERO,
            sequence: Sequence(1),
            channel: ChannelId::local(&key(2).public(), &offer.host, &offer.network),
            host: None,
        }),
        profile: offer.profile,
        seed: [7; 32],
        cgi: false,
        price: offer.price,
        log_limit: 50,
        memory_limit: Pages(4),
        output_limit: 400,
        fuel_limit: Fuel(900),
    }
}

fn paid(run: &Run, body: &'static [u8]) -> Result<Result<Order, OrderError>, ResolveError> {
    let sealed = BASE64_URL_SAFE_NO_PAD.encode(sign::seal_document(&key(2), run).encode());
    let target = format!("/f/{}", function());
    let plan = registry().resolve(authorized(&target, &[("talea-run", &sealed)]))?;
    Ok(registry().order(plan, Bytes::from_static(body)))
}

#[test]
fn a_paid_run_is_carried_out_as_it_was_signed() {
    let order = paid(&run(), b"").unwrap().unwrap();
    assert_eq!(order.payer(), Some(key(2).public()));
    let invocation = order.invocation();
    assert_eq!((invocation.seed, invocation.limits.fuel), ([7; 32], Fuel(900)));
    let parts = order.into_parts();
    assert_eq!((&parts.run, parts.run_payload.to_vec()), (&run(), run().encode()));
    assert!(parts.run_sealed.is_some() && parts.cover.is_some());
}

#[test]
fn a_run_signed_for_something_else_is_refused() {
    let fault = paid(&run(), b"x").unwrap().unwrap_err();
    assert_eq!(fault, OrderError::LengthForeign { given: 0, made: 1 });
    let other_input = Run { input: InputId::of(b"other"), ..run() };
    let fault = paid(&other_input, b"").unwrap().unwrap_err();
    assert!(matches!(fault, OrderError::InputForeign { .. }));
    let other_function = Run { function: FunctionId::of(b"other"), ..run() };
    assert!(matches!(paid(&other_function, b""), Err(ResolveError::FunctionForeign { .. })));
    let too_much = Run { fuel_limit: Fuel(901), ..run() };
    let fault = paid(&too_much, b"").unwrap_err();
    assert!(matches!(fault, ResolveError::LimitHigh { part: "fuel", given: 901, ours: 900 }));
    let other_reading = Run { cgi: true, ..run() };
    assert!(matches!(paid(&other_reading, b""), Err(ResolveError::CgiDiffers { .. })));
}
