//! Who holds a function: connected nodes and those that have announced it, asked for its registration.
//!
//! Holders come one after the other, the best first, and whoever has found one no good asks for the next: a liar that
//! answers before the others costs a try, not the call.

use talea_gossip::{Gossip, PIECE_LEN_MAX, Wanted};
use talea_ledger::{FunctionId, PublicKey, Registration, Sealed, Verified};
use tokio::task::JoinSet;

use super::{ASK_TIME_MAX, ASKED_MAX, SupplyParts, registration_key};

/// A node that holds the function, and the registration it gave.
pub(super) struct Holder {
    pub(super) peer: PublicKey,
    pub(super) registration: Verified<Registration>,
    pub(super) sealed: Sealed,
}

/// One search. Dropping it ends what is under way.
pub(super) struct Search<'a> {
    parts: &'a SupplyParts,
    function: FunctionId,
    /// Whose registration is taken before any other.
    owner: Option<PublicKey>,
    asked: Vec<PublicKey>,
    answers: JoinSet<(PublicKey, Option<Vec<u8>>)>,
    found: Vec<Holder>,
    /// Whether those who announced it were asked, too.
    is_wide: bool,
}

// === impl Search ===

impl<'a> Search<'a> {
    /// Asks the connected nodes, all at once.
    pub(super) fn begin(
        parts: &'a SupplyParts,
        function: FunctionId,
        owner: Option<PublicKey>,
    ) -> Self {
        let connected = parts.gossip.peers();
        let joined = connected.iter().filter(|peer| peer.joined).map(|peer| peer.key);
        let asked: Vec<PublicKey> = joined.take(ASKED_MAX).collect();
        let mut answers = JoinSet::new();
        for peer in &asked {
            answers.spawn(ask(parts.gossip.clone(), *peer, function));
        }
        Self { parts, function, owner, asked, answers, found: Vec::new(), is_wide: false }
    }

    /// The next holder; nobody once all who can be asked have answered, or none in time.
    pub(super) async fn next(&mut self) -> Option<Holder> {
        // Who has answered in time is enough.
        if tokio::time::timeout(ASK_TIME_MAX, self.look()).await.is_err() {
            self.answers.abort_all();
            self.is_wide = true;
        }
        let best = self.found.iter().position(|holder| self.is_best(holder));
        let at = best.or_else(|| (!self.found.is_empty()).then_some(0))?;
        Some(self.found.remove(at))
    }

    /// Takes answers until one is as good as can be, or there are no more.
    async fn look(&mut self) {
        loop {
            if self.found.iter().any(|holder| self.is_best(holder)) {
                return;
            }
            if let Some(answer) = self.answers.join_next().await {
                if let Ok((peer, Some(bytes))) = answer {
                    self.take(peer, &bytes);
                }
            } else if self.found.is_empty() && !self.is_wide {
                // Whoever is connected and has it answers before the announcements are found.
                self.is_wide = true;
                self.ask_who_announced_it().await;
            } else {
                return;
            }
        }
    }

    async fn ask_who_announced_it(&mut self) {
        for peer in self.parts.gossip.providers(self.function.digest()).await {
            if self.asked.len() < 2 * ASKED_MAX && !self.asked.contains(&peer) {
                self.asked.push(peer);
                self.answers.spawn(ask(self.parts.gossip.clone(), peer, self.function));
            }
        }
    }

    fn take(&mut self, peer: PublicKey, bytes: &[u8]) {
        let now = self.parts.clock.now();
        match self.parts.auth.registered(bytes, self.function, now) {
            Ok((registration, sealed)) => self.found.push(Holder { peer, registration, sealed }),
            Err(error) => {
                tracing::debug!(%peer, %error, "a peer gave a registration that does not hold");
                self.parts.gossip.blame(peer, "bad-registration");
            }
        }
    }

    /// The owner's word before anybody else's.
    fn is_best(&self, holder: &Holder) -> bool {
        self.owner.is_none_or(|owner| *holder.registration.signer() == owner)
    }
}

/// Asks one node for the registration of a function: whoever has the function has it.
async fn ask(
    gossip: Gossip,
    peer: PublicKey,
    function: FunctionId,
) -> (PublicKey, Option<Vec<u8>>) {
    let wanted = Wanted::Document(registration_key(function));
    let piece = gossip.fetch(peer, wanted, 0, PIECE_LEN_MAX).await;
    let whole = piece.ok().filter(|piece| piece.total == piece.bytes.len() as u64);
    (peer, whole.map(|piece| piece.bytes))
}
