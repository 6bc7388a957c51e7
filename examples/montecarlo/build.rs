//! Linker arguments of the function: enough memory from the beginning that an ordinary call does
//! not grow it, and a stack that fits what it does.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family.contains("wasm")) {
        // 1 MiB of stack; the simulation itself needs no memory.
        println!("cargo::rustc-link-arg-cdylib=--initial-memory=2097152");
    }
}
