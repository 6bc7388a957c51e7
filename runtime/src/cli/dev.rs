//! `talea dev`: a node in this process, and a function that is rebuilt and deployed as it changes.
//!
//! What runs here is the node itself with the same rules, so fuel is the fuel of production, to the unit; with the
//! price of a host (`--like`) the bill is too. Invariants: a build that fails leaves the last good function
//! serving; a temporary folder is gone at the end. Absent: any mode of the node that only development has.

mod calls;
mod watch;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::json;
use talea_ledger::sign::seal_document;
use talea_ledger::{Price, Tal};
use talea_runtime::config::{Config, Sources};
use talea_runtime::executor::ask_for_short_turns;
use tokio::sync::mpsc;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use self::calls::{Call, Calls};
use self::watch::Watch;
use super::build::{Accepted, accept};
use super::client::Client;
use super::deploy::{Wish, send};
use super::exit::{Exit, Failure, OrExit as _, Ran};
use super::guest::Source;
use super::screen::{Ink, grouped};
use super::terms::Terms;
use super::wallet::fund::{Purse, fund_if_needed};
use super::wallet::{Wallet, make_private_folder};
use super::{Context, SignerArgs, node};

/// Where a node listens unless it is told otherwise.
const LISTEN: &str = "127.0.0.1:7600";
/// Asking a far node for its prices.
const ASK_MAX: Duration = Duration::from_secs(20);
/// Deploying to ourselves: the longest a module may take to compile, and room.
const DEPLOY_MAX: Duration = Duration::from_secs(300);
/// What the wallet has at least for trying paid calls: a thousand at a thousand tal each.
const POCKET: Tal = Tal(1_000_000);
/// Calls that wait to be printed; a burst beyond it is counted, not printed.
const CALLS_WAITING_MAX: usize = 256;

/// What `talea dev` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  talea dev                                build what lies here, serve it, do it again after each change
  talea dev hello.wasm --data ./data       keep functions, receipts and the host's key between runs
  talea dev --like http://node.example     with the prices of that host: the bills are what it would bill
  curl http://127.0.0.1:7600/f/dev/hello/")]
pub(super) struct DevArgs {
    /// A function's folder or a .wasm file
    #[arg(default_value = ".")]
    path: PathBuf,
    #[command(flatten)]
    wish: Wish,
    /// The binary to build, when the crate has several
    #[arg(long, value_name = "NAME")]
    bin: Option<String>,
    /// The address to listen on [default: 127.0.0.1:7600, or a free port when that is taken]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Keep the node's data here [default: a temporary folder, gone at the end]
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Take the prices of this node
    #[arg(long, value_name = "URL")]
    like: Option<super::NodeAddress>,
    /// Build and deploy once, without watching
    #[arg(long)]
    no_watch: bool,
    #[command(flatten)]
    signer: SignerArgs,
}

/// What one session works with.
struct Session<'a> {
    source: Source,
    args: &'a DevArgs,
    context: &'a Context,
    wallet: Wallet,
    client: Client,
    terms: Terms,
    wish: Wish,
    shown: Option<talea_ledger::FunctionId>,
}

/// Runs `talea dev`.
pub(super) fn run(args: &DevArgs, context: &Context) -> Ran {
    let source = Source::find(&args.path)?;
    let wallet = args.signer.wallet(context)?;
    // Before the first thread is started: they all take it over.
    ask_for_short_turns();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.or_exit(Exit::Failed, || "cannot start threads")?;
    let scratch = match &args.data {
        Some(_) => None,
        None => Some(Scratch::new()?),
    };
    let data = match (&args.data, &scratch) {
        (Some(data), _) => data.clone(),
        (None, Some(scratch)) => scratch.0.clone(),
        (None, None) => return Err(Failure::said(Exit::Failed, "there is no data folder")),
    };
    runtime.block_on(serve(args, context, source, wallet, &data))
}

async fn serve(
    args: &DevArgs,
    context: &Context,
    source: Source,
    wallet: Wallet,
    data: &Path,
) -> Ran {
    let (tell, calls) = mpsc::channel(CALLS_WAITING_MAX);
    let log = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(context.screen.err_is_coloured())
        .without_time();
    let filtered = tracing_subscriber::Layer::with_filter(log, node::filter("warn")?);
    let subscriber = tracing_subscriber::registry().with(filtered).with(Calls::new(tell));
    subscriber.try_init().map_err(|error| Failure::said(Exit::Failed, error.to_string()))?;

    let price = match &args.like {
        Some(address) => Terms::of(&Client::new(address.clone(), ASK_MAX)).await?.price(),
        None => Price::FREE,
    };
    let running = node::start(config(args, data, &price)?).await?;
    let address = running.addr().to_string().parse().or_exit(Exit::Failed, || "our own address")?;
    let client = Client::new(address, DEPLOY_MAX);
    let lived = async {
        let terms = Terms::of(&client).await?;
        // A node of its own is a development network, where money is for the asking.
        let purse = Purse { client: &client, time_max: ASK_MAX };
        let standing = fund_if_needed(&purse, wallet.public(), POCKET).await?;
        context.screen.note(format_args!("the wallet has {} tal", grouped(standing.balance.0)));
        let wish = args.wish.clone().or_named(&default_name(&args.path))?;
        let mut session =
            Session { source, args, context, wallet, client, terms, wish, shown: None };
        session.live(calls, &price).await
    }
    .await;
    // The node is drained whatever became of the session.
    running.stop().await.or_exit(Exit::Failed, || "the node failed")?;
    lived
}

/// The node's settings: local, quiet, with the prices that were asked for.
fn config(args: &DevArgs, data: &Path, price: &Price) -> Result<Config, Failure> {
    let listen = match args.listen {
        Some(address) => address.to_string(),
        None if TcpListener::bind(LISTEN).is_ok() => LISTEN.to_owned(),
        None => "127.0.0.1:0".to_owned(),
    };
    let flags = [
        ("data", data.display().to_string()),
        ("listen", listen),
        ("price.per_call", price.per_call.to_string()),
        ("price.rate", price.rate.to_string()),
        ("price.per_kib", price.per_kib.to_string()),
    ];
    let flags = flags.map(|(key, value)| (key.to_owned(), value)).to_vec();
    node::load(&Sources { flags, ..Sources::default() })
}

/// `dev/` and the name of the folder or file, as far as a name can have it.
fn default_name(path: &Path) -> String {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let stem = if whole.is_file() { whole.file_stem() } else { whole.file_name() };
    let stem = stem.map(|stem| stem.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let kept: String = stem
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .take(64)
        .collect();
    let kept = kept.trim_matches('-');
    format!("dev/{}", if kept.is_empty() { "function" } else { kept })
}

// === impl Session ===

impl Session<'_> {
    /// Builds, deploys, and goes on until it is told to stop.
    async fn live(&mut self, mut calls: mpsc::Receiver<Call>, price: &Price) -> Ran {
        let (tell, mut changes) = mpsc::channel(1);
        // Held for as long as changes are wanted.
        let _watch = match self.args.no_watch {
            true => None,
            false => Some(Watch::begin(&self.source, tell)?),
        };
        if let Err(failure) = self.turn().await {
            if self.args.no_watch {
                return Err(failure);
            }
            super::tell(&failure, &self.context.screen);
        }
        let end = asked_to_end();
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => break,
                Some(call) = calls.recv() => self.print(&call, price),
                Some(()) = changes.recv() => if let Err(failure) = self.turn().await {
                    super::tell(&failure, &self.context.screen);
                },
            }
        }
        self.context.screen.note("ended");
        Ok(Exit::Ok)
    }

    /// One build and one deployment.
    async fn turn(&mut self) -> Result<(), Failure> {
        let started = tokio::time::Instant::now();
        let (source, bin) = (self.source.clone(), self.args.bin.clone());
        let built =
            tokio::task::spawn_blocking(move || source.build(bin.as_deref()).and_then(accept))
                .await;
        let accepted = built.or_exit(Exit::Failed, || "the build was broken off")??;
        if self.shown == Some(accepted.id) {
            self.context.screen.note("built: the bytes are the same");
            return Ok(());
        }
        let registration = self.wish.registration(&accepted, &self.terms, self.wallet.public())?;
        send(&self.client, &accepted, &seal_document(self.wallet.key(), &registration)).await?;
        self.shown = Some(accepted.id);
        self.deployed(&accepted, started.elapsed().as_millis());
        Ok(())
    }

    fn deployed(&self, accepted: &Accepted, milliseconds: u128) {
        let name = self.wish.name().map_or_else(|| accepted.id.to_string(), ToString::to_string);
        let url = self.client.address().join(&format!("/f/{name}/"));
        let screen = &self.context.screen;
        if screen.is_json() {
            let id = accepted.id.to_string();
            screen.json_line(&json!({ "event": "deployed", "id": id, "url": url, "static_fuel": accepted.inspection.static_fuel.to_string() }));
            return;
        }
        let word = screen.ink(Ink::Good, "deployed");
        screen.line(format_args!(
            "{word} {url}  in {}.{} s",
            milliseconds / 1000,
            milliseconds % 1000 / 100
        ));
        screen.line(screen.ink(Ink::Faint, format_args!("         {}", accepted.id)));
    }

    fn print(&self, call: &Call, price: &Price) {
        let screen = &self.context.screen;
        if screen.is_json() {
            screen.json_line(&call.json(price));
        } else {
            let ink = if call.is_ok() { Ink::Good } else { Ink::Bad };
            screen.line(format_args!("{}  {}", screen.ink(ink, call.outcome()), call.line(price)));
        }
    }
}

/// Ctrl-C, or SIGTERM where there is one.
async fn asked_to_end() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    // An error means that no signal can come; then the process ends by its terminal alone.
    let _ = tokio::signal::ctrl_c().await;
}

/// A folder that is gone when this is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("talea-dev-{}", std::process::id()));
        make_private_folder(&path)
            .or_exit(Exit::Failed, || format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed stays in the system's temporary folder; that is no reason to fail.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_the_name() {
        for (path, name) in
            [("/x/hello", "dev/hello"), ("/x/My App!", "dev/my-app"), ("/", "dev/function")]
        {
            assert_eq!(default_name(Path::new(path)), name);
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("word.count.wasm");
        std::fs::write(&file, "").unwrap();
        assert_eq!(default_name(&file), "dev/word-count");
    }
}
