//! Linker arguments of the function: enough memory from the beginning that an ordinary call does
//! not grow it, and a stack that fits what it does.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family.contains("wasm")) {
        // 1 MiB of stack, one buffer and the distinct words of a book.
        println!("cargo::rustc-link-arg-bins=--initial-memory=4194304");
    }
}
