//! Linker arguments of the function: enough memory from the beginning that an ordinary call does
//! not grow it, and a stack that fits what it does.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family.contains("wasm")) {
        // A picture of 4 megapixels takes 16 MiB as pixels; its file and the decoder come on top.
        println!("cargo::rustc-link-arg-cdylib=--initial-memory=33554432");
    }
}
