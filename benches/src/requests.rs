//! What the generator sends.
//!
//! Owns the bytes of whole requests, made before the window so that making them costs it nothing.
//! Absent: anything that depends on an answer.

use std::collections::VecDeque;
use std::net::SocketAddr;

/// A source of whole HTTP/1.1 requests.
pub trait Requests {
    /// Puts the next request into `request`, which is empty.
    fn next(&mut self, request: &mut Vec<u8>);

    /// Makes ready for about `count` requests, outside any window.
    fn prepare(&mut self, _count: usize) {}
}

/// The same request again and again.
#[derive(Clone, Debug)]
pub struct Same(Vec<u8>);

impl Same {
    /// `GET path` of the server at `address`.
    #[must_use]
    pub fn get(address: SocketAddr, path: &str) -> Self {
        Self(format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").into_bytes())
    }
}

impl Requests for Same {
    #[inline]
    fn next(&mut self, request: &mut Vec<u8>) {
        request.extend_from_slice(&self.0);
    }
}

/// Several requests in turn.
#[derive(Clone, Debug)]
pub struct InTurn {
    all: Vec<Vec<u8>>,
    next: usize,
}

impl InTurn {
    /// `GET` of each path, one after the other and again from the first.
    #[must_use]
    pub fn get(address: SocketAddr, paths: &[String]) -> Self {
        let all = paths.iter().map(|path| Same::get(address, path).0).collect();
        Self { all, next: 0 }
    }
}

impl Requests for InTurn {
    #[inline]
    fn next(&mut self, request: &mut Vec<u8>) {
        request.extend_from_slice(&self.all[self.next]);
        self.next = (self.next + 1) % self.all.len();
    }
}

/// Requests of which each is sent once, made ahead of time; when they run out, more are made on the
/// spot, which the generator's own load then shows.
pub struct Once {
    ready: VecDeque<Vec<u8>>,
    make: Box<dyn FnMut() -> Vec<u8>>,
    /// Requests that had to be made inside a window.
    pub late: u64,
}

impl std::fmt::Debug for Once {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Once").field("ready", &self.ready.len()).field("late", &self.late).finish()
    }
}

impl Once {
    /// A source whose requests `make` makes.
    #[must_use]
    pub fn new(make: Box<dyn FnMut() -> Vec<u8>>) -> Self {
        Self { ready: VecDeque::new(), make, late: 0 }
    }
}

impl Requests for Once {
    fn next(&mut self, request: &mut Vec<u8>) {
        if let Some(ready) = self.ready.pop_front() {
            request.extend_from_slice(&ready);
        } else {
            self.late += 1;
            request.extend_from_slice(&(self.make)());
        }
    }

    fn prepare(&mut self, count: usize) {
        while self.ready.len() < count {
            let request = (self.make)();
            self.ready.push_back(request);
        }
    }
}
