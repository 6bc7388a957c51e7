//! Which network is this? Asked by a node with an empty folder, before it is a node of any.
//!
//! Invariant: parameters are believed only if their hash is the id that goes with them; which id is wanted, the
//! caller knows or takes the first that answers.

use std::time::Duration;

use libp2p::futures::StreamExt;
use libp2p::request_response::{Event, Message};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Swarm};
use talea_ledger::codec::Document as _;
use talea_ledger::{NetworkId, NetworkParams};
use zeroize::Zeroizing;

use crate::behaviour::{self, Asking, AskingEvent};
use crate::hello::{Answer, Question};
use crate::key;
use crate::options::StartError;

/// Why no network was learned.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The network could not be used at all.
    #[error(transparent)]
    Start(#[from] StartError),
    /// There is nobody to ask.
    #[error("there is no address to join")]
    NoAddress,
    /// Nobody answered in time.
    #[error("nobody answered at {}: {reason}", .at.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Silent {
        /// Who was asked.
        at: Vec<Multiaddr>,
        /// What went wrong last.
        reason: String,
    },
}

/// Asks the nodes at `join` for the parameters of their network, and returns the first valid answer: the network's id
/// and the parameters' bytes, which hash to it.
pub async fn ask_params(
    secret: Zeroizing<[u8; 32]>,
    join: &[Multiaddr],
    timeout: Duration,
) -> Result<(NetworkId, Vec<u8>), JoinError> {
    if join.is_empty() {
        return Err(JoinError::NoAddress);
    }
    let pair = key::keypair(&secret).ok_or(StartError::Key)?;
    drop(secret);
    let mut swarm = behaviour::asking(&pair, timeout)?;
    let mut reason = "no answer in time".to_owned();
    let mut open = 0_usize;
    for address in join {
        match swarm.dial(address.clone()) {
            Ok(()) => open += 1,
            Err(error) => reason = error.to_string(),
        }
    }
    let asked = tokio::time::timeout(timeout, async {
        while open > 0 {
            match step(&mut swarm).await {
                Step::Answer(network, params) => return Some((network, params)),
                Step::Failed(why) => {
                    open -= 1;
                    reason = why;
                }
                Step::Other => {}
            }
        }
        None
    });
    match asked.await {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) | Err(_) => Err(JoinError::Silent { at: join.to_vec(), reason }),
    }
}

enum Step {
    Answer(NetworkId, Vec<u8>),
    Failed(String),
    Other,
}

async fn step(swarm: &mut Swarm<Asking>) -> Step {
    match swarm.select_next_some().await {
        SwarmEvent::ConnectionEstablished { peer_id, .. } => {
            swarm.behaviour_mut().hello.send_request(&peer_id, Question::Params.encode());
            Step::Other
        }
        SwarmEvent::OutgoingConnectionError { error, .. } => Step::Failed(error.to_string()),
        SwarmEvent::Behaviour(AskingEvent::Hello(event)) => match event {
            Event::Message { message: Message::Response { response, .. }, .. } => read(&response),
            Event::OutboundFailure { error, .. } => Step::Failed(error.to_string()),
            _ => Step::Other,
        },
        _ => Step::Other,
    }
}

fn read(answer: &[u8]) -> Step {
    match Answer::decode(answer) {
        Ok(Answer::Params(bytes)) => match NetworkParams::decode(&bytes) {
            Ok(params) => Step::Answer(params.id(), bytes),
            Err(error) => Step::Failed(format!("the parameters are malformed: {error}")),
        },
        Ok(_) => Step::Failed("another answer than asked for".to_owned()),
        Err(error) => Step::Failed(format!("the answer is malformed: {error}")),
    }
}
