//! The session: what a payer lets another key sign for it, so that a wallet is asked once.
//!
//! Invariant: a session key signs runs and vouchers only, within hosts, functions, sum and time of its grant; the
//! payer signs the grant. The ledger counts what a grant has paid, channel by channel: were it one sum over all, a
//! host could not know what other hosts still hold against it, and what it accepts could become worthless.

use crate::codec::{Document, List, record};
use crate::id::{FunctionId, NetworkId, PublicKey, SessionId};
use crate::sign::Domain;
use crate::units::{Tal, UnixNanos};

/// Most hosts of a session.
pub const HOSTS_MAX: usize = 32;
/// Most functions of a session.
pub const FUNCTIONS_MAX: usize = 64;

record! {
    /// One grant.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    pub struct Session {
        /// The key that may sign.
        "key" => pub key: PublicKey,
        /// The network.
        "net" => pub network: NetworkId,
        /// The hosts it may pay; any when absent.
        "hosts" => pub hosts: Option<List<PublicKey, HOSTS_MAX>>,
        /// Who pays, and signs this.
        "payer" => pub payer: PublicKey,
        /// The most it may spend of one channel, in sum.
        "total" => pub total: Tal,
        /// What it signed counts on the ledger until then.
        "expires" => pub expires: UnixNanos,
        /// The functions it may call; any when absent.
        "functions" => pub functions: Option<List<FunctionId, FUNCTIONS_MAX>>,
    }
}

impl Document for Session {
    const DOMAIN: Domain = Domain::Session;

    fn network(&self) -> Option<NetworkId> {
        Some(self.network)
    }

    fn named_signer(&self) -> Option<PublicKey> {
        Some(self.payer)
    }
}

impl Session {
    /// The name of this document.
    pub fn id(&self) -> SessionId {
        SessionId::of(&self.encode())
    }

    /// Whether it may pay this host.
    pub fn has_host(&self, host: &PublicKey) -> bool {
        self.hosts.as_ref().is_none_or(|hosts| hosts.contains(host))
    }

    /// Whether it may call this function.
    pub fn has_function(&self, function: &FunctionId) -> bool {
        self.functions.as_ref().is_none_or(|functions| functions.contains(function))
    }
}
