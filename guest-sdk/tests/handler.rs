//! Handlers through the attribute, on the double of the host calls; and what the attribute refuses.
#![allow(missing_docs, reason = "a test binary has no readers of its documentation")]

use talea::testing::{call, call_at};
use talea::{Request, Response};

mod plain {
    use super::*;

    #[talea::handler]
    pub(super) fn handle(request: Request) -> Response {
        match request.path() {
            "/teapot" => Response::new(418).with_header("X-Kind", "short and stout"),
            "/reserved" => Response::text("never seen").with_header("Set-Cookie", "a=b"),
            "/status" => Response::new(99),
            "/split" => Response::text("").with_header("x-a", "1\r\nx-b: 2"),
            _ => Response::text(request.path()),
        }
    }
}

mod fallible {
    use super::*;

    #[talea::handler]
    pub(super) fn handle(request: Request) -> Result<Response, Box<dyn std::error::Error>> {
        let number: u32 = request.text()?.trim().parse()?;
        talea::debug!("number {number}");
        Ok(Response::json(format!("{}", number * 2)))
    }
}

mod worldly {
    use super::*;

    #[talea::handler]
    pub(super) fn handle(_request: Request) -> Response {
        let (first, second) = (talea::clock::unix_nanos(), talea::clock::unix_nanos());
        assert!(second > first);
        Response::text(format!("{first} {}", talea::random::u64()))
    }
}

#[test]
fn response_goes_through() {
    let answer = call(plain::handle, Request::get("/teapot"));
    assert_eq!((answer.exit, answer.status), (0, 418));
    assert_eq!(answer.header("x-kind"), Some("short and stout"));
    assert_eq!(answer.body, b"");

    let answer = call(plain::handle, Request::get("/other"));
    assert_eq!((answer.status, answer.text()), (200, "/other"));
}

#[test]
fn what_the_host_refuses_is_exit_2_and_a_line() {
    for (path, reason) in [
        ("/reserved", "header \"Set-Cookie\": only the node sets this header"),
        ("/status", "status 99: not allowed by HTTP or out of range"),
        ("/split", "header \"x-a\": not allowed by HTTP or out of range"),
    ] {
        let answer = call(plain::handle, Request::get(path));
        assert_eq!((answer.exit, answer.body.len()), (2, 0), "{path}");
        assert_eq!(answer.log, format!("error response: {reason}\n"));
    }
}

#[test]
fn error_is_exit_1_and_a_line() {
    let answer = call(fallible::handle, Request::post("/").with_body("21\n"));
    assert_eq!((answer.exit, answer.text()), (0, "42"));
    assert_eq!(answer.log, "debug number 21\n");

    let answer = call(fallible::handle, Request::post("/").with_body("x"));
    assert_eq!((answer.exit, answer.body.len()), (1, 0));
    assert_eq!(answer.log, "error invalid digit found in string\n");
}

#[test]
fn clock_and_seed_decide_everything() {
    let one = call_at(worldly::handle, Request::get("/"), 5, 1);
    assert_eq!(one, call_at(worldly::handle, Request::get("/"), 5, 1));
    assert_ne!(one, call_at(worldly::handle, Request::get("/"), 5, 2));
    assert!(one.text().starts_with("5 "));
}

#[test]
fn mistakes_in_the_shape_are_told_at_their_place() {
    trybuild::TestCases::new().compile_fail("tests/fail/*.rs");
}
