//! The first question between two nodes, the only one that crosses networks: `/talea/hello/1`.
//!
//! Format: questions and answers are canonical CBOR arrays that begin with a number for their kind.
//! Hello `[0, hello]`, params `[1]`; welcome `[0, hello]`, refused `[1, hello, reason]`, params `[2, bytes]`.
//! A hello is `[network, edition, agent, endpoint]`, its endpoint empty where there is none.
//!
//! Invariants: text is printable ASCII; every length has a bound; a hello that says another network or edition is
//! answered with a reason that a person can read.

use talea_ledger::codec::{DecodeError, DecodeReason, Decoder, Document, Encoder, Field};
use talea_ledger::{NetworkId, NetworkParams};

/// The edition of everything nodes of one network say to each other here. Two editions do not talk.
pub const EDITION: u32 = 1;

/// The protocol's name, the same in all networks.
pub(crate) const PROTOCOL: &str = "/talea/hello/1";

/// Longest name and version of a node's software.
pub(crate) const AGENT_LEN_MAX: usize = 64;
/// Longest address of a node's HTTP door.
pub(crate) const ENDPOINT_LEN_MAX: usize = 256;
/// Longest reason of a refusal: two network ids and a sentence.
pub(crate) const REASON_LEN_MAX: usize = 256;
/// Longest hello: array, id, edition, two texts.
const HELLO_LEN_MAX: usize = 1 + 34 + 5 + (2 + AGENT_LEN_MAX) + (3 + ENDPOINT_LEN_MAX);
/// Longest question.
pub(crate) const QUESTION_LEN_MAX: usize = 2 + HELLO_LEN_MAX;
/// Longest answer: the parameters of a network.
pub(crate) const ANSWER_LEN_MAX: usize = {
    let refused = 2 + HELLO_LEN_MAX + 3 + REASON_LEN_MAX;
    let params = 2 + 5 + <NetworkParams as Document>::LEN_MAX;
    if params > refused { params } else { refused }
};

/// What a node says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Its network.
    pub network: NetworkId,
    /// The edition it speaks.
    pub edition: u32,
    /// Name and version of its software.
    pub agent: String,
    /// Where its HTTP door is, if it tells.
    pub endpoint: Option<String>,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Who are you? I am this.
    Hello(Hello),
    /// What are the parameters of your network?
    Params,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The same network and edition.
    Welcome(Hello),
    /// We cannot talk.
    Refused {
        /// Who says so.
        hello: Hello,
        /// Why, in words.
        reason: String,
    },
    /// The parameters of the answering node's network.
    Params(Vec<u8>),
}

/// At most `max` printable ASCII characters of a text; others are left out.
pub(crate) fn printable(text: &str, max: usize) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(max).collect()
}

// === impl Hello ===

impl Hello {
    /// Why a node of this network and edition cannot talk with one that says `theirs`.
    pub fn objection(&self, theirs: &Self) -> Option<String> {
        if self.network != theirs.network {
            let (here, there) = (self.network, theirs.network);
            Some(format!("this node is of network {here}, yours is of network {there}"))
        } else if self.edition != theirs.edition {
            let (here, there) = (self.edition, theirs.edition);
            Some(format!("this node speaks edition {here}, yours speaks edition {there}"))
        } else {
            None
        }
    }

    fn put(&self, out: &mut Encoder) {
        out.array(4);
        self.network.put(out);
        out.uint(self.edition.into());
        out.text(&printable(&self.agent, AGENT_LEN_MAX));
        let endpoint = self.endpoint.as_deref().unwrap_or_default();
        out.text(&printable(endpoint, ENDPOINT_LEN_MAX));
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        input.array_exact(4)?;
        let network = NetworkId::take(input)?;
        let edition = u32::try_from(input.uint_max(u32::MAX.into())?)
            .map_err(|_| input.fault(DecodeReason::Value("an edition")))?;
        let agent = text(input, AGENT_LEN_MAX)?;
        let endpoint = Some(text(input, ENDPOINT_LEN_MAX)?).filter(|text| !text.is_empty());
        Ok(Self { network, edition, agent, endpoint })
    }
}

/// A text that a terminal can print.
fn text(input: &mut Decoder<'_>, max: usize) -> Result<String, DecodeError> {
    let text = input.text(max)?;
    if text.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
        Ok(text.to_owned())
    } else {
        Err(input.fault(DecodeReason::Value("printable text")))
    }
}

fn kind(input: &mut Decoder<'_>, len_max: usize) -> Result<(usize, u64), DecodeError> {
    let len = input.array(len_max)?;
    Ok((len, input.uint()?))
}

// === impl Question ===

impl Question {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::with_capacity(QUESTION_LEN_MAX);
        match self {
            Self::Hello(hello) => {
                out.array(2);
                out.uint(0);
                hello.put(&mut out);
            }
            Self::Params => {
                out.array(1);
                out.uint(1);
            }
        }
        out.finish()
    }

    /// Reads a question that fills `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(bytes);
        let question = match kind(&mut input, 2)? {
            (2, 0) => Self::Hello(Hello::take(&mut input)?),
            (1, 1) => Self::Params,
            _ => return Err(input.fault(DecodeReason::Value("a question"))),
        };
        input.end()?;
        Ok(question)
    }
}

// === impl Answer ===

impl Answer {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::with_capacity(1024);
        match self {
            Self::Welcome(hello) => {
                out.array(2);
                out.uint(0);
                hello.put(&mut out);
            }
            Self::Refused { hello, reason } => {
                out.array(3);
                out.uint(1);
                hello.put(&mut out);
                out.text(&printable(reason, REASON_LEN_MAX));
            }
            Self::Params(bytes) => {
                out.array(2);
                out.uint(2);
                out.bytes(bytes);
            }
        }
        out.finish()
    }

    /// Reads an answer that fills `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(bytes);
        let answer = match kind(&mut input, 3)? {
            (2, 0) => Self::Welcome(Hello::take(&mut input)?),
            (3, 1) => {
                let hello = Hello::take(&mut input)?;
                Self::Refused { hello, reason: text(&mut input, REASON_LEN_MAX)? }
            }
            (2, 2) => Self::Params(input.bytes(<NetworkParams as Document>::LEN_MAX)?.to_vec()),
            _ => return Err(input.fault(DecodeReason::Value("an answer"))),
        };
        input.end()?;
        Ok(answer)
    }
}
