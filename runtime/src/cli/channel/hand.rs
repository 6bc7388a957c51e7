//! Who pays and whose key signs: the payer itself, or a session key with the payer's grant.

use std::path::Path;

use talea_ledger::{PublicKey, Sealed, SecretKey, Session};

use crate::cli::base64url;
use crate::cli::exit::{Exit, Failure, OrExit as _};
use crate::cli::wallet::Wallet;

/// A signer of runs and vouchers.
#[derive(Debug)]
pub(in crate::cli) struct Hand<'w> {
    pub(in crate::cli) wallet: &'w Wallet,
    grant: Option<(Sealed, Session)>,
}

// === impl Hand ===

impl<'w> Hand<'w> {
    /// The wallet pays for itself, or signs under the grant in a file.
    pub(in crate::cli) fn new(wallet: &'w Wallet, grant: Option<&Path>) -> Result<Self, Failure> {
        let grant = grant.map(read).transpose()?;
        if let Some((_, session)) = &grant
            && session.key != wallet.public()
        {
            let sentence = format!(
                "the session is granted to {}, the key that signs is {}",
                session.key,
                wallet.public()
            );
            return Err(
                Failure::said(Exit::Denied, sentence).advise("name the session's key with --key")
            );
        }
        Ok(Self { wallet, grant })
    }

    /// Whose money it is.
    pub(in crate::cli) fn payer(&self) -> PublicKey {
        self.grant.as_ref().map_or(self.wallet.public(), |(_, session)| session.payer)
    }

    /// The key that signs.
    pub(in crate::cli) fn key(&self) -> &SecretKey {
        self.wallet.key()
    }

    /// Whether it may open and close channels: a session key may not.
    pub(in crate::cli) fn is_payer(&self) -> bool {
        self.grant.is_none()
    }

    /// The grant as a header carries it.
    pub(in crate::cli) fn session_header(&self) -> Option<String> {
        self.grant.as_ref().map(|(sealed, _)| base64url(&sealed.encode()))
    }
}

/// Reads a grant from its file.
pub(super) fn read(path: &Path) -> Result<(Sealed, Session), Failure> {
    let bytes =
        std::fs::read(path).or_exit(Exit::NoInput, || format!("cannot read {}", path.display()))?;
    let wrong = || format!("{} is not a session", path.display());
    let sealed = Sealed::decode(&bytes).or_exit(Exit::Data, wrong)?;
    let session = sealed.verify::<Session>().or_exit(Exit::Data, wrong)?.document().clone();
    Ok((sealed, session))
}
