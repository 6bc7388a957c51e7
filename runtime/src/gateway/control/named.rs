//! What a path names: its one variable part, read as an id before a route sees it.
//!
//! Invariant: a route whose argument is [`Named`] is never called with a text that is none. Absent: names of functions,
//! which have two parts and an own error.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use talea_ledger::{BlockId, ChannelId, FunctionId, Height, PublicKey, ReceiptId, TransactionId};

use super::ControlError;
use crate::gateway::respond::Fault;

/// Longest part of a path that an error repeats.
const TEXT_LEN_MAX: usize = 80;

/// The path's id.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named<T>(pub(super) T);

/// What a path can name.
pub(super) trait Nameable: FromStr {
    /// In words.
    const WHAT: &'static str;
}

impl Nameable for FunctionId {
    const WHAT: &'static str = "function id";
}

impl Nameable for ReceiptId {
    const WHAT: &'static str = "receipt";
}

impl Nameable for TransactionId {
    const WHAT: &'static str = "transaction";
}

impl Nameable for ChannelId {
    const WHAT: &'static str = "channel";
}

impl Nameable for PublicKey {
    const WHAT: &'static str = "account";
}

/// A block, by either of its names.
#[derive(Debug, Clone, Copy)]
pub(super) enum BlockName {
    Id(BlockId),
    Height(Height),
}

impl FromStr for BlockName {
    type Err = <Height as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) => text.parse().map(Self::Height),
        }
    }
}

impl Nameable for BlockName {
    const WHAT: &'static str = "block";
}

impl<T: Nameable, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        // Not percent-encoded text: no id either.
        let text = path.map_or_else(|_| parts.uri.path().to_owned(), |Path(text)| text);
        text.parse().map(Self).map_err(|_| unreadable(T::WHAT, &text).into())
    }
}

/// A text that names nothing of its kind.
pub(super) fn unreadable(what: &'static str, text: &str) -> ControlError {
    ControlError::Unreadable { what, text: text.chars().take(TEXT_LEN_MAX).collect() }
}
