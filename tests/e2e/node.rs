//! Starts the real binary as a real process and talks to it over real sockets.
//!
//! A node here lives no longer than its `Node`: dropping it kills the process. Nothing waits by
//! sleeping: the node says on its standard output when it listens.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::http::{self, Answer};

/// The binary under test.
pub const TALEA: &str = env!("CARGO_BIN_EXE_talea");

/// A handler that answers with its input: the plain call of these tests.
pub const ECHO: &str = r#"(module
  (import "talea" "input_len" (func $len (param i32) (result i32)))
  (import "talea" "input_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "talea" "output_write" (func $write (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "talea_handle") (result i32)
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 0) (call $len (i32.const 0))))
    (drop (call $write (i32.const 0) (call $len (i32.const 0))))
    (i32.const 0)))"#;

/// A running node and the folder it may write to.
#[derive(Debug)]
pub struct Node {
    child: Child,
    pub addr: SocketAddr,
    folder: PathBuf,
    wallet: PathBuf,
}

/// A command of the binary under test with an environment of its own: nothing of the machine's
/// settings or of another test reaches it.
pub fn talea(home: &Path) -> Command {
    let mut command = Command::new(TALEA);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TALEA_") {
            command.env_remove(name);
        }
    }
    command.env("TALEA_HOME", home).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

impl Node {
    /// Starts a node over `folder`, with more flags, on a free port.
    pub fn start(folder: &Path, flags: &[&str]) -> Node {
        Node::try_start(folder, flags).unwrap_or_else(|output| {
            panic!("the node did not start: {}", String::from_utf8_lossy(&output.stderr))
        })
    }

    /// As `start`, but a node that ends before it listens is given back with what it said.
    pub fn try_start(folder: &Path, flags: &[&str]) -> Result<Node, Box<Output>> {
        let wallet = folder.join("wallet");
        let mut child = talea(&wallet)
            .args(["node", "--listen", "127.0.0.1:0", "--data"])
            .arg(folder.join("data"))
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(if std::env::var_os("TALEA_TEST_LOG").is_some() {
                Stdio::inherit()
            } else {
                Stdio::from(std::fs::File::create(folder.join("stderr.txt")).unwrap())
            })
            .spawn()
            .expect("the binary under test starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let addr = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let at = line.find("http://")? + "http://".len();
            line[at..]
                .split(|c: char| c.is_whitespace() || c == '/' || c == '"')
                .next()?
                .parse()
                .ok()
        });
        let Some(addr) = addr else {
            let status = child.wait().expect("the child can be waited for");
            let stderr = std::fs::read(folder.join("stderr.txt")).unwrap_or_default();
            return Err(Box::new(Output { status, stdout: Vec::new(), stderr }));
        };
        // The pipe must be drained, or a node that prints more would block on it.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Node { child, addr, folder: folder.into(), wallet })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Its data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// One request on a connection of its own.
    pub fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        http::call(self.addr, method, path, headers, body)
            .unwrap_or_else(|e| panic!("{method} {path}: {e}; the node said: {}", self.stderr()))
    }

    /// What the node has written to its standard error.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.folder.join("stderr.txt")).unwrap_or_default()
    }

    /// Runs `talea ARGS --node URL` with this node's wallet and gives what it printed.
    pub fn cli(&self, args: &[&str]) -> Output {
        talea(&self.wallet)
            .args(args)
            .args(["--node", &self.url()])
            .output()
            .expect("the binary under test starts")
    }

    /// Deploys a module and gives its id, or the stable code of the refusal.
    pub fn deploy(&self, wasm: &[u8], flags: &[&str]) -> Result<String, String> {
        let path = self.folder.join("module.wasm");
        std::fs::write(&path, wasm).unwrap();
        let path = path.to_string_lossy().into_owned();
        let mut args = vec!["deploy", path.as_str(), "--output", "json"];
        args.extend_from_slice(flags);
        let output = self.cli(&args);
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let json: serde_json::Value = serde_json::from_str(stdout.trim()).unwrap_or_default();
        match json["id"].as_str().or_else(|| json["function"].as_str()) {
            Some(id) if output.status.success() => Ok(id.to_owned()),
            _ => Err(format!("{stdout}{stderr}")),
        }
    }

    /// Files the process holds open, other than sockets and the epoll machinery.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, |d| d.count())
    }

    /// Threads of the process.
    pub fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.pid())).map_or(0, |d| d.count())
    }

    /// One value of `/metrics`, summed over its labels.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let text = self.call("GET", "/metrics", &[], b"").text();
        let values: Vec<f64> = text
            .lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
            .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
            .collect();
        if values.is_empty() { None } else { Some(values.iter().sum()) }
    }

    /// Asks the process to end and gives its exit status.
    pub fn terminate(mut self) -> std::process::ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .expect("our own child can be signalled");
        self.child.wait().expect("our own child can be waited for")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
