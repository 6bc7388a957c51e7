//! Partitions: real processes, each in a network namespace of its own, on switches that are cut and joined again.
//!
//! It takes the right to make namespaces. Where a machine does not give it, the test says so and ends; with
//! `TALEA_NAMESPACES=required` (as in `.ci/run` where it was tried) that is a failure.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use talea_ledger::SecretKey;

use crate::node::talea;

/// Seven authorities share two cores, and a connection that was cut takes TCP some seconds to find again.
const PATIENCE: Duration = Duration::from_secs(120);
const AUTHORITIES: usize = 7;
/// A namespace holds nothing but its node, so these are free.
pub const HTTP: &str = "127.0.0.1:7600";
pub const PEERS: u16 = 7601;

/// One switch with two halves, and a namespace on a cable for each node. All is gone when this is dropped.
pub struct Wires {
    tag: String,
    count: usize,
}

pub struct Seat {
    node: Option<Child>,
    pub space: String,
    pub folder: PathBuf,
    pub flags: Vec<String>,
}

/// Networks of one process that were made so far: several tests may have one at the same time.
static MADE: AtomicUsize = AtomicUsize::new(0);

/// Wires for a test; nothing where no namespace can be made, which the test says, unless it must not be left out.
pub fn wires(count: usize) -> Option<Wires> {
    match Wires::new(count) {
        Ok(wires) => Some(wires),
        Err(fault) => {
            let required = std::env::var_os("TALEA_NAMESPACES").is_some();
            assert!(!required, "no namespace can be made: {fault}");
            println!("not tested, since no namespace can be made here: {fault}");
            None
        }
    }
}

pub fn ip(words: &[&str]) -> Result<(), String> {
    let done = Command::new("ip").args(words).output().map_err(|fault| fault.to_string())?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!("ip {}: {}", words.join(" "), String::from_utf8_lossy(&done.stderr)))
}

// === impl Wires ===

impl Wires {
    fn new(count: usize) -> Result<Self, String> {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let this = Self { tag: format!("talea{}-{number}", std::process::id()), count };
        let hub = this.hub();
        ip(&["netns", "add", &hub])?;
        for bridge in ["left", "right"] {
            ip(&["-n", &hub, "link", "add", bridge, "type", "bridge"])?;
            ip(&["-n", &hub, "link", "set", bridge, "up"])?;
        }
        for at in 0..count {
            let (space, port) = (this.space(at), port(at));
            ip(&["netns", "add", &space])?;
            let ends = ["type", "veth", "peer", "name", "wire", "netns", &space];
            ip(&[&["-n", &hub, "link", "add", &port][..], &ends].concat())?;
            ip(&["-n", &hub, "link", "set", &port, "up"])?;
            ip(&["-n", &space, "addr", "add", &format!("{}/24", host(at)), "dev", "wire"])?;
            ip(&["-n", &space, "link", "set", "wire", "up"])?;
            ip(&["-n", &space, "link", "set", "lo", "up"])?;
        }
        this.plug(|_| "left")?;
        Ok(this)
    }

    pub fn hub(&self) -> String {
        format!("{}-hub", self.tag)
    }

    pub fn space(&self, at: usize) -> String {
        format!("{}-{at}", self.tag)
    }

    /// Puts each node's cable into one half of the switch.
    pub fn plug(&self, half: impl Fn(usize) -> &'static str) -> Result<(), String> {
        let hub = self.hub();
        (0..self.count)
            .try_for_each(|at| ip(&["-n", &hub, "link", "set", &port(at), "master", half(at)]))
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        for at in 0..self.count {
            let _ = ip(&["netns", "del", &self.space(at)]);
        }
        let _ = ip(&["netns", "del", &self.hub()]);
    }
}

fn port(at: usize) -> String {
    format!("port{at}")
}

pub fn host(at: usize) -> String {
    format!("10.77.0.{}", at + 1)
}

// === impl Seat ===

impl Seat {
    /// A seat in the namespace of this place, with a folder of its own.
    pub fn at(wires: &Wires, at: usize, folder: &Path, flags: &[&str]) -> Self {
        let folder = folder.join(format!("seat-{at}"));
        let data = folder.join("data");
        std::fs::create_dir_all(&data).unwrap();
        let addresses = folder.join("addresses");
        let mut all: Vec<String> = ["--listen", HTTP].map(str::to_owned).into();
        all.extend(["--peer-addr-file".into(), addresses.display().to_string()]);
        all.extend(["--data".into(), data.display().to_string()]);
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        Self { node: None, space: wires.space(at), folder, flags: all }
    }

    /// An address of its node that other seats can reach, by its words.
    pub fn address(&self, words: &str) -> String {
        until("the node tells where it listens", || {
            let lines = std::fs::read_to_string(self.folder.join("addresses")).ok()?;
            let found = lines.lines().find(|line| line.contains(words) && line.contains("/p2p/"));
            found.map(str::to_owned)
        })
    }

    /// Starts its node; what it says goes to a file beside its data.
    pub fn start(&mut self) {
        let said = std::fs::File::create(self.folder.join("stderr.txt")).unwrap();
        let node = self
            .inside()
            .arg("node")
            .args(&self.flags)
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .expect("the binary under test starts");
        self.node = Some(node);
    }

    /// Kills its node: no goodbye to anybody.
    fn kill(&mut self) {
        if let Some(mut node) = self.node.take() {
            let _ = node.kill();
            let _ = node.wait();
        }
    }

    /// The command, run in this node's namespace.
    pub fn inside(&self) -> Command {
        let command = talea(&self.folder.join("wallet"));
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &self.space]).arg(command.get_program());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside.stdin(Stdio::null());
        inside
    }

    /// What a command says, if it succeeds.
    pub fn ask(&self, words: &[&str]) -> Option<Value> {
        self.tell(words).ok()
    }

    /// What a command says, or why it failed.
    pub fn tell(&self, words: &[&str]) -> Result<Value, String> {
        let node = format!("http://{HTTP}");
        let mut command = self.inside();
        let done = command.args(words).args(["--output", "json", "--quiet", "--node", &node]);
        let done = done.output().expect("the binary under test starts");
        let said =
            || String::from_utf8_lossy(&[&done.stdout[..], &done.stderr].concat()).into_owned();
        if !done.status.success() {
            return Err(said());
        }
        serde_json::from_slice(&done.stdout).map_err(|_| said())
    }

    /// Hands in a transfer, which the node accepts.
    pub fn pay(&self, key: &Path, to: &str, amount: u64) {
        let key = key.to_str().unwrap();
        let amount = amount.to_string();
        until("a transfer is accepted", || {
            self.ask(&["ledger", "transfer", to, &amount, "--key", key, "--no-wait"])
        });
    }

    /// What somebody has at the head, and finally.
    pub fn has(&self, key: &str) -> Option<(u64, u64)> {
        let told = self.ask(&["ledger", "balance", key])?;
        let of = |field: &str| told[field].as_str()?.parse().ok();
        Some((of("balance")?, of("final_balance")?))
    }

    pub fn peers(&self) -> usize {
        let told = self.ask(&["peers"]);
        told.and_then(|told| Some(told["peers"].as_array()?.len())).unwrap_or(0)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    crate::within(PATIENCE, what, look)
}

/// A key in a private file, and what it is called.
pub fn key(folder: &Path, name: &str, byte: u8) -> (PathBuf, String) {
    let path = folder.join(name);
    std::fs::write(&path, format!("{byte:02x}").repeat(32)).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&path, mode).unwrap();
    (path, SecretKey::from_bytes(&[byte; 32]).public().to_string())
}

/// The parameters of a network of these authorities, with money for these payers.
pub fn genesis(folder: &Path, authorities: &[String], payers: &[String]) -> PathBuf {
    let params = folder.join("net.params");
    let mut command = talea(&folder.join("wallet"));
    command.args(["ledger", "genesis"]).arg(&params).args(["--name", "seven", "--slot", "500ms"]);
    for key in authorities {
        command.args(["--authority", key]);
    }
    for key in payers {
        command.args(["--fund", &format!("{key}=1000000")]);
    }
    let made = command.output().expect("the binary under test starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    params
}

/// One seat for each authority; the nodes run and all see each other.
fn seated(wires: &Wires, folder: &Path, payers: &[String]) -> Vec<Seat> {
    let keys: Vec<(PathBuf, String)> = (0..wires.count)
        .map(|at| key(folder, &format!("authority-{at}"), 0x20 + u8::try_from(at).unwrap()))
        .collect();
    let names: Vec<String> = keys.iter().map(|(_, name)| name.clone()).collect();
    let params = genesis(folder, &names, payers);
    let mut seats = Vec::new();
    let mut join = None;
    for (at, (key, _)) in keys.iter().enumerate() {
        let folder = folder.join(format!("seat-{at}"));
        let data = folder.join("data");
        std::fs::create_dir_all(&data).unwrap();
        std::fs::copy(key, data.join("key")).unwrap();
        let addresses = folder.join("addresses");
        let mut flags: Vec<String> = ["--listen", HTTP, "--peer-listen"].map(str::to_owned).into();
        flags.push(format!("/ip4/{}/tcp/{PEERS}", host(at)));
        flags.extend(["--peer-addr-file".into(), addresses.display().to_string()]);
        flags.extend(["--data".into(), data.display().to_string()]);
        flags.extend(["--set".into(), format!("network.params={}", params.display())]);
        if let Some(join) = &join {
            flags.extend(["--join".into(), String::clone(join)]);
        }
        let mut seat = Seat { node: None, space: wires.space(at), folder, flags };
        seat.start();
        if join.is_none() {
            join = Some(until("the first node tells where it listens", || {
                let lines = std::fs::read_to_string(&addresses).ok()?;
                lines.lines().find(|line| line.contains("/p2p/")).map(str::to_owned)
            }));
        }
        seats.push(seat);
    }
    for seat in &seats {
        until("every node sees every other", || (seat.peers() + 1 == wires.count).then_some(()));
    }
    seats
}

#[test]
fn both_sides_of_a_partition_go_on_only_two_thirds_finalise_and_nothing_is_lost() {
    let Some(wires) = wires(AUTHORITIES) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (ann, ann_name) = key(folder.path(), "ann", 0x61);
    let (bob, bob_name) = key(folder.path(), "bob", 0x62);
    let (_, here) = key(folder.path(), "here", 0x63);
    let (_, there) = key(folder.path(), "there", 0x64);
    let mut seats = seated(&wires, folder.path(), &[ann_name, bob_name]);

    // Five and two: five are more than two thirds of seven.
    wires.plug(|at| if at < 5 { "left" } else { "right" }).unwrap();
    seats[0].pay(&ann, &here, 100);
    seats[6].pay(&bob, &there, 100);
    for seat in &seats[..5] {
        until("five of seven finalise", || (seat.has(&here)? == (100, 100)).then_some(()));
    }
    for seat in &seats[5..] {
        until("two of seven go on", || (seat.has(&there)?.0 == 100).then_some(()));
        assert_eq!(seat.has(&there), Some((100, 0)), "two of seven finalise nothing");
        assert_eq!(seat.has(&here), Some((0, 0)), "the wire is cut");
    }
    assert_eq!(seats[0].has(&there), Some((0, 0)), "the wire is cut");

    // One of the five is killed meanwhile and comes back after the heal.
    seats[4].kill();
    wires.plug(|_| "left").unwrap();
    seats[4].start();
    for seat in &seats {
        until("after the heal, what both sides took is final everywhere", || {
            (seat.has(&here)? == (100, 100) && seat.has(&there)? == (100, 100)).then_some(())
        });
    }

    // Four and three: four are not more than two thirds of seven.
    wires.plug(|at| if at < 4 { "left" } else { "right" }).unwrap();
    seats[0].pay(&ann, &here, 10);
    seats[6].pay(&bob, &there, 10);
    for (side, whose) in [(&seats[..4], &here), (&seats[4..], &there)] {
        for seat in side {
            until("both sides go on", || (seat.has(whose)?.0 == 110).then_some(()));
            assert_eq!(seat.has(whose), Some((110, 100)), "neither side finalises");
        }
    }
    wires.plug(|_| "left").unwrap();
    for seat in &seats {
        until("after the heal there is one head, and all of it is final", || {
            (seat.has(&here)? == (110, 110) && seat.has(&there)? == (110, 110)).then_some(())
        });
    }
}
