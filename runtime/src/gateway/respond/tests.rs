//! Errors as data: what status, code and headers a caller sees, and that the API's description agrees.

use std::collections::BTreeSet;
use std::time::Duration;

use http_body_util::BodyExt as _;
use talea_ledger::{
    Fuel, FunctionId, NetworkId, Pages, Price, ProfileId, SecretKey, Sequence, Tal, UnixNanos,
};

use super::*;
use crate::gateway::control::{OPENAPI, ROUTES};
use crate::gateway::reply::GUEST_CODES;

fn terms() -> Offer {
    Offer {
        network: NetworkId::DEVELOPMENT,
        host: SecretKey::from_bytes(&[1; 32]).public(),
        profile: ProfileId::of(b"profile"),
        price: Price { per_call: Tal(10), rate: 5, per_kib: Tal(1) },
        fuel_max: Fuel(2_000_000),
        memory_max: Pages(100),
        output_len_max: 4096,
        log_len_max: 1024,
        watermark: Tal(1000),
    }
}

fn told(fault: impl Into<Fault>) -> (u16, String, Response<Value>) {
    let response = respond(&fault.into(), &terms(), "/f/acme/one");
    let (parts, body) = response.into_parts();
    let collecting = body.collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let bytes = runtime.block_on(collecting).unwrap().to_bytes();
    let json: Value = serde_json::from_slice(&bytes).unwrap();
    let code = json["error"]["code"].as_str().unwrap().to_owned();
    assert!(!json["error"]["message"].as_str().unwrap().is_empty(), "{code}");
    (parts.status.as_u16(), code, Response::from_parts(parts, json))
}

fn check(fault: impl Into<Fault>, status: u16, code: &str) {
    let (found_status, found_code, _) = told(fault);
    assert_eq!((found_status, found_code.as_str()), (status, code));
}

#[test]
fn every_kind_of_error_has_its_status_and_code() {
    use AuthorizeError as A;
    let key = SecretKey::from_bytes(&[2; 32]).public();
    let id = FunctionId::of(b"x");
    check(CallError::TargetTooLong { len: 9000 }, 414, "target_too_long");
    check(CallError::TargetUnreadable { text: "x".into() }, 400, "target_invalid");
    check(CallError::MethodRefused { method: http::Method::TRACE }, 405, "method_not_allowed");
    check(A::PaymentRequired, 402, "payment_required");
    check(A::PayerUnknown { payer: key }, 402, "payer_unknown");
    check(A::SequenceUsed { sequence: Sequence(1), run: None }, 409, "sequence_used");
    check(A::Expired { expired: UnixNanos(1), now: UnixNanos(2) }, 401, "run_expired");
    check(RequestError::Missing { header: "talea-request" }, 401, "signature_missing");
    check(RequestError::NotPermitted { key, what: "deploy" }, 403, "not_permitted");
    check(ResolveError::FunctionUnknown(id), 404, "function_unknown");
    check(BodyError::TooLarge { max: 1 }, 413, "body_too_large");
    check(BodyError::ModuleTooLarge { max: 1 }, 413, "module_too_large");
    check(BodyError::TimedOut, 408, "request_timeout");
    check(BodyError::NoRoom, 503, "overloaded");
    check(OrderError::SaltUnknown, 400, "header_invalid");
    check(ExecuteError::Saturated, 503, "overloaded");
    check(ExecuteError::Deadline, 504, "wall_time");
    check(ExecuteError::NativeStack, 500, "engine_fault");
    check(RecordError::Latched("disk".into()), 503, "storage_unavailable");
    check(RecordError::Full, 503, "storage_full");
    check(ControlError::RouteUnknown, 404, "route_unknown");
    check(ControlError::ReceiptUnknown, 404, "receipt_unknown");
    check(ForwardError::Unpaid, 402, "payment_required");
    check(ForwardError::Twice, 508, "forwarded_already");
    check(ForwardError::NoHost, 503, "forward_no_host");
    check(ForwardError::Stale { began: UnixNanos::ZERO }, 503, "forward_stale");
    check(ForwardError::Purse(PurseError::Late(key)), 503, "forward_unfunded");
    for (source, status, code) in [
        (HopError::Unreachable("x".into()), 502, "forward_unreachable"),
        (HopError::Broken("x".into()), 502, "forward_unreachable"),
        (HopError::Late, 504, "forward_late"),
        (HopError::TooLong, 502, "forward_unfit"),
    ] {
        check(ForwardError::Hop { host: key, source }, status, code);
    }
    let code = "overloaded".to_owned();
    let busy = StatusCode::SERVICE_UNAVAILABLE;
    check(ForwardError::Refused { host: key, status: busy, code }, 502, "forward_refused");
    check(ForwardError::Unfit { host: key, why: "another run".into() }, 502, "forward_unfit");
    check(Fault::Overloaded, 503, "overloaded");
    check(Fault::Panicked("secret".into()), 500, "internal");
}

#[test]
fn a_fault_of_ours_says_nothing_of_our_insides() {
    let faults: [Fault; 3] = [
        RecordError::Store("/data/journal: input/output error".into()).into(),
        ExecuteError::Engine { detail: "at 0xdeadbeef".into() }.into(),
        Fault::Panicked("index out of bounds".into()),
    ];
    for fault in faults {
        let text = told(fault).2.into_body().to_string();
        for inside in ["journal", "dead", "index"] {
            assert!(!text.contains(inside), "{text}");
        }
    }
}

#[test]
fn who_may_come_again_is_told_when() {
    let limited = AuthorizeError::RateLimited { retry_after: Duration::from_millis(1500) };
    let (status, _, response) = told(limited);
    assert_eq!((status, &response.headers()[header::RETRY_AFTER]), (429, &"2".parse().unwrap()));
    let (status, _, response) = told(Fault::Overloaded);
    assert_eq!((status, &response.headers()[header::RETRY_AFTER]), (503, &"1".parse().unwrap()));
}

#[test]
fn a_missing_payment_is_told_the_terms_as_x402_has_them() {
    use base64::Engine as _;
    let (_, _, response) = told(AuthorizeError::CapLow { given: Tal(1), needed: Tal(24) });
    let carried = &response.headers()[offer::HEADER];
    let carried = base64::prelude::BASE64_STANDARD.decode(carried).unwrap();
    let carried: Value = serde_json::from_slice(&carried).unwrap();
    assert_eq!((&carried["x402Version"], &carried["error"]), (&json!(2), &json!("cap_low")));
    let accepted = &carried["accepts"][0];
    assert_eq!((&accepted["scheme"], &accepted["amount"]), (&json!("upto"), &json!("24")));
    assert_eq!(accepted["payTo"], json!(terms().host.to_string()));
    let network = accepted["network"].as_str().unwrap();
    let (space, reference) = network.split_once(':').unwrap();
    assert!(space.len() <= 8 && reference.len() == 32, "{network} is not CAIP-2");
    let body = response.into_body();
    assert_eq!((&body["accepts"], &body["resource"]), (&carried["accepts"], &carried["resource"]));
    assert_eq!(body["error"]["detail"]["needed"], json!("24"));
    // Nothing is known of the run: the costliest one, 10 + 2 x 5 + 4 x 1.
    let (_, _, response) = told(AuthorizeError::PaymentRequired);
    let body = response.into_body();
    assert_eq!(body["accepts"][0]["amount"], json!("24"));
}

#[test]
fn the_api_description_has_every_route_and_nothing_else() {
    let described: Value = serde_json::from_str(OPENAPI).unwrap();
    let mut found = BTreeSet::new();
    for (path, item) in described["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            found.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    let mut routes = BTreeSet::new();
    for route in ROUTES {
        for method in route.allowed.split(", ").filter(|method| *method != "HEAD") {
            routes.insert(format!("{method} {}", route.path));
        }
    }
    for method in ["GET", "PUT", "POST", "DELETE", "PATCH"] {
        routes.insert(format!("{method} /f/{{function}}/{{path}}"));
    }
    assert_eq!(found, routes);
}

#[test]
fn the_api_description_has_every_code_and_nothing_else() {
    let described: Value = serde_json::from_str(OPENAPI).unwrap();
    let listed = &described["components"]["schemas"]["ErrorCode"]["enum"];
    let listed: BTreeSet<&str> =
        listed.as_array().unwrap().iter().map(|code| code.as_str().unwrap()).collect();
    let refusals = {
        use talea_meter::RefusalReason as R;
        [
            R::NotWasm,
            R::Component,
            R::ForbiddenFeature,
            R::Invalid,
            R::TooLarge,
            R::FrameTooLarge,
            R::UnknownImport,
            R::ImportSignature,
            R::ImportKind,
            R::ReservedExport,
            R::NoEntry,
            R::TwoEntries,
            R::EntrySignature,
        ]
        .map(R::code)
    };
    let ours = Code::ALL.iter().map(|code| code.text());
    let known: BTreeSet<&str> = ours.chain(GUEST_CODES).chain(refusals).collect();
    assert_eq!(listed, known);
}
