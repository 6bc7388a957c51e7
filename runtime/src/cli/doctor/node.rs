//! Is there a node, does it say that it is well, and does its clock agree with ours?

use super::Finding;
use crate::cli::NodeArgs;
use crate::cli::client::{Answer, Client, ClientError};
use crate::cli::exit::Failure;
use crate::cli::moment;

/// A run's clock may differ from its host's by this much in most nodes' settings; half of it deserves a warning.
const CLOCK_APART_S: u64 = 30;

/// Asks the node for its health and its time.
pub(super) async fn reach(args: &NodeArgs) -> Vec<Finding> {
    let client = args.client();
    match client.get("/ready", "application/json").await {
        Ok(answer) => {
            let mut findings =
                vec![Finding::pass("node", format!("ready at {}", client.address()))];
            findings.extend(clocks(&answer));
            findings.extend(peers(&client).await);
            findings
        }
        Err(error @ ClientError::Unreachable { .. }) => {
            vec![Finding::warn(
                "node",
                error.to_string(),
                "`talea node --data FOLDER` starts one; --node names another",
            )]
        }
        Err(error) => {
            let failure = Failure::from(error);
            let advice = failure.advice().unwrap_or("look at the node's own log").to_owned();
            vec![Finding::fail("node", failure.sentence(), advice)]
        }
    }
}

/// A node alone is a network of its own; one that is to talk to others and is connected with none is worth a look.
async fn peers(client: &Client) -> Option<Finding> {
    let says = client.get_json("/.well-known/talea/info").await.ok()?;
    let count = says["peers"]["count"].as_u64()?;
    Some(match count {
        0 => Finding::warn(
            "peers",
            "connected with no other node",
            "`talea peers` says who was refused; `--join` and `network.join` name nodes to begin with",
        ),
        count => Finding::pass("peers", format!("connected with {count}")),
    })
}

fn clocks(answer: &Answer) -> Option<Finding> {
    let theirs = moment::from_http_date(answer.header("date")?)?;
    let ours = crate::cli::now().0 / 1_000_000_000;
    let apart = ours.abs_diff(theirs);
    Some(if apart > CLOCK_APART_S {
        let found = format!("the node's clock is {apart} s from this one");
        Finding::warn(
            "clocks",
            found,
            "set both by NTP: a host refuses a run whose time is far from its own",
        )
    } else {
        Finding::pass("clocks", format!("within {} s of the node's", apart.saturating_add(1)))
    })
}
