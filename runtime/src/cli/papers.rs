//! A receipt's papers: read from a file, or gathered from a node.
//!
//! Invariants: what comes from a node is checked against the name it was asked by (a receipt's CID, a function's
//! id) before anything is done with it; parts that a node does not hand out are absent, never made up. Absent:
//! judgement of the whole, which is `Bundle::check` and the re-run.

use std::path::{Path, PathBuf};

use http::Method;
use talea_ledger::bundle::{Body, Code};
use talea_ledger::sign::seal_document;
use talea_ledger::{
    BodyId, Bundle, Document as _, Domain, FunctionId, NetworkId, ReceiptId, Request,
};

use super::base64url;
use super::client::{Answer, Client, request};
use super::exit::{Exit, Failure, OrExit as _};
use super::wallet::Wallet;

/// Where a receipt is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a `.talea` file.
    File(PathBuf),
    /// On a node, under its CID.
    Node(ReceiptId),
}

// === impl Place ===

impl Place {
    /// What the user means: a file if there is one of that name, otherwise a CID.
    pub(super) fn of(text: &str) -> Result<Self, Failure> {
        let path = Path::new(text);
        if path.exists() {
            return Ok(Self::File(path.to_owned()));
        }
        text.parse().map(Self::Node).map_err(|_| {
            let sentence =
                format!("`{text}` is neither a file here nor a receipt's CID (bafyrei..)");
            Failure::said(Exit::NoInput, sentence)
        })
    }
}

/// Reads a bundle from a file.
pub(super) fn read(path: &Path) -> Result<Bundle, Failure> {
    let bytes =
        std::fs::read(path).or_exit(Exit::NoInput, || format!("cannot read {}", path.display()))?;
    Bundle::decode(&bytes)
        .or_exit(Exit::Data, || format!("{} is not a receipt's file", path.display()))
}

/// Writes a bundle to a file, whole or not at all.
pub(super) fn write(path: &Path, bundle: &Bundle) -> Result<(), Failure> {
    let cannot = || format!("cannot write {}", path.display());
    let mut draft = path.as_os_str().to_owned();
    draft.push(".part");
    std::fs::write(&draft, bundle.encode()).or_exit(Exit::Failed, cannot)?;
    std::fs::rename(&draft, path).or_exit(Exit::Failed, cannot)
}

/// Gets a receipt with its papers from a node. With a wallet the request is signed, which is how its payer or
/// owner gets the bodies too.
pub(super) async fn fetch(
    client: &Client,
    receipt: ReceiptId,
    signer: Option<(&Wallet, NetworkId)>,
) -> Result<Bundle, Failure> {
    let path = format!("/receipts/{receipt}");
    let accept = Domain::Bundle.media_type();
    let answer = match signer {
        Some((wallet, network)) => signed_get(client, wallet, network, &path, accept).await?,
        None => client.get(&path, accept).await?,
    };
    let bundle =
        Bundle::decode(&answer.body).or_exit(Exit::Data, || "the node's answer is not a bundle")?;
    let found = ReceiptId::of(&bundle.receipt);
    if found != receipt {
        let sentence = format!("asked for receipt {receipt}, the node gave {found}");
        return Err(Failure::said(Exit::Mismatch, sentence));
    }
    Ok(bundle)
}

/// Gets a function's bytes from a node and holds them against its id.
pub(super) async fn fetch_function(client: &Client, function: FunctionId) -> Result<Code, Failure> {
    let answer = client.get(&format!("/functions/{function}"), "application/wasm").await?;
    let found = FunctionId::of(&answer.body);
    if found != function {
        let sentence = format!("asked for function {function}, the node gave the bytes of {found}");
        return Err(Failure::said(Exit::Mismatch, sentence));
    }
    Code::try_from(answer.body.to_vec())
        .or_exit(Exit::Data, || "the function is too long for a bundle")
}

/// Puts into a bundle the bodies its caller has, where the documents name exactly them.
pub(super) fn add_bodies(bundle: &mut Bundle, sent: &[u8], received: &[u8]) -> Result<(), Failure> {
    let body = |bytes: &[u8]| {
        Body::try_from(bytes.to_vec()).or_exit(Exit::Data, || "a body is too long for a bundle")
    };
    if bundle.input_body.is_none() && bundle.input.is_some() {
        bundle.input_body = Some(body(sent)?);
    }
    if bundle.output_body.is_none() && bundle.output.is_some() {
        bundle.output_body = Some(body(received)?);
    }
    Ok(())
}

/// A read that only some may make, signed.
pub(super) async fn signed_get(
    client: &Client,
    wallet: &Wallet,
    network: NetworkId,
    path: &str,
    accept: &str,
) -> Result<Answer, Failure> {
    signed(client, wallet, network, &Method::GET, path, accept).await
}

/// A request without a body that only some may make, signed.
pub(super) async fn signed(
    client: &Client,
    wallet: &Wallet,
    network: NetworkId,
    method: &Method,
    path: &str,
    accept: &str,
) -> Result<Answer, Failure> {
    let document = Request {
        at: super::now(),
        network,
        body: BodyId::of(&[]),
        path_and_query: path
            .try_into()
            .or_exit(Exit::Usage, || format!("`{path}` cannot be asked for"))?,
        method: method.as_str().try_into().or_exit(Exit::Failed, || "it is a method")?,
    };
    let request = request(client, method.clone(), path)
        .header(http::header::ACCEPT, accept)
        .header("talea-request", base64url(&seal_document(wallet.key(), &document).encode()))
        .body(bytes::Bytes::new())
        .or_exit(Exit::Failed, || "the request cannot be written")?;
    Ok(client.expect(request).await?)
}
