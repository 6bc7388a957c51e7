//! The receipt: what a host says about one run. It is signed through the batch it lies in.

use crate::codec::{Document, record};
use crate::id::{
    ChannelId, DrawId, FunctionId, InputId, NetworkId, OutputId, ProfileId, PublicKey, ReceiptId,
    RunId,
};
use crate::outcome::Outcome;
use crate::price::Price;
use crate::sign::Domain;
use crate::units::{Fuel, Pages, Sequence, Tal, UnixNanos};

record! {
    /// What happened in one run and what it costs.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    pub struct Receipt {
        /// When the host recorded it, by its own clock.
        "at" => pub at: UnixNanos,
        /// The host.
        "by" => pub host: PublicKey,
        /// The function that ran.
        "fn" => pub function: FunctionId,
        /// The input document.
        "in" => pub input: InputId,
        /// Length of the input's body.
        "inn" => pub input_len: u64,
        /// Most pages of memory in use at once.
        "mem" => pub peak_pages: Pages,
        /// The network.
        "net" => pub network: NetworkId,
        /// The output document.
        "out" => pub output: OutputId,
        /// The payer's side; absent for a free run.
        "pay" => pub payment: Option<ReceiptPayment>,
        /// The order that was carried out.
        "run" => pub run: RunId,
        /// How this host chose another one to run it, and that one's receipt; absent when it ran here.
        "via" => pub forwarded: Option<Forwarded>,
        /// What this run costs: by the rule of the price; zero for a free run.
        "bill" => pub bill: Tal,
        /// Fuel used, host calls included.
        "fuel" => pub fuel: Fuel,
        /// Length of the output's body.
        "outn" => pub output_len: u64,
        /// The profile.
        "prof" => pub profile: ProfileId,
        /// Of the fuel, what host calls took.
        "hfuel" => pub host_fuel: Fuel,
        /// The price of the run.
        "price" => pub price: Price,
        /// How it ended.
        "outcome" => pub outcome: Outcome,
    }
}

record! {
    /// Where a paid run's bill goes.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    pub struct ReceiptPayment {
        /// The run's number in its channel.
        "seq" => pub sequence: Sequence,
        /// The channel.
        "chan" => pub channel: ChannelId,
        /// The sum of the channel's bills, this one included.
        "owed" => pub owed: Tal,
        /// Who signed the run.
        "payer" => pub payer: PublicKey,
    }
}

record! {
    /// In the receipt of a gateway that did not run the function itself: how it chose who did, and what that host said.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Forwarded {
        /// The record of the draw.
        "draw" => pub draw: DrawId,
        /// The receipt of the host that was drawn.
        "receipt" => pub receipt: ReceiptId,
    }
}

// A receipt is written at every call and many lie in one batch: it stays small. With every number at its
// longest and a forward named it is below 704 bytes; a typical one has about 430.
const _: () = assert!(<Receipt as Document>::LEN_MAX <= 704);

impl Document for Receipt {
    const DOMAIN: Domain = Domain::Receipt;

    fn network(&self) -> Option<NetworkId> {
        Some(self.network)
    }

    fn named_signer(&self) -> Option<PublicKey> {
        Some(self.host)
    }
}

impl Receipt {
    /// The name of this document.
    pub fn id(&self) -> ReceiptId {
        ReceiptId::of(&self.encode())
    }

    /// Bytes of input and output bodies, which the price counts together.
    pub fn body_bytes(&self) -> u64 {
        self.input_len.saturating_add(self.output_len)
    }
}
