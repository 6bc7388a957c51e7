//! `talea deploy`: put a function on a node, under the name of its bytes.
//!
//! Invariants: the module passes the front door here before a byte is sent; the registration is signed by the
//! user's key over the very bytes that follow; the id the node answers with must be ours. Deploying the same bytes
//! again is harmless. Absent: building other than what `talea build` does.

mod register;

use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use http::{Method, header};
use serde_json::json;
use talea_ledger::codec::List;
use talea_ledger::message::{FunctionName, HeaderName};
use talea_ledger::registration::{DEFAULT_HEADERS, HEADER_NAMES_MAX, Kind, Limits};
use talea_ledger::sign::seal_document;
use talea_ledger::{Fuel, FunctionId, Pages, PublicKey, Registration, Sealed};

use self::register::{Named, register};
use super::build::{Accepted, accept};
use super::client::{Client, request};
use super::exit::{Exit, Failure, OrExit as _, Ran};
use super::guest::Source;
use super::screen::Ink;
use super::terms::Terms;
use super::wallet::fund::Purse;
use super::{Context, NodeArgs, SignerArgs, amount, base64url};

/// Bounds of a registration that names none: what the node itself allows is then the bound.
const UNBOUNDED: Limits =
    Limits { log: u64::MAX, memory: Pages::MAX, output: u64::MAX, fuel: Fuel::MAX };

/// What `talea deploy` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  talea deploy                               build what lies here, then deploy it
  talea deploy hello.wasm --name me/hello
  talea deploy page.wasm --cgi               the program prints a CGI header block before its answer
  talea deploy api.wasm --header authorization --header accept-language
  talea deploy hello.wasm --output json | jq -r .id

Deploying the same bytes again changes only what the registration says.")]
pub(super) struct DeployArgs {
    /// A function's folder or a .wasm file
    #[arg(default_value = ".")]
    path: PathBuf,
    #[command(flatten)]
    wish: Wish,
    /// The binary to build, when the crate has several
    #[arg(long, value_name = "NAME")]
    bin: Option<String>,
    #[command(flatten)]
    signer: SignerArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// What the owner says about the function.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Wish {
    /// A name for it, `namespace/name`; calls by this name then reach it
    #[arg(long, value_name = "NAME")]
    name: Option<FunctionName>,
    /// Honour a CGI header block at the start of a program's output
    #[arg(long)]
    cgi: bool,
    /// A request header the function sees; give it several times [default: content-type and accept]
    #[arg(long = "header", value_name = "NAME")]
    headers: Vec<String>,
    /// The most fuel a run may use [default: what the node allows]
    #[arg(long, value_name = "COUNT", value_parser = amount::count)]
    max_fuel: Option<u64>,
    /// The most memory a run may have [default: what the node allows]
    #[arg(long, value_name = "SIZE", value_parser = amount::size)]
    max_memory: Option<u64>,
    /// The longest answer [default: what the node allows]
    #[arg(long, value_name = "SIZE", value_parser = amount::size)]
    max_output: Option<u64>,
    /// The longest log of a run [default: what the node allows]
    #[arg(long, value_name = "SIZE", value_parser = amount::size)]
    max_log: Option<u64>,
}

/// Runs `talea deploy`.
pub(super) async fn run(args: &DeployArgs, context: &Context) -> Ran {
    let accepted = accept(Source::find(&args.path)?.build(args.bin.as_deref())?)?;
    let wallet = args.signer.wallet(context)?;
    let client = args.node.client();
    let terms = Terms::of(&client).await?;
    let registration = args.wish.registration(&accepted, &terms, wallet.public())?;
    let view = {
        let _sending = context.screen.spinner("sending and compiling");
        send(&client, &accepted, &seal_document(wallet.key(), &registration)).await?
    };
    let purse = Purse { client: &client, time_max: args.node.timeout };
    if register(&purse, wallet.key(), &registration, terms.profile).await? == Named::Unpaid {
        context.screen.note(
            "the wallet has no money for the ledger's fees: the name is known to this node alone",
        );
    }
    report(&accepted, &registration, &view, &client, context);
    Ok(Exit::Ok)
}

/// Sends a module with its registration; gives the node's view of it.
pub(super) async fn send(
    client: &Client,
    accepted: &Accepted,
    registration: &Sealed,
) -> Result<serde_json::Value, Failure> {
    let request = request(client, Method::POST, "/functions")
        .header(header::CONTENT_TYPE, "application/wasm")
        .header("talea-registration", base64url(&registration.encode()))
        .body(Bytes::copy_from_slice(&accepted.module.wasm))
        .or_exit(Exit::Failed, || "the request cannot be written")?;
    let answer = client.expect(request).await?;
    let view: serde_json::Value = serde_json::from_slice(&answer.body)
        .or_exit(Exit::Failed, || "the node's answer is not JSON")?;
    let named =
        view.get("id").and_then(|id| id.as_str()).and_then(|id| id.parse::<FunctionId>().ok());
    if named != Some(accepted.id) {
        let sentence =
            format!("the node names the function otherwise: not {}, {named:?}", accepted.id);
        return Err(Failure::said(Exit::Failed, sentence));
    }
    Ok(view)
}

// === impl Wish ===

impl Wish {
    /// The same with a name, if it has none.
    pub(super) fn or_named(mut self, name: &str) -> Result<Self, Failure> {
        if self.name.is_none() {
            self.name =
                Some(name.try_into().or_exit(Exit::Usage, || format!("`{name}` is not a name"))?);
        }
        Ok(self)
    }

    /// The name it asks for.
    pub(super) fn name(&self) -> Option<&FunctionName> {
        self.name.as_ref()
    }

    /// The document that says it, for one module, network and owner.
    pub(super) fn registration(
        &self,
        accepted: &Accepted,
        terms: &Terms,
        owner: PublicKey,
    ) -> Result<Registration, Failure> {
        let pages = self
            .max_memory
            .map(|bytes| Pages(u32::try_from(bytes.div_ceil(Pages::LEN)).unwrap_or(u32::MAX)));
        Ok(Registration {
            at: super::now(),
            function: accepted.id,
            cgi: self.cgi,
            limits: Limits {
                log: self.max_log.unwrap_or(UNBOUNDED.log),
                memory: pages.unwrap_or(UNBOUNDED.memory),
                output: self.max_output.unwrap_or(UNBOUNDED.output),
                fuel: self.max_fuel.map_or(UNBOUNDED.fuel, Fuel),
            },
            network: terms.network,
            kind: match accepted.inspection.kind {
                talea_meter::Kind::Command => Kind::Command,
                talea_meter::Kind::Handler => Kind::Handler,
            },
            name: self.name.clone(),
            owner,
            headers: self.header_names()?,
        })
    }

    fn header_names(&self) -> Result<List<HeaderName, HEADER_NAMES_MAX>, Failure> {
        let given: Vec<String> = if self.headers.is_empty() {
            DEFAULT_HEADERS.map(str::to_owned).to_vec()
        } else {
            self.headers.iter().map(|name| name.to_ascii_lowercase()).collect()
        };
        let mut names = Vec::with_capacity(given.len());
        for name in given {
            let read = HeaderName::try_from(name.as_str());
            let read =
                read.or_exit(Exit::Usage, || format!("`{name}` is not the name of a header"))?;
            if !names.contains(&read) {
                names.push(read);
            }
        }
        List::try_from(names).or_exit(Exit::Usage, || "too many headers")
    }
}

fn report(
    accepted: &Accepted,
    registration: &Registration,
    view: &serde_json::Value,
    client: &Client,
    context: &Context,
) {
    let screen = &context.screen;
    let target =
        registration.name.as_ref().map_or_else(|| accepted.id.to_string(), ToString::to_string);
    let url = client.address().join(&format!("/f/{target}/"));
    if screen.is_json() {
        screen.json(&json!({
            "id": accepted.id.to_string(),
            "name": registration.name.as_ref().map(ToString::to_string),
            "url": url,
            "owner": registration.owner.to_string(),
            "created": view.get("created"),
        }));
        return;
    }
    screen.line(accepted.id);
    screen.note(format_args!("{} {url}", screen.note_ink(Ink::Good, "deployed:")));
    screen.note(format_args!(
        "{}",
        screen.note_ink(Ink::Faint, format_args!("call it:  talea invoke {target}"))
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_default_are_lowered_and_never_doubled() {
        let names = |given: &[&str]| {
            let wish = Wish {
                headers: given.iter().map(|name| (*name).to_owned()).collect(),
                ..Wish::default()
            };
            wish.header_names()
                .map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]).unwrap(), ["content-type", "accept"]);
        assert_eq!(names(&["Authorization", "x-a", "X-A"]).unwrap(), ["authorization", "x-a"]);
        assert_eq!(names(&["not a header"]).unwrap_err().exit(), Exit::Usage);
    }
}
