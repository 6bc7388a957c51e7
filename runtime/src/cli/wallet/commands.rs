//! `talea wallet show | new`.

use clap::Subcommand;
use serde_json::json;

use super::{Home, Origin, Wallet};
use crate::cli::Context;
use crate::cli::exit::{Exit, Ran};
use crate::cli::screen::Ink;

/// What to do with the wallet.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(in crate::cli) enum WalletCommand {
    /// Show the public key, made on first use, and where its secret lies
    Show,
    /// Make a key; fails when there is one already
    New,
}

/// Runs `talea wallet ..`.
pub(in crate::cli) fn run(command: WalletCommand, context: &Context) -> Ran {
    let home = Home::of(&context.around)?;
    let (wallet, origin) = match command {
        WalletCommand::Show => Wallet::open_or_make(&home)?,
        WalletCommand::New => (Wallet::make(&home)?, Origin::Made),
    };
    let screen = &context.screen;
    if origin == Origin::Made {
        screen.note(format_args!("made a new key at {}", home.key_path().display()));
    }
    if screen.is_json() {
        screen.json(&json!({
            "key": wallet.public().to_string(),
            "path": home.key_path().display().to_string(),
            "made": origin == Origin::Made,
        }));
    } else {
        screen.line(wallet.public());
        screen.note(
            screen.note_ink(Ink::Faint, format_args!("secret: {}", home.key_path().display())),
        );
    }
    Ok(Exit::Ok)
}
