//! What is not accepted, why, and where.

use talea_ledger::profile::Profile;
use talea_meter::{Refusal, RefusalReason, Variant, inspect, instrument};

use crate::host::wat;

fn refusal(wasm: &[u8]) -> Refusal {
    let refusal = inspect(wasm, &Profile::v1()).expect_err("accepted");
    for variant in [Variant::Exact, Variant::Fast, Variant::Explained] {
        let other = instrument(wasm, &Profile::v1(), variant).expect_err("accepted");
        assert_eq!(other, refusal, "every door refuses alike");
    }
    refusal
}

fn check(text: &str, reason: RefusalReason) {
    let refusal = refusal(&wat(text));
    assert_eq!(refusal.reason, reason, "{refusal}: {text}");
}

/// A handler beside which something stands that is refused.
fn beside(text: &str) -> String {
    format!(r#"(module {text} (func (export "talea_handle") (result i32) i32.const 0))"#)
}

#[test]
fn not_a_module() {
    assert_eq!(refusal(b"").reason, RefusalReason::NotWasm);
    assert_eq!(refusal(b"#!/bin/sh").reason, RefusalReason::NotWasm);
    assert_eq!(refusal(b"\0asm\x02\0\0\0").reason, RefusalReason::NotWasm);
    assert_eq!(refusal(b"\0asm\x0d\0\x01\0").reason, RefusalReason::Component);
    assert_eq!(refusal(b"\0asm").reason, RefusalReason::Invalid);
    assert_eq!(refusal(b"\0asm\x01\0\0\0").reason, RefusalReason::NoEntry);
    let whole = wat(&beside("(memory 1)"));
    for end in 9..whole.len() {
        // Cut between two sections it may still be a module, one without an entry.
        let reason = refusal(&whole[..end]).reason;
        assert!(matches!(reason, RefusalReason::Invalid | RefusalReason::NoEntry), "cut at {end}");
    }
}

#[test]
fn entries() {
    check("(module)", RefusalReason::NoEntry);
    check(
        r#"(module (func (export "_start")) (func (export "talea_handle") (result i32) i32.const 0))"#,
        RefusalReason::TwoEntries,
    );
    check(
        r#"(module (func (export "_start") (result i32) i32.const 0))"#,
        RefusalReason::EntrySignature,
    );
    check(r#"(module (func (export "talea_handle")))"#, RefusalReason::EntrySignature);
    check(
        r#"(module (global (export "_start") i32 (i32.const 0)))"#,
        RefusalReason::EntrySignature,
    );
    check(&beside(r#"(func (export "_initialize") (param i32))"#), RefusalReason::EntrySignature);
    check(
        r#"(module (import "wasi_snapshot_preview1" "sched_yield" (func $f (result i32)))
          (export "talea_handle" (func $f)))"#,
        RefusalReason::EntrySignature,
    );
}

#[test]
fn imports_and_exports() {
    check(&beside(r#"(import "env" "f" (func))"#), RefusalReason::UnknownImport);
    check(&beside(r#"(import "talea" "fd_write" (func))"#), RefusalReason::UnknownImport);
    check(
        &beside(r#"(import "talea:meter" "slice" (func (param i64) (result i64)))"#),
        RefusalReason::UnknownImport,
    );
    check(
        &beside(r#"(import "talea" "clock_ns" (func (result i32)))"#),
        RefusalReason::ImportSignature,
    );
    check(
        &beside(r#"(import "talea" "clock_ns" (func (param f64) (result i64)))"#),
        RefusalReason::ImportSignature,
    );
    check(&beside(r#"(import "talea" "m" (memory 1))"#), RefusalReason::ImportKind);
    check(&beside(r#"(import "talea" "clock_ns" (global i32))"#), RefusalReason::ImportKind);
    check(&beside(r#"(func (export "talea:fuel"))"#), RefusalReason::ReservedExport);
    check(&beside(r#"(func (export "talea:anything"))"#), RefusalReason::ReservedExport);
}

#[test]
fn features() {
    for (text, what) in [
        ("(func return_call 0)", "tail calls"),
        ("(memory 1 1 shared)", "threads"),
        ("(memory i64 1)", "memory64"),
        ("(memory 1) (memory 1)", "several memories"),
        ("(type (struct))", "garbage collection"),
        ("(tag)", "exceptions"),
        ("(func (param externref))", "externref"),
        ("(table 1 externref)", "externref"),
        (
            "(func (param v128 v128 v128) (drop (i8x16.relaxed_laneselect (local.get 0) (local.get 1) (local.get 2))))",
            "relaxed vectors",
        ),
        (
            "(type $t (func)) (func (param (ref null $t)) (call_ref $t (local.get 0)))",
            "typed references",
        ),
    ] {
        let refusal = refusal(&wat(&beside(text)));
        assert_eq!(refusal.reason, RefusalReason::ForbiddenFeature, "{what}: {refusal}");
        assert!(refusal.offset.is_some(), "{what} has a place");
    }
    // Wrong under any profile.
    check(&beside("(func (result i32))"), RefusalReason::Invalid);
    check(&beside("(func (drop (i32.add (i64.const 1) (i32.const 1))))"), RefusalReason::Invalid);
}

#[test]
fn bounds() {
    let bounds = Profile::v1().bounds;
    let large = vec![0u8; usize::try_from(bounds.module_bytes).unwrap() + 1];
    assert_eq!(refusal(&large).reason, RefusalReason::TooLarge);
    let times = |text: &str, count: u64| text.repeat(usize::try_from(count).unwrap());
    let locals = |count| format!("(func (local {}))", times("i32 ", count));
    assert!(inspect(&wat(&beside(&locals(bounds.locals))), &Profile::v1()).is_ok());
    for (text, what) in [
        (locals(bounds.locals + 1), "locals"),
        (format!("(func (param {}))", times("i32 ", bounds.params + 1)), "parameters"),
        (format!("(func (result {}) unreachable)", times("i32 ", bounds.results + 1)), "results"),
        (times("(global i32 (i32.const 0))", bounds.globals + 1), "globals"),
        (times("(table 0 funcref)", bounds.tables + 1), "tables"),
        (format!("(table {} funcref)", bounds.table_entries + 1), "table entries"),
        (
            format!(
                "(func {} {})",
                times("(block ", bounds.nesting + 1),
                times(")", bounds.nesting + 1)
            ),
            "nesting",
        ),
        (
            format!("(func (br_table {} (i32.const 0)))", times("0 ", bounds.branch_targets + 2)),
            "targets",
        ),
        (format!("(func {} unreachable)", times("i32.const 0 ", bounds.operands + 1)), "operands"),
        (format!("(func {})", times("nop ", bounds.body_bytes)), "body"),
        (
            format!(
                "(func (local {}) {})",
                times("i32 ", 4_000),
                times("(br_if 0 (i32.const 0))", 4_500)
            ),
            "complexity",
        ),
        (
            format!("(memory 1) {}", times("(data \"x\")", bounds.data_segments + 1)),
            "data segments",
        ),
        (times("(elem func)", bounds.element_segments + 1), "element segments"),
    ] {
        let refusal = refusal(&wat(&beside(&text)));
        assert_eq!(refusal.reason, RefusalReason::TooLarge, "{what}: {refusal}");
        assert!(refusal.offset.is_some(), "{what} has a place");
    }
}

#[test]
fn frames() {
    // 400,000 bytes of one-byte instructions, each of which makes a value: 12 MiB of frame.
    let body =
        format!("(func (param i32) (result i32) local.get 0 {})", "i32.eqz ".repeat(400_000));
    check(&beside(&body), RefusalReason::FrameTooLarge);
}

#[test]
fn codes_are_stable() {
    let refusal = refusal(&wat("(module)"));
    assert_eq!(refusal.to_string(), "no_entry: exports neither _start nor talea_handle");
    let refusal = self::refusal(b"nonsense");
    assert_eq!(refusal.to_string(), "not_wasm: no wasm magic number (at byte 0)");
}

#[test]
fn inspection_tells_what_a_module_is() {
    let facts = inspect(
        &wat(r#"(module (import "talea" "clock_ns" (func $clock (result i64)))
          (memory 3 9) (table 5 funcref) (table 7 funcref) (global i32 (i32.const 0))
          (data "0123456789") (elem func $named)
          (func $named) (start $named) (func (export "_initialize"))
          (func $entry (export "talea_handle") (result i32) i32.const 0))"#),
        &Profile::v1(),
    )
    .unwrap();
    assert_eq!(facts.kind, talea_meter::Kind::Handler);
    assert_eq!((facts.memory_pages, facts.memory_pages_max), (3, Some(9)));
    assert_eq!(facts.tables, [5, 7]);
    assert!(facts.has_memory && facts.has_start && facts.has_initialize && !facts.has_floats);
    assert_eq!(facts.imports, [("talea", "clock_ns")]);
    let names: Vec<_> = facts.functions.iter().map(|f| (f.index, f.name.as_deref())).collect();
    assert_eq!(names, [(1, Some("named")), (2, None), (3, Some("entry"))]);
}
