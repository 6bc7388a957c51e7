//! A name on the ledger: where every node of the network finds the function, not only the one it was sent to.
//!
//! Invariants: a name leads to a function that is registered, so that comes first; what is there already is left as
//! it is. A wallet without money for the fees leaves the ledger alone, and the user is told. Absent: prices and
//! access of a name, which have transactions of their own.

use talea_ledger::transaction::{RegisterFunction, RegisterName, UpdateName};
use talea_ledger::{Action, Network, Ppm, ProfileId, Registration, SecretKey, Tal};

use crate::cli::client::ClientError;
use crate::cli::exit::{Exit, Failure};
use crate::cli::ledger::teller::{chain_of, send};
use crate::cli::wallet::fund::{Purse, fund_if_needed};

/// On a development network the wallet gets as much before it names its first function: some hundred names.
const POCKET: Tal = Tal(10_000);

/// What became of the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Named {
    /// It leads to the function now.
    Registered,
    /// It did already.
    Already,
    /// The wallet cannot pay the fees: the name is known to this node alone.
    Unpaid,
}

/// Registers the function and gives it its name, or moves the name to it. Waits until both are final.
pub(in crate::cli) async fn register(
    purse: &Purse<'_>,
    key: &SecretKey,
    registration: &Registration,
    profile: ProfileId,
) -> Result<Named, Failure> {
    let Some(name) = &registration.name else { return Ok(Named::Already) };
    let network = chain_of(purse.client).await?;
    let standing = fund_if_needed(purse, key.public(), POCKET).await?;
    // Each of the two transactions is below a KiB.
    let fees = network.fee(1024).0.saturating_mul(2);
    if standing.balance.0 < fees {
        return Ok(Named::Unpaid);
    }
    let view = match purse.client.get_json(&format!("/names/{name}")).await {
        Ok(view) => Some(view),
        Err(ClientError::Refused { code, .. }) if code.as_deref() == Some("ledger_unknown") => None,
        Err(error) => return Err(error.into()),
    };
    let text = |field: &str| view.as_ref().and_then(|view| view.get(field)?.as_str());
    let function = registration.function;
    let action = match (text("owner"), text("function")) {
        (Some(owner), _) if owner != key.public().to_string() => {
            let sentence = format!("the name {name} belongs to {owner}");
            return Err(Failure::said(Exit::Denied, sentence).coded("name_taken"));
        }
        (Some(_), Some(held)) if held == function.to_string() => return Ok(Named::Already),
        (Some(_), _) => Action::UpdateName(UpdateName {
            function: Some(function),
            royalty: None,
            name: name.clone(),
            owner: None,
            private: None,
        }),
        (None, _) => Action::RegisterName(RegisterName {
            function,
            royalty: Ppm::ZERO,
            name: name.clone(),
            private: false,
        }),
    };
    register_function(purse, &network, key, registration, profile).await?;
    send(purse.client, &network, key, action, purse.time_max).await?;
    Ok(Named::Registered)
}

/// A function that somebody has registered already can be named all the same.
async fn register_function(
    purse: &Purse<'_>,
    network: &Network,
    key: &SecretKey,
    registration: &Registration,
    profile: ProfileId,
) -> Result<(), Failure> {
    let action = Action::RegisterFunction(RegisterFunction {
        function: registration.function,
        cgi: registration.cgi,
        limits: registration.limits,
        kind: registration.kind,
        profile,
        headers: registration.headers.clone(),
    });
    match send(purse.client, network, key, action, purse.time_max).await {
        Ok(_) => Ok(()),
        Err(failure) if failure.code() == Some("taken") => Ok(()),
        Err(failure) => Err(failure),
    }
}
