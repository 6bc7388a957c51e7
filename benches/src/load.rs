//! The load generator: a closed loop of kept-alive connections on one thread over epoll (by mio).
//!
//! Owns the connections and their latencies. Invariants: one request is under way per connection;
//! every answer's status is checked, and the head of the first and of every 1,024th answer of a
//! connection for the header that proves it; answers outside the window count nowhere. Absent:
//! pipelining, an open loop with a fixed rate, TLS.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::histogram::Histogram;
use crate::requests::Requests;
use crate::response::{self, Front};
use crate::stopwatch::Stopwatch;

/// Events taken from the kernel at once: the largest number of connections a bench opens.
const EVENTS_MAX: usize = 256;
/// Bytes read at once. An answer of a bench is below 4 KiB; 64 KiB takes a 10 MiB one in 160 reads.
const READ_MAX: usize = 64 * 1024;
/// How long to sleep at most: the window's end must be seen although no answer comes.
const PAUSE_MAX: Duration = Duration::from_millis(10);
/// How long to wait for the last answers: a few times the longest sync of an ordinary disk.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// Failures after which a run is given up: the server is not what it was thought to be.
const FAILURES_MAX: u64 = 1_000;
/// How often an answer's head is looked through for the header that proves it.
const PROOF_EVERY: u64 = 1_024;

/// What to drive, and how hard.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Where the server listens.
    pub address: SocketAddr,
    /// How many connections ask at the same time.
    pub connections: usize,
    /// Time before the window, not counted.
    pub warmup: Duration,
    /// Time that is counted.
    pub window: Duration,
    /// A header (lower case) that a right answer carries.
    pub proof: Option<&'static str>,
}

/// What was seen in the window.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Answers with status 200.
    pub answers: u64,
    /// Answers with another status, connections that broke.
    pub failures: u64,
    /// The length of the window.
    pub elapsed: Duration,
    /// Latencies of the answers.
    pub latencies: Histogram,
}

impl Seen {
    /// Answers per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.answers as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// Why a run was given up.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A socket call of our own failed.
    #[error("{what}")]
    Socket {
        /// The call.
        what: &'static str,
        /// Its error.
        #[source]
        source: io::Error,
    },
    /// The server answered what a generator cannot follow.
    #[error("the answer cannot be followed: {why}; it starts with {start:?}")]
    Answer {
        /// What is wrong.
        why: &'static str,
        /// Its first bytes.
        start: String,
    },
    /// Too many answers were no answers.
    #[error("{FAILURES_MAX} failures, the last one: {last}")]
    Failures {
        /// The last one.
        last: String,
    },
}

struct Connection {
    stream: TcpStream,
    sent: u64,
    answers: u64,
    carry: Vec<u8>,
}

struct Driver<'a> {
    load: Load,
    requests: &'a mut dyn Requests,
    watch: Stopwatch,
    poll: Poll,
    connections: Vec<Connection>,
    request: Vec<u8>,
    seen: Seen,
    last_failure: String,
    counting: bool,
    ending: bool,
    under_way: usize,
}

/// Drives the server for warm-up and window. `edge` is called when the window opens and when it
/// closes, and what it gave comes back with what was seen.
pub fn drive<T>(
    load: Load,
    requests: &mut dyn Requests,
    mut edge: impl FnMut() -> T,
) -> Result<(Seen, T, T), LoadError> {
    assert!(load.connections > 0 && load.connections <= EVENTS_MAX, "connections out of bounds");
    let poll = Poll::new().map_err(socket("epoll_create"))?;
    let mut driver = Driver {
        load,
        requests,
        watch: Stopwatch::start(),
        poll,
        connections: Vec::with_capacity(load.connections),
        request: Vec::with_capacity(4096),
        seen: Seen::default(),
        last_failure: String::new(),
        counting: false,
        ending: false,
        under_way: 0,
    };
    for index in 0..load.connections {
        let connection = driver.connect(index)?;
        driver.connections.push(connection);
    }
    for index in 0..load.connections {
        driver.send(index)?;
    }
    driver.turn_until(load.warmup)?;
    let opened = edge();
    driver.counting = true;
    let began = driver.watch.elapsed();
    driver.turn_until(began + load.window)?;
    driver.seen.elapsed = driver.watch.elapsed() - began;
    let closed = edge();
    driver.drain()?;
    Ok((driver.seen, opened, closed))
}

fn socket(what: &'static str) -> impl Fn(io::Error) -> LoadError {
    move |source| LoadError::Socket { what, source }
}

impl Driver<'_> {
    fn connect(&self, index: usize) -> Result<Connection, LoadError> {
        // Connected before it is polled: a connection is no part of what is measured.
        let stream = std::net::TcpStream::connect(self.load.address).map_err(socket("connect"))?;
        stream.set_nodelay(true).map_err(socket("nodelay"))?;
        stream.set_nonblocking(true).map_err(socket("nonblocking"))?;
        let mut stream = TcpStream::from_std(stream);
        let registry = self.poll.registry();
        registry
            .register(&mut stream, Token(index), Interest::READABLE)
            .map_err(socket("epoll_ctl"))?;
        Ok(Connection { stream, sent: 0, answers: 0, carry: Vec::new() })
    }

    /// Sends the next request. A request of a bench is far smaller than a socket's buffer, so one
    /// write takes it whole.
    fn send(&mut self, index: usize) -> Result<(), LoadError> {
        self.request.clear();
        self.requests.next(&mut self.request);
        let connection = &mut self.connections[index];
        connection.sent = self.watch.nanos();
        match connection.stream.write(&self.request) {
            Ok(len) if len == self.request.len() => {
                self.under_way += 1;
                Ok(())
            }
            Ok(_) => self.fail_sending(index, "a request was written in part".to_owned()),
            Err(error) => self.fail_sending(index, error.to_string()),
        }
    }

    fn fail_sending(&mut self, index: usize, why: String) -> Result<(), LoadError> {
        self.under_way += 1;
        self.fail(index, why)
    }

    /// Waits for the answers that are still under way, so that no request is cut off: a paid run that
    /// the server never saw would leave a gap in its channel.
    fn drain(&mut self) -> Result<(), LoadError> {
        self.counting = false;
        self.ending = true;
        self.turn_until(self.watch.elapsed() + DRAIN_MAX)
    }

    fn turn_until(&mut self, end: Duration) -> Result<(), LoadError> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut buffer = vec![0; READ_MAX];
        while self.watch.elapsed() < end && !(self.ending && self.under_way == 0) {
            match self.poll.poll(&mut events, Some(PAUSE_MAX)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(socket("epoll_wait")(error)),
            }
            for event in &events {
                self.receive(event.token().0, &mut buffer)?;
            }
        }
        Ok(())
    }

    fn receive(&mut self, index: usize, buffer: &mut [u8]) -> Result<(), LoadError> {
        let connection = &mut self.connections[index];
        let len = match connection.stream.read(buffer) {
            Ok(0) => return self.fail(index, "the server closed the connection".to_owned()),
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return self.fail(index, error.to_string()),
        };
        let now = self.watch.nanos();
        let carried = !connection.carry.is_empty();
        let bytes = if carried {
            connection.carry.extend_from_slice(&buffer[..len]);
            &connection.carry[..]
        } else {
            &buffer[..len]
        };
        let answer = match response::front(bytes) {
            Front::Whole(answer) => answer,
            Front::Short => {
                if !carried {
                    connection.carry.extend_from_slice(&buffer[..len]);
                }
                // Readiness is told once: what filled the buffer may have left more behind.
                return if len == buffer.len() { self.receive(index, buffer) } else { Ok(()) };
            }
            Front::Broken(why) => return Err(LoadError::Answer { why, start: start_of(bytes) }),
        };
        let proven = match self.load.proof {
            Some(name) if connection.answers.is_multiple_of(PROOF_EVERY) => {
                response::header_of(&bytes[..answer.head], name.as_bytes()).is_some()
            }
            _ => true,
        };
        if answer.status != 200 || !proven {
            let start = start_of(bytes);
            connection.carry.clear();
            return self.fail(index, start);
        }
        connection.carry.clear();
        connection.answers += 1;
        self.under_way = self.under_way.saturating_sub(1);
        if self.counting {
            self.seen.answers += 1;
            self.seen.latencies.record(now.saturating_sub(connection.sent));
        }
        if self.ending {
            return Ok(());
        }
        if answer.closes {
            self.connections[index] = self.connect(index)?;
        }
        self.send(index)
    }

    /// Counts a failure and starts the connection anew.
    fn fail(&mut self, index: usize, why: String) -> Result<(), LoadError> {
        self.seen.failures += 1;
        self.under_way = self.under_way.saturating_sub(1);
        self.last_failure = why;
        if self.seen.failures >= FAILURES_MAX {
            return Err(LoadError::Failures { last: std::mem::take(&mut self.last_failure) });
        }
        if self.ending {
            return Ok(());
        }
        self.connections[index] = self.connect(index)?;
        self.send(index)
    }
}

fn start_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(600)]).into_owned()
}
