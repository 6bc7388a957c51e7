//! The coverage-guided form of the target of the same name.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| talea_fuzz::wire(bytes));
