//! Settings as data: what each source gives, which wins, and what a fault says.

use expect_test::{Expect, expect};
use talea_ledger::profile::WORST_NANOS_PER_FUEL;

use super::*;

fn load(
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("talea.toml");
    std::fs::write(&path, file).unwrap();
    let pairs = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let sources = Sources {
        file: Some(path),
        environment: pairs(environment).into_iter().collect(),
        flags: pairs(flags),
    };
    let at = folder.path().display().to_string();
    Config::load(&sources).map_err(|fault| fault.to_string().replace(&at, "."))
}

fn check_fault(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)], expected: Expect) {
    match load(file, environment, flags) {
        Ok(config) => panic!("was taken: {config:?}"),
        Err(message) => expected.assert_eq(&message),
    }
}

#[test]
fn a_fault_names_its_place() {
    let data = [("data", "d")];
    check_fault(
        "",
        &[],
        &[],
        expect!["`data` is not set: give it as --data, TALEA_DATA or in the settings file"],
    );
    check_fault(
        "listen = \"localhost\"",
        &[],
        &data,
        expect![
            "./talea.toml:1: `listen` must be an address and port such as 127.0.0.1:7600 or [::1]:7600, not `localhost`"
        ],
    );
    check_fault(
        "\n[price]\nper_cal = 1\n",
        &[],
        &data,
        expect![
            "./talea.toml:3:1: unknown field `per_cal`, expected one of `per_call`, `rate`, `per_kib`"
        ],
    );
    check_fault(
        "\n[price]\nrate = -1\n",
        &[],
        &data,
        expect![
            "./talea.toml:3: `price.rate` must be a whole number, such as 1000 or 1_000, not `-1`"
        ],
    );
    check_fault(
        "[limits]\nmemory = \"5 GiB\"",
        &[],
        &data,
        expect!["./talea.toml:2: `limits.memory` must be a size from 64 KiB to 4 GiB, not `5 GiB`"],
    );
    check_fault(
        "[limits]\nfuel = 11\nfuel_max = 10\n",
        &[],
        &data,
        expect!["./talea.toml:2: `limits.fuel` must be from 1 to 10, not `11`"],
    );
    check_fault(
        "[http]\nbody = \"1 TB\"\n",
        &[],
        &data,
        expect![
            "./talea.toml:2: `http.body` must be a size, such as 65536, 64 KiB or 16 MiB, not `1 TB`"
        ],
    );
    check_fault(
        "listen = ",
        &[],
        &data,
        expect!["./talea.toml:1:10: string values must be quoted, expected literal string"],
    );
    check_fault(
        "",
        &[("TALEA_PRICE_PERCALL", "1")],
        &data,
        expect![
            "environment variable TALEA_PRICE_PERCALL: `price_percall` is not a setting; did you mean `price.per_call`?"
        ],
    );
    check_fault(
        "",
        &[("TALEA_HTTP_GRACE", "10")],
        &data,
        expect![
            "environment variable TALEA_HTTP_GRACE: `http.grace` must be a time with its unit, such as 500ms, 10s, 5m, 12h or 7d, not `10`"
        ],
    );
    check_fault(
        "",
        &[("TALEA_CREDIT_PAYERS", "did:key:zzz")],
        &data,
        expect![
            "environment variable TALEA_CREDIT_PAYERS: `credit.payers` must be a list of keys, each such as did:key:z6Mk..., not `did:key:zzz`"
        ],
    );
    check_fault(
        "",
        &[],
        &[("data", "d"), ("log.formt", "json")],
        expect!["flag --log-formt: `log.formt` is not a setting; did you mean `log.format`?"],
    );
    check_fault(
        "",
        &[],
        &[("data", "d"), ("log.format", "xml")],
        expect!["flag --log-format: `log.format` must be text or json, not `xml`"],
    );
    check_fault(
        "[network]\nparams = 7",
        &[],
        &data,
        expect!["./talea.toml:2: `network.params` must be a path, not `7`"],
    );
}

#[test]
fn a_missing_file_is_named() {
    let sources = Sources { file: Some("/nowhere/talea.toml".into()), ..Sources::default() };
    let fault = Config::load(&sources).unwrap_err();
    assert_eq!(fault.to_string(), "/nowhere/talea.toml: cannot be read");
    assert!(std::error::Error::source(&fault).is_some());
}

#[test]
fn flags_win_over_variables_over_the_file() {
    let file = "data = \"f\"\n[price]\nper_call = 1\nrate = 2\nper_kib = 3\n";
    let variables = [("TALEA_PRICE_RATE", "20"), ("TALEA_PRICE_PER_KIB", "30")];
    let config = load(file, &variables, &[("price.per_kib", "300")]).unwrap();
    assert_eq!(config.price, Price { per_call: Tal(1), rate: 20, per_kib: Tal(300) });
    assert_eq!(config.data, Path::new("f"));
    assert_eq!(config.key_file, Path::new("f/key"));
}

#[test]
fn variables_of_other_tools_are_left_alone() {
    load("data = \"d\"", &[("TALEA_NODE", "http://x"), ("TALEA_OUTPUT", "json")], &[]).unwrap();
}

#[test]
fn calls_are_passed_on_only_with_a_budget() {
    let forward = |flags: &[(&str, &str)]| {
        let flags = [&[("data", "d")][..], flags].concat();
        let flags = flags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let sources = Sources { flags: flags.collect(), ..Sources::default() };
        Config::load(&sources).map(|config| config.forward)
    };
    let by_default = forward(&[]).unwrap();
    assert_eq!((by_default.when, by_default.is_on()), (Forwarding::Busy, false));
    assert!(forward(&[("forward.budget", "1")]).unwrap().is_on());
    let never = [("forward.budget", "1"), ("forward.when", "never")];
    assert!(!forward(&never).unwrap().is_on());
    let always = [("forward.budget", "1"), ("forward.when", "always")];
    assert_eq!(forward(&always).unwrap().when, Forwarding::Always);
    for wrong in [("forward.when", "sometimes"), ("forward.escrow", "0"), ("forward.time", "0s")] {
        let fault = forward(&[wrong]).unwrap_err().to_string();
        assert!(fault.contains(wrong.0), "{fault}");
    }
}

#[test]
fn what_is_open_depends_on_who_can_reach_it() {
    let local = load("data = \"d\"", &[], &[]).unwrap();
    assert!(local.http.open_lists && local.free.per_second.is_none());
    assert!(matches!(local.deploy, Deploy::Anyone));
    let public = load("data = \"d\"\nlisten = \"0.0.0.0:7600\"", &[], &[]).unwrap();
    assert!(!public.http.open_lists);
    assert_eq!(public.free.per_second, Some(100));
    assert!(matches!(public.deploy, Deploy::Keys(keys) if keys.is_empty()));
}

#[test]
fn a_port_for_other_nodes_is_opened_only_for_a_network() {
    let network = |file: &str, flags: &[(&str, &str)]| {
        load(&format!("data = \"d\"\n{file}"), &[], flags).unwrap().network
    };
    let alone = network("", &[]);
    assert!(!alone.is_on() && !alone.is_joining());
    assert_eq!(alone.listen, [""; 0]);
    // As far as its HTTP listens.
    let joining = network("", &[("network.join", "/ip4/192.0.2.1/tcp/1,/dns/a/tcp/2")]);
    assert!(joining.is_on() && joining.is_joining());
    assert_eq!(joining.join, ["/ip4/192.0.2.1/tcp/1", "/dns/a/tcp/2"]);
    assert_eq!(joining.listen, ["/ip4/127.0.0.1/tcp/0"]);
    let public = network("listen = \"0.0.0.0:1\"\n[network]\nparams = \"p\"", &[]);
    assert!(public.is_on() && !public.is_joining());
    assert_eq!(public.listen, PEER_LISTEN);
    let told = network("[network]\nlisten = [\"/ip4/10.0.0.1/tcp/9\"]\npeers_max = 7", &[]);
    assert_eq!((told.listen, told.peers_max), (vec!["/ip4/10.0.0.1/tcp/9".to_owned()], 7));
    check_fault(
        "[network]\njoin = [\"192.0.2.1:7601\"]",
        &[],
        &[("data", "d")],
        expect![[
            r#"./talea.toml:2: `network.join` must be a list of multiaddresses, each such as /ip4/192.0.2.1/tcp/7601/p2p/12D3Koo..., not `["192.0.2.1:7601"]`"#
        ]],
    );
    check_fault(
        "",
        &[],
        &[("data", "d"), ("network.id", "12")],
        expect![
            "flag --network-id: `network.id` must be a network's id: 64 hexadecimal digits, not `12`"
        ],
    );
}

#[test]
fn the_printing_loads_again_and_hides_the_key_file() {
    let file = "data = \"d\"\nkey_file = \"/secret/place\"\n[limits]\nlog = 1000\n[free]\ncalls = false\n[network]\nparams = \"p\"\njoin = [\"/ip4/192.0.2.1/tcp/1\"]\nmdns = true\n";
    let config = load(file, &[], &[]).unwrap();
    let printed = config.redacted();
    assert!(!printed.contains("/secret/place"), "{printed}");
    let again = load(&printed, &[], &[("key_file", "/secret/place")]).unwrap();
    assert_eq!(format!("{config:?}"), format!("{again:?}"));
}

#[test]
fn the_default_fuel_limits_are_covered_by_the_default_wall_clock_limit() {
    let config = load("", &[], &[("data", "d")]).unwrap();
    let worst = |fuel: Fuel| u128::from(fuel.0) * u128::from(WORST_NANOS_PER_FUEL);
    let wall = config.compute.wall_time_max.as_nanos();
    assert!(worst(config.runs.fuel_max) <= wall, "{:?}", config.runs.fuel_max);
    assert!(worst(config.runs.fuel_free) <= wall, "{:?}", config.runs.fuel_free);
}

#[test]
fn long_runs_at_once_are_bounded_below_the_slots_that_there_are() {
    let runs = |count: &str| load("", &[], &[("data", "d"), ("compute.runs", count)]);
    assert_eq!(runs("1").unwrap().compute.runs_max, 1);
    assert_eq!(load("", &[], &[("data", "d")]).unwrap().compute.runs_max, 128);
    for wrong in ["0", "129", "many"] {
        assert!(runs(wrong).unwrap_err().to_string().contains("compute.runs"), "{wrong}");
    }
}

#[test]
fn a_node_relays_for_others_only_when_it_is_told_to() {
    assert!(!load("", &[], &[("data", "d")]).unwrap().network.relay);
    let told = load("data = \"d\"\n[network]\nrelay = true\n", &[], &[]).unwrap();
    assert!(told.network.relay);
    assert!(load(&told.redacted(), &[], &[]).unwrap().network.relay);
}
