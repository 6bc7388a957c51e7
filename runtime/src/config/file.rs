//! The settings file: `RawConfig` is its shape and nothing more, each value with its place in the text.
//!
//! Absent: meaning. A value is text, number, switch or list here; `layers` and `value` say what it is.

use std::fmt::Write as _;

use serde::Deserialize;
use toml::{Spanned, Value};

use super::{Config, Deploy, LogFormat, Peering, value};

/// One section of the file: its struct for serde, and its values by their full key.
macro_rules! section {
    ($name:ident, $prefix:literal, [$($field:ident),+ $(,)?]) => {
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name { $( $field: Option<Spanned<Value>>, )+ }

        impl $name {
            fn values(self) -> Vec<(&'static str, Spanned<Value>)> {
                let mut found = Vec::new();
                $( if let Some(value) = self.$field {
                    found.push((concat!($prefix, stringify!($field)), value));
                } )+
                found
            }
        }
    };
}

section!(
    RawNetwork,
    "network.",
    [
        params, id, join, listen, addr_file, external, mdns, nat, relays, relay, peers_max,
        endpoint, offer, fetch, fetch_size
    ]
);
section!(RawPrice, "price.", [per_call, rate, per_kib]);
section!(RawCredit, "credit.", [payers, cap]);
section!(RawChannels, "channels.", [watermark, exposure, redeem]);
section!(RawForward, "forward.", [when, budget, escrow, time]);
section!(RawFree, "free.", [calls, per_second, burst]);
section!(RawDeploy, "deploy.", [anyone, keys]);
section!(RawLimits, "limits.", [fuel, fuel_max, memory, output, log]);
section!(
    RawHttp,
    "http.",
    [
        body,
        module,
        connections,
        in_flight,
        head_time,
        body_time,
        write_time,
        idle_time,
        grace,
        open_lists
    ]
);
section!(RawCompute, "compute.", [workers, runs, wall_time, cache]);
section!(RawRetention, "retention.", [age, paid, unpaid, size]);
section!(RawLog, "log.", [format, filter]);

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    listen: Option<Spanned<Value>>,
    addr_file: Option<Spanned<Value>>,
    data: Option<Spanned<Value>>,
    key_file: Option<Spanned<Value>>,
    #[serde(default)]
    network: RawNetwork,
    #[serde(default)]
    price: RawPrice,
    #[serde(default)]
    credit: RawCredit,
    #[serde(default)]
    channels: RawChannels,
    #[serde(default)]
    forward: RawForward,
    #[serde(default)]
    free: RawFree,
    #[serde(default)]
    deploy: RawDeploy,
    #[serde(default)]
    limits: RawLimits,
    #[serde(default)]
    http: RawHttp,
    #[serde(default)]
    compute: RawCompute,
    #[serde(default)]
    retention: RawRetention,
    #[serde(default)]
    log: RawLog,
}

impl RawConfig {
    /// Every value that the file gives, by its full key.
    pub(super) fn values(self) -> Vec<(&'static str, Spanned<Value>)> {
        let top = [
            ("listen", self.listen),
            ("addr_file", self.addr_file),
            ("data", self.data),
            ("key_file", self.key_file),
        ];
        let mut found: Vec<_> =
            top.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        found.extend(self.network.values());
        found.extend(self.price.values());
        found.extend(self.credit.values());
        found.extend(self.channels.values());
        found.extend(self.forward.values());
        found.extend(self.free.values());
        found.extend(self.deploy.values());
        found.extend(self.limits.values());
        found.extend(self.http.values());
        found.extend(self.compute.values());
        found.extend(self.retention.values());
        found.extend(self.log.values());
        found
    }
}

/// A `Config` as a file; what it was made from, but for the key file.
pub(super) fn render(config: &Config) -> String {
    let mut text = String::new();
    let mut put = |line: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{line}");
    };
    let quoted = |text: &dyn std::fmt::Display| Value::String(text.to_string()).to_string();
    let keys = |keys: &[talea_ledger::PublicKey]| {
        Value::Array(keys.iter().map(|key| Value::String(key.to_string())).collect()).to_string()
    };
    put(format!("listen = {}", quoted(&config.listen)));
    if let Some(path) = &config.addr_file {
        put(format!("addr_file = {}", quoted(&path.display())));
    }
    put(format!("data = {}", quoted(&config.data.display())));
    put("# key_file is set, and not shown".to_owned());
    render_network(&config.network, &mut put);
    let price = &config.price;
    put("\n[price]".to_owned());
    put(format!("per_call = {}", price.per_call.0));
    put(format!("rate = {}", price.rate));
    put(format!("per_kib = {}", price.per_kib.0));
    put("\n[credit]".to_owned());
    put(format!("payers = {}", keys(&config.credit.payers)));
    put(format!("cap = {}", config.credit.cap.0));
    put("\n[channels]".to_owned());
    put(format!("watermark = {}", config.channels.watermark.0));
    put(format!("exposure = {}", config.channels.exposure.0));
    put(format!("redeem = {}", config.channels.redeem.0));
    let forward = &config.forward;
    put("\n[forward]".to_owned());
    put(format!("when = \"{}\"", forward.when.word()));
    put(format!("budget = {}", forward.budget.0));
    put(format!("escrow = {}", forward.escrow.0));
    put(format!("time = \"{}ms\"", forward.time_max.as_millis()));
    put("\n[free]".to_owned());
    put(format!("calls = {}", config.free.calls));
    put(format!("per_second = {}", config.free.per_second.unwrap_or(0)));
    put(format!("burst = {}", config.free.burst));
    put("\n[deploy]".to_owned());
    match &config.deploy {
        Deploy::Anyone => put("anyone = true".to_owned()),
        Deploy::Keys(list) => {
            put("anyone = false".to_owned());
            put(format!("keys = {}", keys(list)));
        }
    }
    render_bounds(config, &mut put);
    text
}

fn render_network(network: &Peering, put: &mut dyn FnMut(String)) {
    let quoted = |text: &dyn std::fmt::Display| Value::String(text.to_string()).to_string();
    let list = |texts: &[String]| {
        Value::Array(texts.iter().cloned().map(Value::String).collect()).to_string()
    };
    put("\n[network]".to_owned());
    if let Some(path) = &network.params {
        put(format!("params = {}", quoted(&path.display())));
    }
    if let Some(id) = &network.id {
        put(format!("id = {}", quoted(id)));
    }
    put(format!("join = {}", list(&network.join)));
    put(format!("listen = {}", list(&network.listen)));
    if let Some(path) = &network.addr_file {
        put(format!("addr_file = {}", quoted(&path.display())));
    }
    put(format!("external = {}", list(&network.external)));
    put(format!("mdns = {}", network.mdns));
    put(format!("nat = {}", network.nat));
    put(format!("relays = {}", list(&network.relays)));
    put(format!("relay = {}", network.relay));
    put(format!("peers_max = {}", network.peers_max));
    put(format!("offer = {}", network.offer));
    put(format!("fetch = {}", network.fetch));
    put(format!("fetch_size = {}", quoted(&value::show_size(network.fetch_len_max))));
    if let Some(endpoint) = &network.endpoint {
        put(format!("endpoint = {}", quoted(endpoint)));
    }
}

fn render_bounds(config: &Config, put: &mut dyn FnMut(String)) {
    let size = |bytes: u64| Value::String(value::show_size(bytes)).to_string();
    let time =
        |wait: std::time::Duration| Value::String(format!("{}ms", wait.as_millis())).to_string();
    let runs = &config.runs;
    put("\n[limits]".to_owned());
    put(format!("fuel = {}", runs.fuel_free.0));
    put(format!("fuel_max = {}", runs.fuel_max.0));
    put(format!("memory = {}", size(u64::from(runs.memory_max.0) * 65_536)));
    put(format!("output = {}", size(runs.output_len_max)));
    put(format!("log = {}", size(runs.log_len_max)));
    let http = &config.http;
    put("\n[http]".to_owned());
    put(format!("body = {}", size(http.body_len_max)));
    put(format!("module = {}", size(http.module_len_max)));
    put(format!("connections = {}", http.connections_max));
    put(format!("in_flight = {}", http.in_flight_max));
    put(format!("head_time = {}", time(http.head_time_max)));
    put(format!("body_time = {}", time(http.body_time_max)));
    put(format!("write_time = {}", time(http.write_time_max)));
    put(format!("idle_time = {}", time(http.idle_time_max)));
    put(format!("grace = {}", time(http.grace)));
    put(format!("open_lists = {}", http.open_lists));
    put("\n[compute]".to_owned());
    put(format!("workers = {}", config.compute.workers));
    put(format!("runs = {}", config.compute.runs_max));
    put(format!("wall_time = {}", time(config.compute.wall_time_max)));
    put(format!("cache = {}", size(config.compute.cache_len_max as u64)));
    put("\n[retention]".to_owned());
    put(format!("age = {}", time(config.retention.age)));
    put(format!("paid = {}", time(config.retention.paid)));
    put(format!("unpaid = {}", time(config.retention.unpaid)));
    put(format!("size = {}", size(config.retention.len_max)));
    put("\n[log]".to_owned());
    let format = match config.log.format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    };
    put(format!("format = \"{format}\""));
    put(format!("filter = {}", Value::String(config.log.filter.clone())));
}
