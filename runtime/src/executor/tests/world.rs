//! What a guest finds: input, time, chance, descriptors.

use talea_ledger::outcome::Outcome;
use talea_ledger::units::Fuel;

use super::bench::{Bench, CLOCK, Call};

/// A command that can call everything that works, with `$out` writing a range to its output.
fn command(body: &str) -> Call {
    command_with("", body)
}

fn command_with(items: &str, body: &str) -> Call {
    let imports: String = [
        ("args_get", "i32 i32"),
        ("args_sizes_get", "i32 i32"),
        ("environ_get", "i32 i32"),
        ("environ_sizes_get", "i32 i32"),
        ("clock_time_get", "i32 i64 i32"),
        ("clock_res_get", "i32 i32"),
        ("random_get", "i32 i32"),
        ("fd_read", "i32 i32 i32 i32"),
        ("fd_write", "i32 i32 i32 i32"),
        ("fd_close", "i32"),
        ("fd_fdstat_get", "i32 i32"),
        ("fd_prestat_get", "i32 i32"),
        ("fd_seek", "i32 i64 i32 i32"),
        ("path_open", "i32 i32 i32 i32 i32 i64 i64 i32 i32"),
        ("sock_shutdown", "i32 i32"),
        ("poll_oneoff", "i32 i32 i32 i32"),
        ("sched_yield", ""),
    ]
    .iter()
    .map(|(name, params)| {
        format!(
            r#"(import "wasi_snapshot_preview1" "{name}" (func ${name} (param {params}) (result i32)))"#
        )
    })
    .collect();
    Call::wat(&format!(
        r#"(module {imports}
            (memory (export "memory") 1) {items}
            (func $out (param i32 i32)
                (i32.store (i32.const 65000) (local.get 0))
                (i32.store (i32.const 65004) (local.get 1))
                (if (call $fd_write (i32.const 1) (i32.const 65000) (i32.const 1) (i32.const 65008))
                    (then unreachable)))
            (func $byte (param i32)
                (i32.store8 (i32.const 65020) (local.get 0))
                (call $out (i32.const 65020) (i32.const 1)))
            (func (export "_start") {body}))"#
    ))
}

#[tokio::test]
async fn every_import_of_the_abi_links_and_has_a_price() {
    use std::fmt::Write;
    let mut text = String::from("(module ");
    let all = talea_host_api::IMPORTS.iter().chain(&talea_host_api::WASI_IMPORTS);
    let types = |list: &[talea_host_api::ValueType]| -> String {
        let name = |t: &talea_host_api::ValueType| match t {
            talea_host_api::ValueType::I32 => "i32 ",
            talea_host_api::ValueType::I64 => "i64 ",
        };
        list.iter().map(name).collect()
    };
    let mut calls = String::new();
    for (index, import) in all.enumerate() {
        let (params, results) = (types(import.params), types(import.results));
        write!(
            text,
            r#"(import "{}" "{}" (func $f{index} (param {params}) (result {results})))"#,
            import.module, import.name
        )
        .unwrap();
        if import.name == "proc_exit" {
            continue;
        }
        let zeros: String = params.split_whitespace().map(|t| format!("({t}.const 0) ")).collect();
        write!(calls, "(drop (call $f{index} {zeros}))").unwrap();
    }
    write!(text, r#"(memory (export "memory") 1) (func (export "_start") {calls}))"#).unwrap();
    let found = Bench::new().check(&Call::wat(&text)).await;
    assert_eq!(found.outcome, Outcome::Ok);
    let explained = Call::wat(&text).explain();
    assert_eq!(explained.host_calls.len(), 8 + 46 - 1, "each was charged");
}

#[tokio::test]
async fn a_command_reads_its_input_and_echoes_it() {
    let mut call = command(
        "(i32.store (i32.const 0) (i32.const 100)) (i32.store (i32.const 4) (i32.const 3))
         (i32.store (i32.const 8) (i32.const 200)) (i32.store (i32.const 12) (i32.const 4))
         (block $end (loop $again
            (if (call $fd_read (i32.const 0) (i32.const 0) (i32.const 2) (i32.const 16)) (then unreachable))
            (br_if $end (i32.eqz (i32.load (i32.const 16))))
            (call $byte (i32.load (i32.const 16)))
            (call $out (i32.const 100) (i32.const 3)) (call $out (i32.const 200) (i32.const 4))
            (br $again)))",
    );
    call.body = b"abcdefghi".to_vec();
    let found = Bench::new().check(&call).await;
    assert_eq!(&found.output_body[..], b"\x07abcdefg\x02hicdefg");
}

#[tokio::test]
async fn a_command_finds_arguments_and_environment_of_the_abi_page() {
    let read = |list: &str| {
        format!(
            "(drop (call ${list}_sizes_get (i32.const 0) (i32.const 4)))
             (drop (call ${list}_get (i32.const 8) (i32.const 2000)))
             (call $byte (i32.load (i32.const 0)))
             (call $out (i32.load (i32.const 8)) (i32.load (i32.const 4)))"
        )
    };
    let mut call = command(&format!("{} {}", read("args"), read("environ")));
    call.args = vec!["one", "", "two words"];
    call.path = "/a%20b";
    call.query = "x=1&y";
    call.headers =
        vec![("x-many", "1"), ("content-type", "text/plain"), ("accept", "a/b"), ("x-many", "2")];
    call.body = vec![0; 12];
    let found = Bench::new().check(&call).await;
    let text = String::from_utf8(found.output_body.to_vec()).unwrap();
    let environment = [
        "GATEWAY_INTERFACE=CGI/1.1",
        "SERVER_PROTOCOL=HTTP/1.1",
        "SERVER_SOFTWARE=talea",
        "SERVER_NAME=localhost",
        "SERVER_PORT=0",
        "REMOTE_ADDR=0.0.0.0",
        "SCRIPT_NAME=",
        "REQUEST_METHOD=POST",
        "PATH_INFO=/a b",
        "QUERY_STRING=x=1&y",
        "CONTENT_LENGTH=12",
        "CONTENT_TYPE=text/plain",
        "HTTP_X_MANY=1, 2",
        "HTTP_ACCEPT=a/b",
    ];
    let expected = format!("\u{4}function\0one\0\0two words\0\u{e}{}\0", environment.join("\0"));
    assert_eq!(text, expected);
}

#[tokio::test]
async fn time_is_virtual_and_waiting_moves_it_on() {
    let time = |clock: u32| {
        format!(
            "(if (call $clock_time_get (i32.const {clock}) (i64.const 1) (i32.const 0)) (then unreachable))
             (call $out (i32.const 0) (i32.const 8))"
        )
    };
    // A clock subscription: 5 s from now, on the monotonic clock.
    let sleep = "(i64.store (i32.const 100) (i64.const 77))
        (i32.store (i32.const 116) (i32.const 1))
        (i64.store (i32.const 124) (i64.const 5000000000))
        (if (call $poll_oneoff (i32.const 100) (i32.const 200) (i32.const 1) (i32.const 300)) (then unreachable))
        (call $out (i32.const 200) (i32.const 12)) (call $out (i32.const 300) (i32.const 4))";
    let body = [time(0), time(1), time(1), sleep.into(), time(1), time(0)].concat();
    let found = Bench::new().check(&command(&body)).await;
    let bytes = &found.output_body[..];
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    assert_eq!([word(0), word(8), word(16)], [CLOCK.0, 1_000, 2_000]);
    let (event, rest) = bytes[24..].split_at(16);
    assert_eq!(event, [77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    let after = u64::from_le_bytes(rest[..8].try_into().unwrap());
    assert_eq!(after, 5_000_000_000 + 3_000);
    assert_eq!(u64::from_le_bytes(rest[8..].try_into().unwrap()), CLOCK.0 + after + 1_000);
}

#[tokio::test]
async fn a_ready_descriptor_is_told_without_waiting() {
    let body = "(i64.store (i32.const 124) (i64.const 5000000000))
        (i64.store (i32.const 148) (i64.const 5)) (i32.store8 (i32.const 156) (i32.const 1))
        (i64.store (i32.const 196) (i64.const 6)) (i32.store8 (i32.const 204) (i32.const 2))
        (i32.store (i32.const 212) (i32.const 9))
        (if (call $poll_oneoff (i32.const 100) (i32.const 400) (i32.const 3) (i32.const 300)) (then unreachable))
        (call $byte (i32.load (i32.const 300)))
        (call $out (i32.const 400) (i32.const 64))
        (drop (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 0)))
        (call $out (i32.const 0) (i32.const 8))";
    let mut call = command(body);
    call.body = b"123".to_vec();
    let found = Bench::new().check(&call).await;
    let bytes = &found.output_body[..];
    assert_eq!(bytes[0], 2);
    // The body's three bytes, and that descriptor 9 is none.
    assert_eq!((bytes[1], bytes[9], bytes[11], bytes[17]), (5, 0, 1, 3));
    assert_eq!((bytes[33], bytes[41], bytes[43]), (6, 8, 2));
    assert_eq!(bytes[65..73], [0; 8], "no time went by");
}

#[tokio::test]
async fn chance_is_the_seed_and_nothing_else() {
    let bench = Bench::new();
    let body = "(drop (call $random_get (i32.const 0) (i32.const 5)))
        (drop (call $random_get (i32.const 5) (i32.const 0)))
        (drop (call $random_get (i32.const 5) (i32.const 123)))
        (call $out (i32.const 0) (i32.const 128))";
    let mut call = command(body);
    call.seed = [0; 32];
    let first = bench.check(&call).await;
    // The key stream of ChaCha20 under a zero key, RFC 8439 A.1.
    assert_eq!(first.output_body[..4], [0x76, 0xb8, 0xe0, 0xad]);
    assert_eq!(first.output_body[64..68], [0x9f, 0x07, 0xe7, 0xbe]);
    assert_eq!(bench.check(&call).await, first);
    call.seed = [1; 32];
    assert_ne!(bench.check(&call).await.output_body, first.output_body);
}

#[tokio::test]
async fn what_does_not_exist_has_its_errno() {
    let cases = [
        ("(call $fd_read (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 16))", 8),
        ("(call $fd_write (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 16))", 8),
        ("(call $fd_write (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 16))", 8),
        ("(call $fd_write (i32.const 1) (i32.const 0) (i32.const 1025) (i32.const 16))", 28),
        ("(call $fd_write (i32.const 1) (i32.const 0) (i32.const 1024) (i32.const 16))", 0),
        ("(call $fd_write (i32.const 1) (i32.const 65530) (i32.const 1) (i32.const 16))", 21),
        ("(call $fd_write (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 65533))", 21),
        ("(call $fd_write (i32.const 1) (i32.const 0) (i32.const 0) (i32.const -1))", 21),
        ("(call $fd_prestat_get (i32.const 3) (i32.const 0))", 8),
        ("(call $fd_seek (i32.const 1) (i64.const 0) (i32.const 0) (i32.const 0))", 70),
        (
            "(call $path_open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
            (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 0))",
            8,
        ),
        (
            "(call $path_open (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
            (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 0))",
            54,
        ),
        ("(call $sock_shutdown (i32.const 0) (i32.const 0))", 57),
        ("(call $clock_time_get (i32.const 2) (i64.const 0) (i32.const 0))", 58),
        ("(call $clock_time_get (i32.const 4) (i64.const 0) (i32.const 0))", 28),
        ("(call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 65529))", 21),
        ("(call $random_get (i32.const 65530) (i32.const 7))", 21),
        ("(call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))", 28),
        ("(call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const 1025) (i32.const 0))", 28),
        ("(call $args_get (i32.const 65533) (i32.const 0))", 21),
        ("(call $sched_yield)", 0),
        ("(call $fd_close (i32.const 0))", 0),
        ("(call $fd_close (i32.const 0))", 8),
        ("(call $fd_read (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 16))", 8),
    ];
    let body: String = cases.iter().map(|(call, _)| format!("(call $byte {call})")).collect();
    let found = Bench::new().check(&command(&body)).await;
    let expected: Vec<u8> = cases.iter().map(|(_, errno)| *errno).collect();
    assert_eq!(&found.output_body[..], expected);
}

#[tokio::test]
async fn a_handler_reads_the_parts_of_its_input() {
    let text = r#"(module
        (import "talea" "input_len" (func $len (param i32) (result i32)))
        (import "talea" "input_read" (func $read (param i32 i32 i32 i32) (result i32)))
        (import "talea" "output_write" (func $w (param i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "talea_handle") (result i32) (local $f i32)
            (loop $again
                (drop (call $w (i32.const 100) (call $read (local.get $f) (i32.const 100) (i32.const 0)
                    (call $len (local.get $f)))))
                (i32.store8 (i32.const 0) (i32.const 124))
                (drop (call $w (i32.const 0) (i32.const 1)))
                (br_if $again (i32.lt_u (local.tee $f (i32.add (local.get $f) (i32.const 1))) (i32.const 6))))
            (i32.store8 (i32.const 0) (call $len (i32.const 6)))
            (i32.store8 (i32.const 1) (call $read (i32.const 6) (i32.const 0) (i32.const 0) (i32.const 0)))
            (i32.store8 (i32.const 2) (call $read (i32.const 0) (i32.const 65530) (i32.const 0) (i32.const 7)))
            (i32.store8 (i32.const 3) (call $read (i32.const 0) (i32.const 200) (i32.const 2) (i32.const 100)))
            (i32.store8 (i32.const 4) (call $read (i32.const 0) (i32.const 200) (i32.const 100) (i32.const 100)))
            (drop (call $w (i32.const 0) (i32.const 5)))
            (i32.const 0)))"#;
    let mut call = Call::wat(text);
    call.body = b"body".to_vec();
    call.path = "/p%20";
    call.query = "q=1";
    call.headers = vec![("Accept", "text/html"), ("x", "")];
    call.args = vec!["a", "b"];
    let found = Bench::new().check(&call).await;
    let expected = b"body|POST|/p%20|q=1|accept: text/html\nx: \n|a\0b\0|\xfe\xfe\xff\x02\x00";
    assert_eq!(&found.output_body[..], expected);
}

#[tokio::test]
async fn a_handler_sets_status_and_headers_before_its_body() {
    let text = r#"(module
        (import "talea" "output_status" (func $status (param i32) (result i32)))
        (import "talea" "output_header" (func $header (param i32 i32 i32 i32) (result i32)))
        (import "talea" "output_write" (func $w (param i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "Content-Type") (data (i32.const 16) "text/plain") (data (i32.const 32) "talea-x")
        (global $p (mut i32) (i32.const 1000))
        (func $note (param i32) (i32.store8 (global.get $p) (local.get 0))
            (global.set $p (i32.add (global.get $p) (i32.const 1))))
        (func (export "talea_handle") (result i32)
            (call $note (call $status (i32.const 418)))
            (call $note (call $status (i32.const 199)))
            (call $note (call $header (i32.const 0) (i32.const 12) (i32.const 16) (i32.const 10)))
            (call $note (call $header (i32.const 32) (i32.const 7) (i32.const 16) (i32.const 10)))
            (call $note (call $header (i32.const 0) (i32.const 13) (i32.const 16) (i32.const 10)))
            (call $note (call $header (i32.const 0) (i32.const 12) (i32.const 65535) (i32.const 2)))
            (drop (call $w (i32.const 0) (i32.const 0)))
            (call $note (call $status (i32.const 200)))
            (drop (call $w (i32.const 16) (i32.const 4)))
            (call $note (call $status (i32.const 404)))
            (call $note (call $header (i32.const 0) (i32.const 12) (i32.const 16) (i32.const 10)))
            (drop (call $w (i32.const 1000) (i32.const 9)))
            (i32.const 0)))"#;
    let found = Bench::new().check(&Call::wat(text)).await;
    let headers: Vec<_> = found.output.headers.iter().collect();
    assert_eq!((found.output.status.get(), headers), (200, vec![("content-type", "text/plain")]));
    let codes = [0, -2, 0, -4, -2, -1, 0, -3, -3_i8].map(i8::cast_unsigned);
    assert_eq!(&found.output_body[..], [&b"text"[..], &codes].concat());
}

#[tokio::test]
async fn a_cgi_block_counts_only_when_the_run_says_so() {
    let bench = Bench::new();
    let items = r#"(data (i32.const 0) "Status: 404 Not Found\nContent-Type: text/html\n\nbody")"#;
    let mut call = command_with(items, "(call $out (i32.const 0) (i32.const 51))");
    let plain = bench.check(&call).await;
    assert_eq!((plain.output.status.get(), plain.output_body.len()), (200, 51));
    call.cgi = true;
    let found = bench.check(&call).await;
    let headers: Vec<_> = found.output.headers.iter().collect();
    assert_eq!((found.output.status.get(), headers), (404, vec![("content-type", "text/html")]));
    assert_eq!((&found.output_body[..], found.output.body_len), (&b"body"[..], 4));
    assert_eq!(found.fuel, plain.fuel);
}

#[tokio::test]
async fn in_a_handler_the_descriptors_are_the_log() {
    let text = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "\10\00\00\00\02\00\00\00") (data (i32.const 16) "ab")
        (func (export "talea_handle") (result i32)
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
            (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
            (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
            (i32.load (i32.const 8))))"#;
    let mut call = Call::wat(text);
    call.body = b"body".to_vec();
    let found = Bench::new().check(&call).await;
    assert_eq!((found.outcome, &found.log[..]), (Outcome::Ok, &b"abab"[..]));
    assert!(found.output_body.is_empty());
}

#[tokio::test]
async fn a_module_without_memory_gets_faults_not_panics() {
    let text = r#"(module
        (import "talea" "output_write" (func $w (param i32 i32) (result i32)))
        (import "talea" "random" (func $r (param i32 i32) (result i32)))
        (func (export "talea_handle") (result i32)
            (i32.add (call $w (i32.const 0) (i32.const 1)) (call $r (i32.const -1) (i32.const -1)))))"#;
    let found = Bench::new().check(&Call::wat(text)).await;
    assert_eq!(found.outcome, Outcome::exit((-2_i32).cast_unsigned()));
}

#[tokio::test]
async fn bytes_are_paid_for_before_they_move() {
    let bench = Bench::new();
    let fill = |len: u32| {
        let text = format!(
            r#"(module (import "talea" "random" (func $r (param i32 i32) (result i32)))
                (memory (export "memory") 200)
                (func (export "talea_handle") (result i32) (call $r (i32.const 0) (i32.const {len}))))"#
        );
        Call::wat(&text)
    };
    let (none, one, kib, more) = (
        bench.check(&fill(0)).await,
        bench.check(&fill(1)).await,
        bench.check(&fill(1024)).await,
        bench.check(&fill(1025)).await,
    );
    let price = Fuel(3_000);
    assert_eq!(one.host_fuel, none.host_fuel.saturating_add(price));
    assert_eq!(kib.host_fuel, one.host_fuel);
    assert_eq!(more.host_fuel, kib.host_fuel.saturating_add(price));
    let mut large = fill(12 << 20);
    large.limits.fuel = Fuel(1_000_000);
    assert_eq!(bench.check(&large).await.outcome, Outcome::OutOfFuel);
}
