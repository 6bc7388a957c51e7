//! Linker arguments of the function: enough memory from the beginning that an ordinary call does
//! not grow it, and a stack that fits what it does.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family.contains("wasm")) {
        // A document's values take about ten times its text: 512 KiB of JSON fit.
        println!("cargo::rustc-link-arg-cdylib=--initial-memory=8388608");
    }
}
