//! The node's own taste: text from a file, the environment and flags, made into one typed `Config`.
//!
//! Invariants: this is the only module that reads the environment or a settings file. Every fault names
//! the place it came from (file and line, variable or flag), and is found before a port is bound. A
//! setting given on a flag wins over the environment, the environment over the file, the file over the
//! default.
//! Absent: network parameters (they are documents with a digest, not settings), secrets (only the path
//! of the key file is a setting), `Default` for `Config` (a node without a data folder is a mistake).

mod file;
mod layers;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use talea_ledger::{Fuel, NetworkId, Pages, Price, PublicKey, Tal};

use crate::limits;

/// Exit code of a command whose configuration is wrong: `EX_USAGE` of sysexits.
pub const EXIT_CODE: u8 = 64;
/// Fuel of a free call: usual code takes 0.1 to 0.3 ns a unit, so up to a third of a second.
const FUEL_FREE: u64 = 1_000_000_000;
/// Variable that names the settings file when no flag does.
pub const FILE_VARIABLE: &str = "TALEA_CONFIG";

/// Where settings come from, already read from the process or made by a test.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The settings file, if one was named.
    pub file: Option<PathBuf>,
    /// Environment variables; only those that start with `TALEA_` are looked at.
    pub environment: BTreeMap<String, String>,
    /// `(key, value)` as given on the command line, such as `("price.per_call", "10")`.
    pub flags: Vec<(String, String)>,
}

impl Sources {
    /// The process's environment, with a file and flags from the command line.
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(String, String)>) -> Self {
        let environment: BTreeMap<String, String> =
            std::env::vars().filter(|(name, _)| name.starts_with("TALEA_")).collect();
        let file = file.or_else(|| environment.get(FILE_VARIABLE).map(PathBuf::from));
        Self { file, environment, flags }
    }
}

/// Everything one node needs to know to start. Each part is handed only its piece.
#[derive(Debug, Clone)]
pub struct Config {
    /// The network this node belongs to, and how its nodes reach each other.
    pub network: Peering,
    /// Address to serve HTTP on; port 0 asks the system for a free one.
    pub listen: SocketAddr,
    /// Where to write the bound address, for programs that asked for port 0.
    pub addr_file: Option<PathBuf>,
    /// The data folder.
    pub data: PathBuf,
    /// The node's secret key; made on first start if it is missing.
    pub key_file: PathBuf,
    /// What a paid run costs here.
    pub price: Price,
    /// Who may run on credit.
    pub credit: Credit,
    /// Runs that channels of the ledger pay for.
    pub channels: Channels,
    /// Paid calls that are passed on to other hosts.
    pub forward: Forward,
    /// Unsigned calls.
    pub free: Free,
    /// Who may deploy.
    pub deploy: Deploy,
    /// Bounds of a single run.
    pub runs: Runs,
    /// Bounds of the HTTP side.
    pub http: Http,
    /// Where and how long guests run.
    pub compute: Compute,
    /// How long things are kept.
    pub retention: Retention,
    /// What is written to the log.
    pub log: Log,
}

/// The network a node belongs to, and its connections to other nodes. A node with nothing of this is a development
/// network of its own, and opens no further port.
#[derive(Debug, Clone)]
pub struct Peering {
    /// The file with the network's parameters. Without it they are those that the data folder keeps, or those that the
    /// nodes of `join` tell, or a development network's.
    pub params: Option<PathBuf>,
    /// The network's id, for who wants to join this one and no other.
    pub id: Option<NetworkId>,
    /// Multiaddresses of nodes to begin with.
    pub join: Vec<String>,
    /// Multiaddresses to listen on for other nodes.
    pub listen: Vec<String>,
    /// Where to write the addresses that other nodes reach this one at, for programs that asked for port 0.
    pub addr_file: Option<PathBuf>,
    /// Addresses under which others reach this node, when it cannot find out itself.
    pub external: Vec<String>,
    /// Whether nodes of the same local network find each other by multicast.
    pub mdns: bool,
    /// Whether a node behind a router tries to be reached: through a relay, and by a hole in the router.
    pub nat: bool,
    /// Multiaddresses of relays to use when it cannot be reached otherwise.
    pub relays: Vec<String>,
    /// Whether this node, which can be reached, relays for nodes that cannot: an hour and 3.5 GiB for each connection.
    pub relay: bool,
    /// Connected nodes at once.
    pub peers_max: u32,
    /// Where callers reach this node's HTTP, as it tells others.
    pub endpoint: Option<String>,
    /// Whether this node tells others that it runs paid calls, and at what price.
    pub offer: bool,
    /// Whether functions that are called here and are not here are brought from other nodes.
    pub fetch: bool,
    /// Bytes of functions above which those that were brought give way, the least lately used first.
    pub fetch_len_max: u64,
}

impl Peering {
    /// Whether this node talks to others at all.
    pub fn is_on(&self) -> bool {
        self.mdns || !self.listen.is_empty() || !self.join.is_empty() || self.params.is_some()
    }

    /// Whether it listens for nodes of its own machine alone.
    pub fn is_local(&self) -> bool {
        let is_loopback =
            |text: &String| text.starts_with("/ip4/127.") || text.starts_with("/ip6/::1/");
        self.listen.iter().all(is_loopback)
    }

    /// Whether it is to reach others before it is ready.
    pub fn is_joining(&self) -> bool {
        !self.join.is_empty()
    }
}

/// Payers whose runs are taken without escrow. What they owe is counted and never redeemed: for a network of
/// one's own.
#[derive(Debug, Clone)]
pub struct Credit {
    /// The keys.
    pub payers: Vec<PublicKey>,
    /// What one payer may owe at most.
    pub cap: Tal,
}

/// What a host takes upon itself with channels.
#[derive(Debug, Clone, Copy)]
pub struct Channels {
    /// Work of one channel, caps under way included, that no voucher covers yet.
    pub watermark: Tal,
    /// Escrow that is not final yet and is counted on nevertheless, over all payers.
    pub exposure: Tal,
    /// What a voucher must bring for it to be redeemed before its channel ends.
    pub redeem: Tal,
}

/// Paid calls that this node passes on to another host, which it pays itself.
#[derive(Debug, Clone)]
pub struct Forward {
    /// Which.
    pub when: Forwarding,
    /// The most that may be locked in channels to other hosts at once; nothing is passed on with none.
    pub budget: Tal,
    /// What a channel is opened with, and topped up by.
    pub escrow: Tal,
    /// Real time that another host has for one run.
    pub time_max: Duration,
}

/// Which paid calls are passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarding {
    /// None.
    Never,
    /// Calls of functions that are not here and cannot be brought.
    Missing,
    /// Those, and calls that come while all places for runs are taken.
    Busy,
    /// All: this node runs no paid call, and offers to run none.
    Always,
}

impl Forwarding {
    const ALL: [Self; 4] = [Self::Never, Self::Missing, Self::Busy, Self::Always];

    /// As it stands in settings.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Missing => "missing",
            Self::Busy => "busy",
            Self::Always => "always",
        }
    }
}

impl Forward {
    /// Whether any call may be passed on.
    pub fn is_on(&self) -> bool {
        self.when != Forwarding::Never && self.budget > Tal::ZERO
    }
}

/// Calls that nobody pays for.
#[derive(Debug, Clone)]
pub struct Free {
    /// Whether they are taken at all.
    pub calls: bool,
    /// Calls per second from one address (one /64 for IPv6), `None` for no limit.
    pub per_second: Option<u32>,
    /// Calls an address may make at once after a pause.
    pub burst: u32,
}

/// Who may deploy a function.
#[derive(Debug, Clone)]
pub enum Deploy {
    /// Whoever signs a registration.
    Anyone,
    /// These keys.
    Keys(Vec<PublicKey>),
}

/// What one run may use at most on this node, and what it gets when nobody says.
#[derive(Debug, Clone)]
pub struct Runs {
    /// Fuel of a free call at most.
    pub fuel_free: Fuel,
    /// Fuel of a paid run at most.
    pub fuel_max: Fuel,
    /// Memory at most.
    pub memory_max: Pages,
    /// Output body at most.
    pub output_len_max: u64,
    /// Log at most.
    pub log_len_max: u64,
}

/// Bounds of the HTTP side.
#[derive(Debug, Clone)]
pub struct Http {
    /// Largest request body of a call.
    pub body_len_max: u64,
    /// Largest module that may be deployed.
    pub module_len_max: u64,
    /// Connections at once.
    pub connections_max: usize,
    /// Requests at once, over all connections.
    pub in_flight_max: usize,
    /// Time a client has for a request head once its first byte came.
    pub head_time_max: Duration,
    /// Time a client has for a request body.
    pub body_time_max: Duration,
    /// Time a client may leave an answer untaken.
    pub write_time_max: Duration,
    /// Time a connection may be idle between requests.
    pub idle_time_max: Duration,
    /// Time that requests under way have at shutdown.
    pub grace: Duration,
    /// Whether receipt lists are shown without a signed request.
    pub open_lists: bool,
}

/// Where guests run.
#[derive(Debug, Clone)]
pub struct Compute {
    /// Threads for guests.
    pub workers: usize,
    /// Runs that take longer than a millisecond or so, at once; one more is refused, or passed on to another host.
    pub runs_max: usize,
    /// Real time one run may take; beyond it the run is the host's fault and free.
    pub wall_time_max: Duration,
    /// Bytes of compiled functions kept in memory, ready to run.
    pub cache_len_max: usize,
}

/// How long things are kept.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Receipts older than this go, with their bodies.
    pub age: Duration,
    /// Paid receipts younger than this stay, whatever room they take.
    pub paid: Duration,
    /// Bills that nobody has paid yet stay up to this age, whatever room they take.
    pub unpaid: Duration,
    /// Bytes of receipts above which the oldest go.
    pub len_max: u64,
}

/// What is written to the log.
#[derive(Debug, Clone)]
pub struct Log {
    /// Lines for people or for machines.
    pub format: LogFormat,
    /// `tracing` filter, such as `info` or `info,talea_runtime::gateway=debug`.
    pub filter: String,
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{}: cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not TOML, or has a key that no setting has.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// What the parser says.
        message: String,
    },
    /// A flag or variable that no setting has.
    #[error("{origin}: `{key}` is not a setting{}", suggest(nearest))]
    Unknown {
        /// Where it was given.
        origin: Origin,
        /// What was given.
        key: String,
        /// A setting that is spelled almost so.
        nearest: Option<&'static str>,
    },
    /// A value that the setting cannot take.
    #[error("{origin}: `{key}` must be {expected}, not `{given}`")]
    Value {
        /// Where it was given.
        origin: Origin,
        /// The setting.
        key: &'static str,
        /// What it takes.
        expected: String,
        /// What was given.
        given: String,
    },
    /// A setting without a default that nobody gave.
    #[error("`{key}` is not set: give it as --{}, {} or in the settings file", key.replace('_', "-"), layers::variable(key))]
    Missing {
        /// The setting.
        key: &'static str,
    },
}

fn suggest(nearest: &Option<&'static str>) -> String {
    nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// Where a value was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of the settings file.
    File {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A flag.
    Flag(String),
    /// The built-in default.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(key) => write!(f, "flag --{}", key.replace(['_', '.'], "-")),
            Self::Default => f.write_str("default"),
        }
    }
}

impl Config {
    /// Reads, layers and checks all sources.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let layers = layers::Layers::gather(sources)?;
        Self::from_layers(&layers)
    }

    /// As TOML that `load` takes again, for people to read: the key file's path is left out.
    pub fn redacted(&self) -> String {
        file::render(self)
    }

    fn from_layers(given: &layers::Layers) -> Result<Self, ConfigError> {
        let listen: SocketAddr = given.read("listen", value::address)?;
        let data: PathBuf = given
            .read_optional("data", value::path)?
            .ok_or(ConfigError::Missing { key: "data" })?;
        let key_file =
            given.read_optional("key_file", value::path)?.unwrap_or_else(|| data.join("key"));
        let is_local = listen.ip().is_loopback();
        Ok(Self {
            network: peering(given, is_local)?,
            listen,
            addr_file: given.read_optional("addr_file", value::path)?,
            key_file,
            price: Price {
                per_call: Tal(given.read("price.per_call", value::count)?),
                rate: given.read("price.rate", value::count)?,
                per_kib: Tal(given.read("price.per_kib", value::count)?),
            },
            credit: Credit {
                payers: given.read("credit.payers", value::keys)?,
                cap: Tal(given.read("credit.cap", value::count)?),
            },
            channels: Channels {
                watermark: Tal(given.read("channels.watermark", value::count)?),
                exposure: Tal(given.read("channels.exposure", value::count)?),
                redeem: Tal(given.read("channels.redeem", value::count)?),
            },
            forward: Forward {
                when: given.read("forward.when", value::forwarding)?,
                budget: Tal(given.read("forward.budget", value::count)?),
                escrow: Tal(bounded(given, "forward.escrow", 1, i64::MAX as u64)?),
                time_max: given.read("forward.time", value::duration)?,
            },
            free: free(given, is_local)?,
            deploy: deploy(given, is_local)?,
            runs: runs(given)?,
            http: http(given, is_local)?,
            compute: Compute {
                workers: workers(given)?,
                runs_max: bounded(given, "compute.runs", 1, 128)? as usize,
                wall_time_max: given.read("compute.wall_time", value::duration)?,
                cache_len_max: usize::try_from(given.read("compute.cache", value::size)?)
                    .unwrap_or(usize::MAX),
            },
            retention: Retention {
                age: given.read("retention.age", value::duration)?,
                paid: given.read("retention.paid", value::duration)?,
                unpaid: given.read("retention.unpaid", value::duration)?,
                len_max: given.read("retention.size", value::size)?,
            },
            log: Log {
                format: given.read("log.format", value::log_format)?,
                filter: given.read("log.filter", value::text)?,
            },
            data,
        })
    }
}

/// Where a node of a network listens when nobody says: beside its HTTP on every interface, or on loopback alone.
const PEER_LISTEN: [&str; 2] = ["/ip4/0.0.0.0/tcp/7601", "/ip4/0.0.0.0/udp/7601/quic-v1"];
const PEER_LISTEN_LOCAL: &str = "/ip4/127.0.0.1/tcp/0";

/// A node that is told of no network opens no port for one. One that is listens as far as its HTTP does: a node on
/// loopback is for its own machine.
fn peering(given: &layers::Layers, is_local: bool) -> Result<Peering, ConfigError> {
    let mut peering = Peering {
        params: given.read_optional("network.params", value::path)?,
        id: given.read_optional("network.id", value::network)?,
        join: given.read("network.join", value::multiaddrs)?,
        listen: given.read_optional("network.listen", value::multiaddrs)?.unwrap_or_default(),
        addr_file: given.read_optional("network.addr_file", value::path)?,
        external: given.read("network.external", value::multiaddrs)?,
        mdns: given.read("network.mdns", value::switch)?,
        nat: given.read("network.nat", value::switch)?,
        relays: given.read("network.relays", value::multiaddrs)?,
        relay: given.read("network.relay", value::switch)?,
        peers_max: bounded(given, "network.peers_max", 1, 10_000)? as u32,
        endpoint: given.read_optional("network.endpoint", value::text)?,
        offer: given.read("network.offer", value::switch)?,
        fetch: given.read("network.fetch", value::switch)?,
        fetch_len_max: given.read("network.fetch_size", value::size)?,
    };
    if peering.is_on() && peering.listen.is_empty() {
        peering.listen = match is_local {
            true => vec![PEER_LISTEN_LOCAL.to_owned()],
            false => PEER_LISTEN.map(str::to_owned).to_vec(),
        };
    }
    Ok(peering)
}

/// A loopback listener sees one address, so a limit by address would be a limit on everything; there
/// the default is none. Elsewhere it is 100 a second, ten times what a person's page makes.
fn free(given: &layers::Layers, is_local: bool) -> Result<Free, ConfigError> {
    let per_second = given.read_optional("free.per_second", value::count)?;
    let per_second = per_second.unwrap_or(if is_local { 0 } else { 100 });
    let per_second = u32::try_from(per_second).unwrap_or(u32::MAX);
    Ok(Free {
        calls: given.read("free.calls", value::switch)?,
        per_second: (per_second > 0).then_some(per_second),
        burst: bounded(given, "free.burst", 1, 1_000_000)? as u32,
    })
}

/// Whoever can reach a loopback listener owns the machine; others must be named.
fn deploy(given: &layers::Layers, is_local: bool) -> Result<Deploy, ConfigError> {
    let keys = given.read("deploy.keys", value::keys)?;
    let anyone = given.read_optional("deploy.anyone", value::switch)?;
    match anyone {
        Some(true) => Ok(Deploy::Anyone),
        None if is_local && keys.is_empty() => Ok(Deploy::Anyone),
        Some(false) | None => Ok(Deploy::Keys(keys)),
    }
}

/// One thread for guests per core, unless told otherwise.
fn workers(given: &layers::Layers) -> Result<usize, ConfigError> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    match given.read_optional("compute.workers", value::count)? {
        None => Ok(cores),
        Some(count @ 1..=1024) => Ok(count as usize),
        Some(_) => Err(given.fault("compute.workers", "from 1 to 1024")),
    }
}

fn runs(given: &layers::Layers) -> Result<Runs, ConfigError> {
    let fuel_max = bounded(given, "limits.fuel_max", 1, i64::MAX as u64)?;
    let fuel_free = match given.read_optional("limits.fuel", value::count)? {
        None => FUEL_FREE.min(fuel_max),
        Some(fuel) if (1..=fuel_max).contains(&fuel) => fuel,
        Some(_) => return Err(given.fault("limits.fuel", &format!("from 1 to {fuel_max}"))),
    };
    let memory = given.read("limits.memory", value::size)?;
    let page = 64 * limits::KIB;
    let pages = memory.div_ceil(page);
    if pages == 0 || pages > u64::from(limits::MEMORY_PAGES_MAX) {
        return Err(given.fault("limits.memory", "a size from 64 KiB to 4 GiB"));
    }
    Ok(Runs {
        fuel_free: Fuel(fuel_free),
        fuel_max: Fuel(fuel_max),
        memory_max: Pages(u32::try_from(pages).unwrap_or(limits::MEMORY_PAGES_MAX)),
        output_len_max: sized(given, "limits.output", limits::OUTPUT_LEN_MAX)?,
        log_len_max: sized(given, "limits.log", limits::LOG_LEN_MAX)?,
    })
}

fn http(given: &layers::Layers, is_local: bool) -> Result<Http, ConfigError> {
    Ok(Http {
        body_len_max: sized(given, "http.body", limits::BODY_LEN_MAX)?,
        module_len_max: sized(given, "http.module", limits::MODULE_LEN_MAX)?,
        connections_max: bounded(given, "http.connections", 1, 1_000_000)? as usize,
        in_flight_max: bounded(given, "http.in_flight", 1, 1_000_000)? as usize,
        head_time_max: given.read("http.head_time", value::duration)?,
        body_time_max: given.read("http.body_time", value::duration)?,
        write_time_max: given.read("http.write_time", value::duration)?,
        idle_time_max: given.read("http.idle_time", value::duration)?,
        grace: given.read("http.grace", value::duration)?,
        open_lists: given.read_optional("http.open_lists", value::switch)?.unwrap_or(is_local),
    })
}

fn bounded(
    given: &layers::Layers,
    key: &'static str,
    least: u64,
    most: u64,
) -> Result<u64, ConfigError> {
    let count = given.read(key, value::count)?;
    if count < least || count > most {
        return Err(given.fault(key, &format!("from {least} to {most}")));
    }
    Ok(count)
}

fn sized(given: &layers::Layers, key: &'static str, most: u64) -> Result<u64, ConfigError> {
    let size = given.read(key, value::size)?;
    if size == 0 || size > most {
        return Err(given.fault(key, &format!("a size from 1 byte to {}", value::show_size(most))));
    }
    Ok(size)
}

/// The settings file that lies in a data folder when none is named.
pub fn file_in(data: &Path) -> PathBuf {
    data.join("talea.toml")
}

#[cfg(test)]
mod tests;
