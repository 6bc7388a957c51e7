//! What a node keeps of what it brought: within its quota, the least lately used goes, and comes back when it is called.

use serde_json::Value;
use talea_ledger::FunctionId;

use crate::money::{PRICE, refused, told};
use crate::node::{ECHO, Node};
use crate::peers::{first, folders, ready};

/// The echo with a block of data that makes it so long, another one for each number.
fn long_echo(number: u8) -> Vec<u8> {
    let data = format!("(data (i32.const 70000) \"{}\")", format!("\\{number:02x}").repeat(20_000));
    wat::parse_str(ECHO.replacen(
        r#"(memory (export "memory") 2)"#,
        &format!(r#"(memory (export "memory") 2) {data}"#),
        1,
    ))
    .unwrap()
}

/// How each function is listed: brought and pinned.
fn listed(node: &Node) -> Vec<(String, bool, bool)> {
    let page = node.call("GET", "/functions", &[], b"").json();
    let is = |view: &Value, field: &str| view[field].as_bool().unwrap_or_else(|| panic!("{view}"));
    let functions = page["functions"].as_array().unwrap().clone();
    let id = |view: &Value| view["id"].as_str().unwrap().to_owned();
    functions.iter().map(|view| (id(view), is(view, "brought"), is(view, "pinned"))).collect()
}

#[test]
fn what_was_brought_gives_way_unless_it_is_pinned_paid_for_or_deployed_here() {
    let [fa, fb] = folders();
    let (a, at) = first(fa.path(), &[]);
    let modules: Vec<Vec<u8>> = (1..=5).map(long_echo).collect();
    let ids: Vec<String> = modules
        .iter()
        .map(|wasm| {
            let id = a.deploy(wasm, &[]).expect("deploys");
            assert_eq!(id, FunctionId::of(wasm).to_string());
            id
        })
        .collect();
    // Room for two of them.
    let quota = format!("network.fetch_size={}B", 2 * modules[0].len() + modules[0].len() / 2);
    let flags = [&["--join", &at, "--set", &quota][..], &PRICE].concat();
    let b = Node::start(fb.path(), &flags);
    ready(&b);
    let call = |node: &Node, at: usize| {
        let answer = node.call("POST", &format!("/f/{}/", ids[at]), &[], b"hello");
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"), "function {at}");
    };
    let holds = |node: &Node, expected: &[usize]| {
        let found = listed(node);
        let expected: Vec<&String> = expected.iter().map(|at| &ids[*at]).collect();
        assert_eq!(found.iter().map(|(id, ..)| id).collect::<Vec<_>>(), expected);
    };
    call(&b, 0);
    call(&b, 1);
    // Used again, so that the other one goes.
    call(&b, 0);
    call(&b, 2);
    holds(&b, &[0, 2]);
    assert_eq!(b.metric("talea_functions_evicted_total"), Some(1.0));
    assert_eq!(b.metric("talea_functions_held_bytes"), Some(2.0 * modules[0].len() as f64));
    // It comes back.
    call(&b, 1);
    holds(&b, &[2, 1]);
    assert_eq!(b.metric("talea_functions_brought_total"), Some(4.0));

    // Only the host's owner pins. What is not here is brought for it.
    let pin = ["function", "pin", ids[3].as_str()];
    assert_eq!(refused(&b, &pin), (77, "not_permitted".to_owned()));
    let key = fb.path().join("data/key");
    let key = ["--key", key.to_str().unwrap()];
    assert_eq!(told(&b, &[&pin[..], &key].concat())["pinned"], true);
    holds(&b, &[1, 3]);
    // Somebody pays for a run of the other one: the bill may be disputed for days.
    told(&b, &["channel", "open", "--escrow", "5M"]);
    told(&b, &["invoke", &ids[1], "--pay", "--max-fuel", "1M", "--data", "paid"]);
    let full = b.call("POST", &format!("/f/{}/", ids[0]), &[], b"x");
    assert_eq!((full.status, full.code().as_str()), (503, "storage_full"), "{}", full.text());

    // All of that outlives the node.
    assert!(b.terminate().success());
    let b = Node::start(fb.path(), &flags);
    ready(&b);
    assert_eq!(listed(&b), [(ids[1].clone(), true, false), (ids[3].clone(), true, true)]);
    assert_eq!(b.call("POST", &format!("/f/{}/", ids[0]), &[], b"x").code(), "storage_full");
    let unpin = ["function", "unpin", ids[3].as_str()];
    assert_eq!(told(&b, &[&unpin[..], &key].concat())["pinned"], false);
    call(&b, 0);
    holds(&b, &[1, 0]);
    let nowhere = FunctionId::of(b"nobody's").to_string();
    let nowhere = [&["function", "pin", nowhere.as_str()][..], &key].concat();
    assert_eq!(refused(&b, &nowhere).1, "function_unknown");
    // What is deployed here stays, and has its room whatever else is here.
    b.deploy(&modules[0], &[]).expect("deploys");
    b.deploy(&modules[4], &[]).expect("deploys");
    assert_eq!(b.call("POST", &format!("/f/{}/", ids[2]), &[], b"x").code(), "storage_full");
    call(&b, 0);
    call(&b, 4);
}
