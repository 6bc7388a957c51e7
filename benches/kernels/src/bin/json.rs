//! Parsing and printing: a JSON document of some 30 KiB, `n` times through `serde_json`.

use serde_json::{Value, json};
use talea_kernels::{Numbers, fold};

fn document() -> String {
    let mut numbers = Numbers(7);
    let ships: Vec<Value> = (0..200)
        .map(|i| {
            json!({
                "id": i,
                "name": format!("ship \"{}\" \u{e9}", numbers.below(10_000)),
                "tons": numbers.below(100_000) as f64 / 8.0,
                "holds": (0..numbers.below(9)).map(|_| numbers.below(500)).collect::<Vec<_>>(),
                "afloat": i % 3 != 0,
                "pilot": null,
            })
        })
        .collect();
    json!({ "port": "x", "ships": ships }).to_string()
}

fn kernel(n: u64) -> u64 {
    let text = document();
    (0..n).fold(0, |sum, round| {
        let mut value: Value = serde_json::from_str(&text).expect("our own document");
        value["ships"][(round % 200) as usize]["tons"] = json!(round);
        let printed = value.to_string();
        printed.bytes().step_by(61).fold(sum, |sum, byte| fold(sum, u64::from(byte)))
    })
}

fn main() -> std::process::ExitCode {
    talea_kernels::main(kernel)
}
