//! A gateway at its bounds: its slots are taken, its channel to a host runs low, its budget is used up.

use serde_json::Value;

use crate::forward::{Three, all, folders, forwards, host_of, three, until};
use crate::http::Connection;
use crate::money::{number, told};
use crate::node::Node;

/// Goes on until its fuel is gone.
const ENDLESS: &str = r#"(module (memory (export "memory") 1)
  (func (export "talea_handle") (result i32) (loop $on (br $on)) (i32.const 0)))"#;

/// Counts to four million: some slices of fuel, and then an answer.
const COUNTING: &str = r#"(module
  (import "talea" "output_write" (func $write (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "counted")
  (func (export "talea_handle") (result i32) (local $at i32)
    (loop $on
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $on (i32.lt_u (local.get $at) (i32.const 4000000))))
    (drop (call $write (i32.const 0) (i32.const 7)))
    (i32.const 0)))"#;

fn long_runs(node: &Node) -> f64 {
    node.metric("talea_executor_long_runs").expect("a gauge")
}

/// Who ran a paid call of this gateway, by the receipt of it: nobody is named when the gateway itself did.
fn via(gateway: &Node, said: &Value) -> Option<String> {
    let receipt = said["receipt"].as_str().unwrap();
    let view = gateway.call("GET", &format!("/receipts/{receipt}"), &[], b"").json();
    view["via"]["receipt"].as_str().map(str::to_owned)
}

#[test]
fn a_gateway_whose_slots_are_taken_passes_long_calls_on_and_runs_them_again_when_they_are_free() {
    let folders = folders();
    let one_slot = ["forward.when=busy", "forward.escrow=10000000", "compute.runs=1"];
    // So much fuel lasts for minutes; the test ends it.
    let endless =
        ["limits.fuel_max=1000000000000", "limits.fuel=1000000000000", "compute.wall_time=100000s"];
    let Three { a, b, gateway, function: echo, .. } =
        three(&folders, &[&one_slot[..], &endless].concat());
    let module = |text: &str| wat::parse_str(text).unwrap();
    let counting = a.deploy(&module(COUNTING), &["--max-fuel", "100M"]).unwrap();
    assert_eq!(b.call("POST", &format!("/f/{counting}/"), &[], b"").status, 200);
    for text in [COUNTING, crate::node::ECHO] {
        gateway.deploy(&module(text), &[]).unwrap();
    }
    let endless = gateway.deploy(&module(ENDLESS), &[]).unwrap();
    told(&gateway, &["channel", "open", "--escrow", "5M"]);
    let call = |function: &str| {
        told(&gateway, &["invoke", function, "--pay", "--max-fuel", "100M", "--data", "x"])
    };
    let count = || {
        let said = call(&counting);
        assert_eq!((&said["body"], &said["verified"]), (&"counted".into(), &true.into()), "{said}");
        via(&gateway, &said)
    };
    assert_eq!(count(), None, "nothing else runs here");
    assert_eq!(forwards(&gateway), (0, 0));

    let mut held = Connection::open(gateway.addr).unwrap();
    let request = format!("POST /f/{endless}/ HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
    held.send(request.as_bytes()).unwrap();
    until("the one slot is taken", || (long_runs(&gateway) >= 1.0).then_some(()));
    // Without money nothing is passed on: this one is told to come again.
    let free = gateway.call("POST", &format!("/f/{counting}/"), &[], b"");
    assert_eq!((free.status, free.code().as_str()), (503, "overloaded"));
    let inner = count().expect("another host ran it");
    assert_eq!(forwards(&gateway), (1, 0));
    let ran = [&a, &b].map(|node| node.call("GET", &format!("/receipts/{inner}"), &[], b"").status);
    assert!(ran == [200, 404] || ran == [404, 200], "{ran:?}");
    // What ends within its first slice needs none of those slots.
    assert_eq!(via(&gateway, &call(&echo)), None);

    drop(held);
    until("the slot is free", || (long_runs(&gateway) == 0.0).then_some(()));
    assert_eq!(count(), None, "it runs here again");
    assert_eq!(forwards(&gateway), (1, 0));
}

/// What a gateway has put into its channel to each host: the host, what was ever put in, what is owed, what is vouched.
fn channels(gateway: &Node) -> Vec<(String, u64, u64, u64)> {
    let view = gateway.call("GET", "/forwards", &[], b"").json();
    let of = |channel: &Value| {
        let [escrow, redeemed, owed, vouched] =
            ["escrow", "redeemed", "owed", "vouched"].map(|field| number(&channel[field]));
        (channel["host"].as_str().unwrap().to_owned(), escrow + redeemed, owed, vouched)
    };
    view["channels"].as_array().unwrap().iter().map(of).collect()
}

fn invoke(gateway: &Node, function: &str) -> Result<Value, String> {
    // 310 tal at most at a host, some 11 in truth.
    let args = ["invoke", function, "--pay", "--max-fuel", "3M", "--data", "x"];
    let output = gateway.cli(&[&args[..], &["--output", "json"]].concat());
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        false => Err(all(&output)),
    }
}

#[test]
fn a_channel_that_runs_low_is_topped_up_and_no_call_is_lost_for_it() {
    let folders = folders();
    let settings = ["forward.when=always", "forward.escrow=400", "forward.budget=20000"];
    let Three { a, b, gateway, function, .. } = three(&folders, &settings);
    told(&gateway, &["channel", "open", "--escrow", "5M"]);
    let mut calls = 0;
    let topped = until("a channel is topped up", || {
        invoke(&gateway, &function).unwrap();
        calls += 1;
        let topped = channels(&gateway).into_iter().find(|(_, sum, ..)| *sum > 400);
        assert!(topped.is_some() || calls < 40, "{:?} after {calls} calls", channels(&gateway));
        topped
    });
    println!("{} was given {} tal after {calls} calls", topped.0, topped.1);
    // Its channel could pay for one call: several at once wait for one top-up, and each is answered.
    std::thread::scope(|scope| {
        let burst: Vec<_> =
            (0..6).map(|_| scope.spawn(|| invoke(&gateway, &function).unwrap())).collect();
        burst.into_iter().for_each(|call| assert_eq!(call.join().unwrap()["body"], "x"));
    });
    let given = until("every bill is promised", || {
        let given = channels(&gateway);
        given.iter().all(|(.., owed, vouched)| owed == vouched).then_some(given)
    });
    let mut hosts: Vec<&str> = given.iter().map(|(host, ..)| host.as_str()).collect();
    hosts.sort_unstable();
    let mut expected = [&a, &b].map(|node| host_of(node).to_string());
    expected.sort();
    assert_eq!(hosts, expected, "one channel for each host, however often it was topped up");
    assert!(given.iter().all(|(_, sum, owed, _)| owed <= sum && owed > &0), "{given:?}");
    assert_eq!(forwards(&gateway), (calls + 6, 0));
    // The hosts know the same sums.
    for (host, _, owed, _) in &given {
        let node = [&a, &b].into_iter().find(|node| host_of(node).to_string() == *host).unwrap();
        let view = gateway.call("GET", "/forwards", &[], b"").json();
        let of = |it: &&Value| it["host"] == host.as_str();
        let channel =
            view["channels"].as_array().unwrap().iter().find(of).unwrap()["channel"].clone();
        let path = format!("/vouchers/{}", channel.as_str().unwrap());
        let account = node.call("GET", &path, &[], b"").json();
        assert_eq!((number(&account["owed"]), number(&account["vouched"])), (*owed, *owed));
    }
}

#[test]
fn a_gateway_locks_no_more_than_its_budget_and_a_call_beyond_it_is_refused_unbilled() {
    let folders = folders();
    // A channel for each host, and nothing to top one up with.
    let settings = ["forward.when=always", "forward.escrow=400", "forward.budget=1000"];
    let Three { a: _a, b: _b, gateway, function, .. } = three(&folders, &settings);
    told(&gateway, &["channel", "open", "--escrow", "5M"]);
    let mut calls: u64 = 0;
    let refused = until("the budget is used up", || match invoke(&gateway, &function) {
        Ok(_) => {
            calls += 1;
            assert!(calls < 100, "{:?}", channels(&gateway));
            None
        }
        Err(said) => Some(said),
    });
    assert!(refused.contains("forward_unfunded"), "{refused}");
    let (passed, failed) = forwards(&gateway);
    assert_eq!((passed, failed), (calls, 1));
    let given = channels(&gateway);
    assert!(given.iter().map(|(_, sum, ..)| sum).sum::<u64>() <= 1000, "{given:?}");
    // The caller owes for what was answered and for nothing else.
    told(&gateway, &["channel", "voucher"]);
    let shown = told(&gateway, &["channel", "show"]);
    let owed = number(&shown["account"]["owed"]);
    let hosts: u64 = given.iter().map(|(.., owed, _)| owed).sum();
    assert_eq!(owed, 2 * hosts, "{shown} {given:?}");
}
