//! What the tests about money share: a node with a price, commands as JSON, amounts, keys, runs signed here.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;
use talea_ledger::sign::seal_document;
use talea_ledger::{
    BodyId, ChannelId, Fuel, FunctionId, Headers, Input, NetworkId, Pages, Payment, Ppm, Price,
    ProfileId, Run, SecretKey, Sequence, Tal, Voucher,
};
use talea_runtime::clock::{Clock as _, SystemClock};

use crate::node::{ECHO, Node};

pub const PRICE: [&str; 6] =
    ["--price-per-call", "10", "--price-rate", "100", "--price-per-kib", "1"];

pub fn node(folder: &Path, more: &[&str]) -> Node {
    Node::start(folder, &[&PRICE[..], more].concat())
}

pub fn json_of(output: &std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
        let said = String::from_utf8_lossy(&output.stderr);
        panic!("{e}: {} {said}", String::from_utf8_lossy(&output.stdout))
    })
}

/// A command that must succeed, as JSON.
pub fn told(node: &Node, args: &[&str]) -> Value {
    let output = node.cli(&[args, &["--output", "json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "talea {}: {said}", args.join(" "));
    json_of(&output)
}

/// The exit code and the stable code of a command that must fail.
pub fn refused(node: &Node, args: &[&str]) -> (i32, String) {
    let output = node.cli(&[args, &["--output", "json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "talea {} was let through", args.join(" "));
    let view = said.lines().find_map(|line| serde_json::from_str::<Value>(line).ok());
    let view = view.or_else(|| serde_json::from_str(&said).ok()).unwrap_or_default();
    let code = view["error"]["code"].as_str().unwrap_or("none").to_owned();
    (output.status.code().unwrap_or(-1), code)
}

pub fn number(view: &Value) -> u64 {
    view.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{view}"))
}

pub fn balance(node: &Node, key: &str) -> u64 {
    number(&node.call("GET", &format!("/accounts/{key}"), &[], b"").json()["balance"])
}

/// Fees that were ever taken.
pub fn fees(node: &Node) -> u64 {
    let network = node.call("GET", "/network", &[], b"").json();
    number(&network["taken"]["fees"])
}

pub fn wasm() -> Vec<u8> {
    wat::parse_str(ECHO).unwrap()
}

/// The key in a file of 64 hex digits.
pub fn secret(path: &Path) -> SecretKey {
    let text = std::fs::read_to_string(path).unwrap();
    let byte = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap();
    SecretKey::from_bytes(&std::array::from_fn(byte))
}

/// What runs of one function name, as a node tells it.
#[derive(Debug, Clone)]
pub struct Terms {
    network: NetworkId,
    profile: ProfileId,
    function: FunctionId,
    memory: Pages,
}

impl Terms {
    pub fn of(node: &Node, function: &str) -> Self {
        let info = node.call("GET", "/.well-known/talea/info", &[], b"").json();
        let registered = node.call("GET", &format!("/functions/{function}"), &[], b"").json();
        let text = |field: &str| info[field].as_str().unwrap().to_owned();
        let pages = registered["limits"]["memory_pages"].as_u64().unwrap();
        Self {
            network: text("network").parse().unwrap(),
            profile: text("profile").parse().unwrap(),
            function: function.parse().unwrap(),
            memory: Pages(u32::try_from(pages).unwrap()),
        }
    }

    /// Where the function is called.
    pub fn path(&self) -> String {
        format!("/f/{}/", self.function)
    }

    /// A run on a channel at the price of [`PRICE`], signed, as it travels in its header.
    pub fn run(&self, key: &SecretKey, channel: ChannelId, sequence: u64, body: &[u8]) -> String {
        let input = Input {
            body_len: body.len() as u64,
            args: Vec::new().try_into().unwrap(),
            body: BodyId::of(body),
            path: "/".try_into().unwrap(),
            salt: None,
            query: "".try_into().unwrap(),
            method: "POST".try_into().unwrap(),
            headers: Headers::none(),
        };
        let now = SystemClock::default().now();
        let mut expires = now;
        expires.0 += 600_000_000_000;
        let run = Run {
            function: self.function,
            input: input.id(),
            cgi: false,
            clock: now,
            input_len: body.len() as u64,
            network: self.network,
            payment: Some(Payment {
                cap: Tal(2_000),
                expires,
                royalty_ppm: Ppm::ZERO,
                sequence: Sequence(sequence),
                channel,
                host: None,
            }),
            profile: self.profile,
            seed: [3; 32],
            price: Price { per_call: Tal(10), rate: 100, per_kib: Tal(1) },
            log_limit: 0,
            memory_limit: self.memory,
            output_limit: 1024,
            fuel_limit: Fuel(10_000_000),
        };
        BASE64_URL_SAFE_NO_PAD.encode(seal_document(key, &run).encode())
    }

    /// A voucher on a channel, as it is handed in.
    pub fn voucher(&self, key: &SecretKey, channel: ChannelId, owed: u64, settled: u64) -> Vec<u8> {
        let network = self.network;
        let voucher = Voucher { network, channel, owed: Tal(owed), settled: Sequence(settled) };
        seal_document(key, &voucher).encode()
    }
}
