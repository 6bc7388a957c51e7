//! What a node says of itself and of a function, read strictly enough to sign on.
//!
//! Invariants: keys, ids and amounts are parsed into the ledger's own types before use; an answer that lacks one
//! is an error and not a default. Absent: belief. A receipt is checked against documents and signatures, never
//! against these views.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use talea_ledger::{FunctionId, NetworkId, Ppm, Price, ProfileId, PublicKey, Tal};

use super::client::{Client, ClientError};

/// A host and its offer.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Terms {
    #[serde(deserialize_with = "parsed")]
    pub(super) host: PublicKey,
    #[serde(deserialize_with = "parsed")]
    pub(super) network: NetworkId,
    #[serde(deserialize_with = "parsed")]
    pub(super) profile: ProfileId,
    price: PriceTerms,
}

#[derive(Clone, Debug, Deserialize)]
struct PriceTerms {
    #[serde(deserialize_with = "number")]
    per_call: u64,
    #[serde(deserialize_with = "number")]
    rate: u64,
    #[serde(deserialize_with = "number")]
    per_kib: u64,
}

/// A function as its node has it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Registered {
    #[serde(deserialize_with = "parsed")]
    pub(super) id: FunctionId,
    /// Names of the request headers its guest sees.
    pub(super) headers: Vec<String>,
    pub(super) cgi: bool,
    /// The author's share of each bill, in millionths; nothing for a function without a name on the ledger.
    #[serde(default)]
    royalty_ppm: u32,
    pub(super) limits: LimitTerms,
}

/// What one run of a function may use there.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct LimitTerms {
    #[serde(deserialize_with = "number")]
    pub(super) fuel: u64,
    #[serde(deserialize_with = "number")]
    pub(super) memory_pages: u64,
    #[serde(deserialize_with = "number")]
    pub(super) output_bytes: u64,
    #[serde(deserialize_with = "number")]
    pub(super) log_bytes: u64,
}

// === impl Terms ===

impl Terms {
    /// Asks the node.
    pub(super) async fn of(client: &Client) -> Result<Self, ClientError> {
        read(client, "/.well-known/talea/info").await
    }

    /// What a run costs there.
    pub(super) fn price(&self) -> Price {
        Price {
            per_call: Tal(self.price.per_call),
            rate: self.price.rate,
            per_kib: Tal(self.price.per_kib),
        }
    }
}

// === impl Registered ===

impl Registered {
    /// The author's share that runs name.
    pub(super) fn royalty(&self) -> Ppm {
        Ppm::new(self.royalty_ppm).unwrap_or(Ppm::WHOLE)
    }

    /// Asks the node for a function, by id or name.
    pub(super) async fn of(client: &Client, function: &str) -> Result<Self, ClientError> {
        read(client, &format!("/functions/{function}")).await
    }
}

async fn read<T: DeserializeOwned>(client: &Client, path: &str) -> Result<T, ClientError> {
    let view = client.get_json(path).await?;
    serde_json::from_value(view).map_err(|error| ClientError::Unintelligible {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn parsed<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
}

/// A 64-bit number: decimal text, as all views have it, or a JSON number where it is small.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Text(String),
        Number(u64),
    }
    match Written::deserialize(from)? {
        Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
        Written::Number(number) => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_read_whole_or_not_at_all() {
        let host = talea_ledger::SecretKey::from_bytes(&[1; 32]).public();
        let whole = serde_json::json!({
            "host": host.to_string(),
            "network": NetworkId::DEVELOPMENT.to_string(),
            "profile": ProfileId::of(b"x").to_string(),
            "price": { "per_call": "18446744073709551615", "rate": 7, "per_kib": "0" },
            "more": "is ignored",
        });
        let terms: Terms = serde_json::from_value(whole.clone()).unwrap();
        assert_eq!((terms.host, terms.price().per_call, terms.price().rate), (host, Tal::MAX, 7));
        for field in ["host", "network", "profile", "price"] {
            let mut part = whole.clone();
            part.as_object_mut().unwrap().remove(field);
            assert!(serde_json::from_value::<Terms>(part).is_err(), "without {field}");
        }
        let mut wrong = whole;
        wrong["price"]["rate"] = serde_json::json!(-1);
        assert!(serde_json::from_value::<Terms>(wrong).is_err());
    }
}
