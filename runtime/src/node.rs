//! Wiring: builds every part of one node from its settings, starts it, and ends it in order.
//!
//! The order of the end is that of the pipeline: no new connections, requests under way finish, paid runs
//! finish, the chain writes what it has and closes the journal. Invariant: what was answered is on the disk
//! whatever ends the node. Absent: everything else; no other module starts a part.

mod membership;
mod peers;
mod views;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use talea_ledger::profile::{Profile, WORST_NANOS_PER_FUEL};
use talea_ledger::registration::Limits;
use talea_ledger::{Fuel, Network, NetworkId, PublicKey};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::membership::network;
use self::peers::{Company, Peers};
use self::views::{
    KeptChannels, KeptEscrow, KeptFunctions, KeptModules, KeptStandings, LedgerDoors, RunsUnderWay,
};
use crate::auth::{Auth, Cover, Offer};
use crate::chain::{Chain, ChainError, ChainOptions};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Forwarding};
use crate::executor::{self, Compiler, Executor, ExecutorConfig, MacKey};
use crate::gateway::{self, Doors, ForwardParts, Gateway};
use crate::ledger::{self, Ledger, LedgerError, LedgerOptions};
use crate::market::{Market, MarketParts, Terms};
use crate::notary::Notary;
use crate::purse::{Purse, PurseParts};
use crate::registry::{Registry, Seeds};
use crate::store::ledger::LOG_SEGMENT_LEN;
use crate::store::{
    FolderError, FunctionShelf, LogShelf, NodeFolder, PaymentShelf, PaymentsError, PurseShelf,
    Retention, SEGMENT_LEN, ShelfError, keys,
};
use crate::supply::{Supply, SupplyParts};
use crate::till::{self, Collector, CollectorParts, Till};

/// Connections that the system holds for us while the accept loop is busy. What Linux caps it at by
/// default is 4,096; beyond it clients retry by themselves.
const BACKLOG: u32 = 1024;

/// A node at work.
#[derive(Debug)]
pub struct Running {
    addr: SocketAddr,
    host: PublicKey,
    cut: u64,
    stop: watch::Sender<bool>,
    gateway: Arc<Gateway>,
    served: JoinHandle<()>,
    collected: JoinHandle<()>,
    chain: Chain,
    ledger: Ledger,
    company: Option<Company>,
    network: Arc<Network>,
    _folder: NodeFolder,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The node's key cannot be used.
    #[error("the key {} cannot be used", path.display())]
    Key {
        /// Where it should lie.
        path: PathBuf,
        /// Why.
        #[source]
        source: keys::KeyError,
    },
    /// The functions cannot be read.
    #[error(transparent)]
    Functions(#[from] ShelfError),
    /// The vouchers cannot be read.
    #[error(transparent)]
    Payments(#[from] PaymentsError),
    /// The logs cannot be opened.
    #[error("the folder of function logs cannot be used")]
    Logs(#[source] io::Error),
    /// The engines cannot be built.
    #[error(transparent)]
    Executor(#[from] executor::StartError),
    /// The journal cannot be used.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The network's parameters cannot be used.
    #[error("the network's parameters in {} cannot be used: {reason}", path.display())]
    Network {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The folder is of one network, and another is meant.
    #[error(
        "the data folder {} belongs to the network {found}; asked for is the network {wanted}: \
         use another folder, or leave the other network out of the settings",
        folder.display()
    )]
    OtherNetwork {
        /// The data folder.
        folder: PathBuf,
        /// Its network.
        found: NetworkId,
        /// The other.
        wanted: NetworkId,
    },
    /// No node told which network it is.
    #[error("the network to join is not known yet, and no node has told its parameters")]
    Join(#[from] talea_gossip::JoinError),
    /// An address is none.
    #[error(
        "`{text}` in `{setting}` is no multiaddress such as /ip4/192.0.2.1/tcp/7601/p2p/12D3Koo.."
    )]
    PeerAddress {
        /// The setting.
        setting: &'static str,
        /// What it says.
        text: String,
    },
    /// The network could not be begun.
    #[error("the network could not be begun")]
    Peers(#[from] talea_gossip::StartError),
    /// The ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A part of the start panicked.
    #[error("a part of the start ended badly")]
    Task(#[from] tokio::task::JoinError),
    /// The machine gives no randomness.
    #[error("the system gives no random bytes: {0}")]
    Entropy(getrandom::Error),
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file for the bound address cannot be written.
    #[error("the address file {} cannot be written", path.display())]
    AddrFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The path of this program is not known, which the compiler's child process needs.
    #[error("the path of this program is not known")]
    Program(#[source] io::Error),
}

/// What went wrong before or at the end of a node. What was answered is on the disk all the same.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// A receipt could not be written.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The ledger could not be written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Starts a node whose compiler is a child process of this very program: for the `talea` binary, whose
/// first act is to look whether it is that child.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let program = std::env::current_exe().map_err(StartError::Program)?;
    start_with(config, Compiler::Child(program)).await
}

/// Starts a node that compiles as `compiler` says.
pub async fn start_with(config: Config, compiler: Compiler) -> Result<Running, StartError> {
    raise_descriptors();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let folder = NodeFolder::open(&config.data)?;
    let disk = folder.disk();
    let unusable = |source| StartError::Key { path: config.key_file.clone(), source };
    let (key, is_new) = keys::load_or_create(&config.key_file).map_err(unusable)?;
    let network = Arc::new(membership::settle(&config, &folder, &key).await?);
    let notary = Notary::new(key, network.id());
    let (collecting, offering, paying) = (notary.clone(), notary.clone(), notary.clone());
    let host = notary.public();
    if is_new {
        tracing::info!(%host, path = %config.key_file.display(), "made a new key for this node");
    }
    let functions = Arc::new(FunctionShelf::open(&folder.state_path(), disk.clone(), "functions")?);
    let (grown, logged) = watch::channel(0_u64);
    let notify = Box::new(move |_| grown.send_modify(|count| *count = count.wrapping_add(1)));
    let logs = LogShelf::open(disk.clone(), "logs", notify).map_err(StartError::Logs)?;
    let executor = Arc::new(executor(&config, &folder, functions.clone(), compiler)?);
    let retention = retention(&config);
    let listener = listen(config.listen)?;
    let addr = listener
        .local_addr()
        .map_err(|source| StartError::Listen { addr: config.listen, source })?;
    let peers = match config.network.is_on() {
        true => Some(Peers::open(&config.network, &network, &notary, endpoint(addr)).await?),
        false => None,
    };
    let ledger = LedgerOptions {
        disk: disk.clone(),
        segment_len: LOG_SEGMENT_LEN,
        network: network.clone(),
        notary: notary.clone(),
        clock: clock.clone(),
        line: peers.as_ref().map_or_else(|| Arc::new(ledger::Nobody) as _, Peers::line),
    };
    let ledger = tokio::task::spawn_blocking(move || Ledger::open(ledger)).await??;
    if ledger.cut() > 0 {
        tracing::warn!(
            bytes = ledger.cut(),
            "cut a torn commit off the ledger's log; nobody was answered for it"
        );
    }
    let options =
        ChainOptions { disk, segment_len: SEGMENT_LEN, retention, notary, clock: clock.clone() };
    // Reading the journal's end may take the disk a while.
    let chain = tokio::task::spawn_blocking(move || Chain::open(options)).await??;
    if chain.cut() > 0 {
        tracing::warn!(
            bytes = chain.cut(),
            "cut a torn commit off the journal; nobody was answered for it"
        );
    }
    let offer = offer(&config, &network, host);
    let terms = terms(&config, &offer, addr);
    let doors = LedgerDoors { reader: ledger.reader(), mailbox: ledger.mailbox() };
    let doors: Arc<dyn till::Ledger> = Arc::new(doors);
    let shelf = PaymentShelf::open(&folder.payments_path())?;
    let till = Arc::new(Till::open(host, shelf, chain.reader(), doors.clone())?);
    let bills = Arc::downgrade(&till);
    chain.watch_bills(bills);
    let cover = Cover {
        credit: config.credit,
        exposure: config.channels.exposure,
        channels: Arc::new(KeptChannels(chain.reader())),
        escrow: Arc::new(KeptEscrow { ledger: doors, till: till.clone() }),
    };
    let auth = Arc::new(Auth::new(offer.clone(), &config.free, cover, config.deploy));
    let (desk, asks) = till::desk();
    let collector = CollectorParts {
        till: till.clone(),
        notary: collecting,
        traffic: Arc::new(RunsUnderWay(auth.clone())),
        clock: clock.clone(),
        threshold: config.channels.redeem,
    };
    let registry = Arc::new(Registry::new(
        Arc::new(KeptFunctions { shelf: functions.clone(), ledger: ledger.reader() }),
        offer.clone(),
        config.runs.fuel_free,
        Seeds::from_seed(entropy()?),
    ));
    // Nobody is known to pass calls on to without other nodes.
    let passes_on = config.forward.is_on() && peers.is_some();
    let supply = match peers.as_ref().filter(|_| config.network.fetch || passes_on) {
        Some(peers) => Some(Arc::new(Supply::open(SupplyParts {
            gossip: peers.gossip(),
            shelf: functions.clone(),
            executor: executor.clone(),
            auth: auth.clone(),
            receipts: chain.reader(),
            clock: clock.clone(),
            brings: config.network.fetch,
            module_len_max: config.http.module_len_max,
            len_max: config.network.fetch_len_max,
            dispute_window: config.retention.paid,
            forget: Box::new({
                let registry = registry.clone();
                move |function| registry.forget(function)
            }),
        })?)),
        None => None,
    };
    let market = Arc::new(Market::new(MarketParts {
        notary: offering,
        clock: clock.clone(),
        standings: Arc::new(KeptStandings(ledger.reader())),
        terms,
    }));
    let forward = match passes_on {
        true => Some(ForwardParts {
            purse: Arc::new(Purse::open(PurseParts {
                notary: paying,
                clock: clock.clone(),
                ledger: ledger.reader(),
                desk: desk.clone(),
                shelf: PurseShelf::open(&folder.purse_path())?,
                budget: config.forward.budget,
                escrow: config.forward.escrow,
            })?),
            is_local: config.network.is_local(),
            settings: config.forward,
        }),
        false => None,
    };
    let court = peers::Court { till: till.clone(), clock: clock.clone() };
    let doors = Doors {
        forward,
        market: market.clone(),
        auth,
        till,
        desk,
        registry,
        executor,
        chain: chain.mailbox(),
        receipts: chain.reader(),
        ledger: ledger.mailbox(),
        blocks: ledger.reader(),
        functions,
        logs: Arc::new(logs),
        logged,
        clock,
        peers: peers.as_ref().map(Peers::gossip),
        supply: supply.clone(),
        is_joining: config.network.is_joining(),
    };
    if let Some(path) = &config.addr_file {
        let unwritable = |source| StartError::AddrFile { path: path.clone(), source };
        write_whole(path, &addr.to_string()).map_err(unwritable)?;
    }
    let gateway = Gateway::new(doors, config.http, config.free.calls);
    let (stop, stopping) = watch::channel(false);
    let collected = tokio::spawn(Collector::new(collector, asks).run(stopping.clone()));
    let served = tokio::spawn(gateway::serve(gateway.clone(), listener, stopping));
    tracing::info!(%addr, %host, version = env!("CARGO_PKG_VERSION"), "listening");
    let cut = chain.cut();
    let company = peers.map(|peers| peers.hear(ledger.wire(), market, supply, court));
    Ok(Running {
        addr,
        host,
        cut,
        stop,
        gateway,
        served,
        collected,
        chain,
        ledger,
        company,
        network,
        _folder: folder,
    })
}

fn executor(
    config: &Config,
    folder: &NodeFolder,
    functions: Arc<FunctionShelf>,
    compiler: Compiler,
) -> Result<Executor, StartError> {
    let path = config.data.join("mac");
    let unusable = |source| StartError::Key { path: path.clone(), source };
    let (mac, _) = keys::secret(&path).map_err(unusable)?;
    let mut settings =
        ExecutorConfig::new(Some(folder.artefacts_path()), compiler, MacKey::new(*mac));
    settings.wall_limit = config.compute.wall_time_max;
    settings.long_threads = config.compute.workers;
    settings.long_runs = config.compute.runs_max;
    settings.loaded_bytes = config.compute.cache_len_max;
    Ok(Executor::new(settings, Arc::new(KeptModules(functions)))?)
}

/// The host's terms: what its owner allows, and no more fuel than the wall-clock limit covers.
fn offer(config: &Config, network: &Network, host: PublicKey) -> Offer {
    let runs = &config.runs;
    Offer {
        network: network.id(),
        host,
        profile: Profile::v1().id(),
        price: config.price,
        fuel_max: runs.fuel_max.min(covered(config.compute.wall_time_max)),
        memory_max: runs.memory_max,
        output_len_max: runs.output_len_max,
        log_len_max: runs.log_len_max,
        watermark: config.channels.watermark,
    }
}

/// What this node tells others that it runs paid calls for; nothing when it is not to, or nobody could reach it.
fn terms(config: &Config, offer: &Offer, addr: SocketAddr) -> Option<Terms> {
    let network = &config.network;
    let runs_none = config.forward.is_on() && config.forward.when == Forwarding::Always;
    if !network.offer || runs_none {
        return None;
    }
    // What listens on loopback is reached from this machine alone: said to nodes of others it would mislead them.
    let reached = endpoint(addr).filter(|_| !addr.ip().is_loopback() || network.is_local());
    let endpoint = network.endpoint.clone().or(reached)?.try_into().ok()?;
    let limits = Limits {
        log: offer.log_len_max,
        memory: offer.memory_max,
        output: offer.output_len_max,
        fuel: offer.fuel_max,
    };
    Some(Terms { price: offer.price, limits, profile: offer.profile, endpoint })
}

/// Where this node's HTTP is, as far as it can tell: not for one that listens on every interface.
fn endpoint(addr: SocketAddr) -> Option<String> {
    (!addr.ip().is_unspecified()).then(|| format!("http://{addr}"))
}

/// Fuel that ends within a time, whatever the guest does.
fn covered(wall: Duration) -> Fuel {
    Fuel(u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX) / WORST_NANOS_PER_FUEL)
}

fn retention(config: &Config) -> Retention {
    let kept = &config.retention;
    Retention {
        bytes: kept.len_max,
        age: Some(kept.age),
        dispute_window: kept.paid,
        unpaid: kept.unpaid,
    }
}

/// In one step: whoever waits for the file never reads half of it.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension("draft");
    std::fs::write(&draft, text)?;
    std::fs::rename(&draft, path)
}

/// Every connection and every loaded function holds a descriptor; the usual soft limit of 1,024 is a
/// leftover of `select`, and the hard one is ours to use.
fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(fault) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%fault, "the limit of open files stays at {:?}", limit.current);
    }
}

fn entropy() -> Result<[u8; 32], StartError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(StartError::Entropy)?;
    Ok(seed)
}

fn listen(addr: SocketAddr) -> Result<TcpListener, StartError> {
    let open = || {
        let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A node that is started again must not wait for its old connections' last packets.
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        socket.listen(BACKLOG)
    };
    open().map_err(|source| StartError::Listen { addr, source })
}

// === impl Running ===

impl Running {
    /// The address that is served.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The key that signs this node's receipts.
    pub fn host(&self) -> PublicKey {
        self.host
    }

    /// The network it belongs to.
    pub fn network(&self) -> &Arc<Network> {
        &self.network
    }

    /// Where other nodes reach this one; nothing while it talks to none.
    pub fn peer_addresses(&self) -> Vec<String> {
        self.company.as_ref().map(Company::addresses).unwrap_or_default()
    }

    /// Bytes of a commit that a crash had torn and that were cut off the journal at start.
    pub fn cut(&self) -> u64 {
        self.cut
    }

    /// Serves until the process is told to end, the chain ends by itself, or the server does.
    pub async fn until_told(self) -> Result<(), StopError> {
        tokio::select! {
            told = told_to_end() => tracing::info!(signal = told, "ending"),
            () = self.gateway.chain_ended() => tracing::error!("the chain has ended"),
            () = self.gateway.ledger_ended() => tracing::error!("the ledger has ended"),
        }
        self.stop().await
    }

    /// Ends in order; everybody who waits is answered.
    pub async fn stop(self) -> Result<(), StopError> {
        let Self { stop, gateway, served, collected, chain, ledger, company, .. } = self;
        gateway.stop();
        // The server has ended already if nobody hears this.
        let _ = stop.send(true);
        if let Err(fault) = served.await {
            tracing::error!(%fault, "the server ended badly");
        }
        if let Err(fault) = collected.await {
            tracing::error!(%fault, "the collector ended badly");
        }
        if let Some(company) = company {
            company.leave().await;
        }
        drop(gateway);
        let ledger = ledger.close().await;
        chain.close().await?;
        Ok(ledger?)
    }
}

/// The first of SIGTERM and SIGINT. Without signals the node runs until it is killed.
async fn told_to_end() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::warn!("signals cannot be heard; the node ends only when it is killed");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

#[cfg(test)]
mod tests;
