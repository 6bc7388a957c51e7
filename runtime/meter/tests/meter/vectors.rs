//! Golden numbers: (module, profile) -> (static fuel, fuel, ending).
//!
//! They change only with a new edition of the profile. The vectors stand in `tests/conformance/meter`,
//! so that another implementation can be held to them.

use std::fmt::Write;
use std::path::Path;

use talea_ledger::profile::Profile;
use talea_meter::Variant;

use crate::compiled::{self, Effort};
use crate::host::{Ending, metered, on_deep_stack};
use crate::interpreted;

const LIMIT: u64 = 10_000_000;

#[test]
fn vectors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/conformance/meter");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wat"))
        .collect();
    files.sort();
    assert!(files.len() >= 10, "the vectors are there");
    let mut golden = format!("profile {}\n", Profile::v1().id());
    for file in files {
        let wasm = wat::parse_file(&file).unwrap();
        let name = file.file_stem().unwrap().to_str().unwrap();
        let facts = talea_meter::inspect(&wasm, &Profile::v1()).unwrap();
        let exact = metered(&wasm, Variant::Exact);
        let report = on_deep_stack(|| interpreted::run_exact(&exact, LIMIT, LIMIT));
        let again =
            on_deep_stack(|| compiled::run(&exact, Variant::Exact, Effort::Speed, LIMIT, LIMIT));
        assert_eq!(again, report, "{name}");
        let fast = metered(&wasm, Variant::Fast);
        let quick =
            on_deep_stack(|| compiled::run(&fast, Variant::Fast, Effort::Speed, LIMIT, LIMIT));
        if matches!(report.ending, Ending::Returned(_) | Ending::Exited(_) | Ending::OutOfFuel) {
            assert_eq!(quick, report, "{name}");
        }
        let ending = match report.ending {
            Ending::Returned(results) if results.is_empty() => "ok".to_owned(),
            Ending::Returned(results) => format!("returns {}", results[0]),
            Ending::Trapped(code) => format!("trap {code}"),
            Ending::OutOfFuel => "out_of_fuel".to_owned(),
            Ending::Stack => "limit stack".to_owned(),
            Ending::Exited(code) => format!("exit {code}"),
            Ending::NativeOverflow => panic!("{name}"),
        };
        let (fixed, fuel) = (facts.static_fuel, report.fuel);
        writeln!(golden, "{name}: static {fixed}, fuel {fuel}, {ending}").unwrap();
    }
    expect_test::expect_file!["../../../../tests/conformance/meter/golden.txt"].assert_eq(&golden);
}
