//! One request and its answer, for what is set up around a window.
//!
//! Owns a connection of its own for each question. Absent: keeping it alive; a window's requests go through
//! the load generator.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::bail;

use crate::response::{self, Front};

/// No answer within this time is the end of a bench. What is asked here takes seconds at most.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// The status and body of the answer to one request.
pub fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> anyhow::Result<(u16, Vec<u8>)> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        request.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    request.push_str("\r\n");
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_TIME_MAX))?;
    stream.write_all(request.as_bytes())?;
    stream.write_all(body)?;
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        match response::front(&bytes) {
            Front::Whole(answer) => {
                return Ok((answer.status, bytes[answer.head..answer.len].to_vec()));
            }
            Front::Broken(why) => bail!("{path} is answered with something else: {why}"),
            Front::Short => {}
        }
        match stream.read(&mut part)? {
            0 => bail!("{path} is answered in part"),
            len => bytes.extend_from_slice(&part[..len]),
        }
    }
}

/// The body of a `GET` that is answered with 200.
pub fn get(address: SocketAddr, path: &str) -> anyhow::Result<Vec<u8>> {
    match ask(address, "GET", path, &[], &[])? {
        (200, body) => Ok(body),
        (status, body) => {
            bail!("{path} is answered with {status}: {}", String::from_utf8_lossy(&body))
        }
    }
}
