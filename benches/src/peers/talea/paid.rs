//! Paid calls: each request carries a run of its own, signed by the payer.
//!
//! Owns the payer and the making of runs by the node's own offer. Invariant: sequences rise by one in
//! the order in which requests are sent, so that the channel's window is never left. Absent: money;
//! the node is told to lend this payer more than a bench can spend.

use std::net::SocketAddr;
use std::str::FromStr;

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use talea_ledger::message::{Arguments, Headers, Method, Path, Query};
use talea_ledger::price::bill;
use talea_ledger::{
    BodyId, ChannelId, Fuel, FunctionId, Input, NetworkId, Pages, Payment, Ppm, Price, ProfileId,
    PublicKey, Run, SecretKey, Sequence, Tal, UnixNanos, sign,
};

use crate::asking::get;
use crate::requests::Once;
use crate::stopwatch::unix_nanos;

/// What the node lends the payer, in tal: nothing a bench does comes near it.
pub(super) const CREDIT: u64 = 1 << 60;
/// Fuel of one run: 100 times what the bench guest uses.
const FUEL: Fuel = Fuel(10_000_000);
/// Pages of memory of one run: a Rust guest starts with 17.
const PAGES: Pages = Pages(64);
/// Bytes of output and of log of one run.
const BYTES: u64 = 4096;
/// How long a run is good for: longer than it waits for its window, within any host's patience.
const GOOD_FOR_NANOS: u64 = 4 * 60 * 1_000_000_000;

/// The payer, whose key is not secret.
pub(super) fn payer() -> SecretKey {
    SecretKey::from_bytes(&[11; 32])
}

/// What a run repeats from the node's offer.
struct Offer {
    host: PublicKey,
    network: NetworkId,
    profile: ProfileId,
    price: Price,
}

/// `GET path` with a freshly signed run, again and again.
pub(super) fn requests(
    address: SocketAddr,
    path: &str,
    function: FunctionId,
) -> anyhow::Result<Once> {
    let offer = offer(address)?;
    let key = payer();
    let input = input()?.id();
    let channel = ChannelId::local(&key.public(), &offer.host, &offer.network);
    let cap = bill(&offer.price, FUEL, BYTES, Tal(u64::MAX));
    if cap.0 > CREDIT / 1_000_000 {
        bail!("the node asks for up to {cap} tal a call: more than a bench may spend");
    }
    let head = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\ntalea-run: ");
    let mut sequence = 0;
    Ok(Once::new(Box::new(move || {
        sequence += 1;
        let now = unix_nanos();
        let run = Run {
            function,
            input,
            cgi: false,
            clock: UnixNanos(now),
            input_len: 0,
            network: offer.network,
            payment: Some(Payment {
                cap,
                expires: UnixNanos(now + GOOD_FOR_NANOS),
                royalty_ppm: Ppm::default(),
                sequence: Sequence(sequence),
                channel,
                host: Some(offer.host),
            }),
            profile: offer.profile,
            seed: [3; 32],
            price: offer.price,
            log_limit: BYTES,
            memory_limit: PAGES,
            output_limit: BYTES,
            fuel_limit: FUEL,
        };
        let sealed = sign::seal_document(&key, &run).encode();
        let mut request = head.clone().into_bytes();
        request.extend_from_slice(URL_SAFE_NO_PAD.encode(sealed).as_bytes());
        request.extend_from_slice(b"\r\n\r\n");
        request
    })))
}

/// The input document that the node makes of the bench's request: the path below the function is
/// empty and no header that a registration names is sent.
fn input() -> anyhow::Result<Input> {
    Ok(Input {
        body_len: 0,
        args: Arguments::default(),
        body: BodyId::of(&[]),
        path: Path::try_from("")?,
        salt: None,
        query: Query::try_from("")?,
        method: Method::try_from("GET")?,
        headers: Headers::none(),
    })
}

fn offer(address: SocketAddr) -> anyhow::Result<Offer> {
    let info: Value = serde_json::from_slice(&get(address, "/.well-known/talea/info")?)?;
    let price = &info["price"];
    Ok(Offer {
        host: read(&info, "host")?,
        network: read(&info, "network")?,
        profile: read(&info, "profile")?,
        price: Price {
            per_kib: Tal(read(price, "per_kib")?),
            per_call: Tal(read(price, "per_call")?),
            rate: read(price, "rate")?,
        },
    })
}

fn read<T: FromStr>(view: &Value, field: &str) -> anyhow::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text = view[field].as_str().with_context(|| format!("the node's offer has no {field}"))?;
    text.parse().with_context(|| format!("the node's {field}"))
}
