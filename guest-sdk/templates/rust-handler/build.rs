//! Linker arguments of the function: a stack that fits what it does. A page of memory costs fuel, and a
//! small memory is ready sooner.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family.contains("wasm")) {
        // 32 KiB instead of 1 MiB; raise it for deep recursion or large arrays on the stack.
        println!("cargo::rustc-link-arg-cdylib=-zstack-size=32768");
    }
}
