//! `talea node`: run a node until it is asked to end.
//!
//! Owns: flags into settings, the log's form. Invariants: a configuration that does not describe a node
//! ends with 64 before anything is opened; the one line on standard output says where it listens, and is printed
//! when it does. Absent: everything a node does, its end by a signal included (`node`).

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use talea_runtime::config::{self, Config, LogFormat, Sources};
use talea_runtime::executor::ask_for_short_turns;
use talea_runtime::node::{self, Running};
use tracing_subscriber::EnvFilter;

use super::Context;
use super::exit::{Exit, Failure, OrExit as _, Ran};

/// Calls are told one by one only to who asks for it: at 100,000 a second nobody reads them.
const CALL_EVENTS: &str = "talea::call";

/// What `talea node` takes. Every other setting has a name in the file, a variable, and `--set`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  talea node --data ./data                          on 127.0.0.1:7600, free calls, anyone here may deploy
  talea node --data /var/lib/talea --config /etc/talea.toml
  talea node --data ./data --listen 0.0.0.0:7600 --payers did:key:z6Mk.. --price-per-call 10
  talea node --data ./data --join /ip4/192.0.2.1/tcp/7601/p2p/12D3Koo..   become a node of that node's network
  talea node --data ./gate --join /ip4/.. --set forward.when=always --set forward.budget=50000000
                                                    run no paid call, have other hosts run them and pay them
  talea node --data ./data --set http.body=1MiB --check   print the settings and end

A node is a development network of its own unless the settings, its data folder or --join say otherwise. It opens a
port for other nodes only when it is told of a network or of --peer-listen.

Settings come from flags, then TALEA_* variables, then the file (--config, TALEA_CONFIG or DATA/talea.toml),
then defaults: price.per_call is --price-per-call, TALEA_PRICE_PER_CALL and per_call under [price].
Ctrl-C or SIGTERM drains: what was begun is answered, then it ends.")]
pub(super) struct NodeRunArgs {
    /// The data folder; made when it is not there
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// The address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// The settings file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A node to begin with, as a multiaddress; several with commas, or several times
    #[arg(long, value_name = "MULTIADDR", value_delimiter = ',')]
    join: Vec<String>,
    /// Where to listen for other nodes, as a multiaddress; several with commas, or several times
    #[arg(long, value_name = "MULTIADDR", value_delimiter = ',')]
    peer_listen: Vec<String>,
    /// Join this network and no other: its id
    #[arg(long, value_name = "ID")]
    network: Option<String>,
    /// Write the addresses that other nodes reach this one at into a file
    #[arg(long, value_name = "FILE")]
    peer_addr_file: Option<PathBuf>,
    /// Keys that may pay here on credit; several with commas, or several times
    #[arg(long, value_name = "KEY", value_delimiter = ',')]
    payers: Vec<String>,
    /// Tal for one call
    #[arg(long, value_name = "TAL")]
    price_per_call: Option<String>,
    /// Tal for a million units of fuel
    #[arg(long, value_name = "TAL")]
    price_rate: Option<String>,
    /// Tal for 1,024 bytes of input and output
    #[arg(long, value_name = "TAL")]
    price_per_kib: Option<String>,
    /// The most fuel of one run, and what a run gets that asks for nothing
    #[arg(long, value_name = "COUNT")]
    fuel_limit: Option<String>,
    /// How long a client may take for a request's head
    #[arg(long, value_name = "TIME")]
    header_timeout: Option<String>,
    /// How long a client may take for a request's body
    #[arg(long, value_name = "TIME")]
    body_timeout: Option<String>,
    /// The form of the log on standard error: text or json
    #[arg(long, value_name = "FORM")]
    log_format: Option<String>,
    /// What is logged: error, warn, info, debug, or a filter such as info,talea::call=info
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// Any other setting, `key=value`
    #[arg(long = "set", value_name = "PAIR")]
    settings: Vec<String>,
    /// Print the settings as they come together, and end
    #[arg(long)]
    check: bool,
}

/// Runs `talea node`.
pub(super) fn run(args: &NodeRunArgs, context: &Context) -> Ran {
    let sources = Sources::of_process(args.file(), args.flags()?);
    let config = load(&sources)?;
    if args.check {
        context.screen.bytes(config.redacted().as_bytes());
        return Ok(Exit::Ok);
    }
    log_to_stderr(&config, context)?;
    // Before the first thread is started: they all take it over.
    ask_for_short_turns();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.or_exit(Exit::Failed, || "cannot start threads")?.block_on(serve(config, context))
}

async fn serve(config: Config, context: &Context) -> Ran {
    let running = start(config).await?;
    let address = format!("http://{}", running.addr());
    if context.screen.is_json() {
        let host = running.host().to_string();
        let network = running.network().id().to_string();
        context
            .screen
            .json_line(&json!({ "listening": address, "host": host, "network": network, "peers": running.peer_addresses() }));
    } else {
        context.screen.line(format_args!("listening on {address}"));
        context.screen.note(format_args!("host {}", running.host()));
        let network = running.network();
        context.screen.note(format_args!("network {} ({})", network.id(), network.params().name));
        for address in running.peer_addresses() {
            context.screen.note(format_args!("other nodes join with --join {address}"));
        }
    }
    running.until_told().await.or_exit(Exit::Failed, || "the node failed")?;
    context.screen.note("ended: everything that was begun is answered");
    Ok(Exit::Ok)
}

/// Opens a node; what goes wrong here went wrong before anything was served.
pub(super) async fn start(config: Config) -> Result<Running, Failure> {
    let listen = config.listen;
    node::start(config).await.map_err(|error| {
        let cause = anyhow::Error::new(error).context("the node cannot start");
        let is_taken = format!("{cause:#}").contains("in use");
        let failure = Failure::new(Exit::Failed, cause);
        if is_taken {
            failure.advise(format!("something else listens on {listen}: choose another --listen"))
        } else {
            failure
        }
    })
}

/// Makes a configuration; every fault in it is the user's to mend.
pub(super) fn load(sources: &Sources) -> Result<Config, Failure> {
    Config::load(sources).map_err(|error| {
        let is_data = error.to_string().contains("`data`");
        let failure = Failure::new(Exit::Config, error);
        if is_data { failure.advise("talea node --data ./data") } else { failure }
    })
}

/// The log, as the settings have it.
fn log_to_stderr(config: &Config, context: &Context) -> Result<(), Failure> {
    let log = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(context.screen.err_is_coloured())
        .with_env_filter(filter(&config.log.filter)?);
    match config.log.format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    }
    .map_err(|error| Failure::said(Exit::Failed, error.to_string()))
}

/// A filter in which single calls are off unless they are named.
pub(super) fn filter(text: &str) -> Result<EnvFilter, Failure> {
    let text = if text.contains(CALL_EVENTS) {
        text.to_owned()
    } else {
        format!("{text},{CALL_EVENTS}=off")
    };
    EnvFilter::try_new(&text).or_exit(Exit::Config, || format!("`{text}` is not a log filter"))
}

// === impl NodeRunArgs ===

impl NodeRunArgs {
    /// The settings file: the one that was named, else the one in the data folder, if it is there.
    fn file(&self) -> Option<PathBuf> {
        let beside = || self.data.as_deref().map(config::file_in).filter(|file| file.is_file());
        let named_elsewhere = std::env::var_os(config::FILE_VARIABLE).is_some();
        self.config.clone().or_else(|| if named_elsewhere { None } else { beside() })
    }

    /// The flags as settings.
    fn flags(&self) -> Result<Vec<(String, String)>, Failure> {
        let data = self.data.as_ref().map(|data| data.display().to_string());
        let peer_addr_file = self.peer_addr_file.as_ref().map(|file| file.display().to_string());
        let several = |list: &[String]| (!list.is_empty()).then(|| list.join(","));
        let payers = several(&self.payers);
        let (join, peer_listen) = (several(&self.join), several(&self.peer_listen));
        let named = [
            ("data", &data),
            ("listen", &self.listen),
            ("network.join", &join),
            ("network.listen", &peer_listen),
            ("network.id", &self.network),
            ("network.addr_file", &peer_addr_file),
            ("credit.payers", &payers),
            ("price.per_call", &self.price_per_call),
            ("price.rate", &self.price_rate),
            ("price.per_kib", &self.price_per_kib),
            ("limits.fuel_max", &self.fuel_limit),
            ("limits.fuel", &self.fuel_limit),
            ("http.head_time", &self.header_timeout),
            ("http.body_time", &self.body_timeout),
            ("log.format", &self.log_format),
            ("log.filter", &self.log),
        ];
        let mut flags: Vec<(String, String)> = named
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)))
            .collect();
        for pair in &self.settings {
            let split = pair.split_once('=');
            let (key, value) = split.ok_or_else(|| {
                Failure::said(Exit::Usage, format!("--set {pair}: expected key=value"))
            })?;
            flags.push((key.trim().to_owned(), value.trim().to_owned()));
        }
        Ok(flags)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: NodeRunArgs,
    }

    fn flags(words: &[&str]) -> Result<Vec<(String, String)>, Exit> {
        let line = Line::try_parse_from(std::iter::once(&"node").chain(words)).unwrap();
        line.args.flags().map_err(|failure| failure.exit())
    }

    #[test]
    fn flags_become_settings_under_their_own_names() {
        let given = [
            "--data",
            "d",
            "--join",
            "/a,/b",
            "--peer-listen",
            "/c",
            "--payers",
            "a,b",
            "--payers",
            "c",
            "--fuel-limit",
            "9",
            "--set",
            "http.body = 1MiB",
        ];
        let expected = [
            ("data", "d"),
            ("network.join", "/a,/b"),
            ("network.listen", "/c"),
            ("credit.payers", "a,b,c"),
            ("limits.fuel_max", "9"),
            ("limits.fuel", "9"),
            ("http.body", "1MiB"),
        ];
        let found = flags(&given).unwrap();
        let found: Vec<_> =
            found.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(found, expected);
        assert_eq!(flags(&["--set", "no-equals-sign"]), Err(Exit::Usage));
    }

    #[test]
    fn a_configuration_that_describes_no_node_ends_with_64() {
        for flags in [
            vec![],
            vec![("data", "d"), ("listen", "nowhere")],
            vec![("data", "d"), ("no.such", "x")],
            vec![("data", "d"), ("price.rate", "-1")],
        ] {
            let flags =
                flags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            let failure = load(&Sources { flags, ..Sources::default() }).unwrap_err();
            assert_eq!(failure.exit(), Exit::Config, "{}", failure.sentence());
        }
    }

    #[test]
    fn single_calls_are_not_logged_unless_they_are_asked_for() {
        assert!(filter("info").unwrap().to_string().contains("talea::call=off"));
        assert!(!filter("info,talea::call=info").unwrap().to_string().contains("off"));
        assert_eq!(filter("talea=loudest").unwrap_err().exit(), Exit::Config);
    }
}
