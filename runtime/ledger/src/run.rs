//! The run: the order for one invocation. A payer signs a paid run; the node makes a free one, unsigned.
//!
//! With the function's bytes and the input's, a run says everything that an execution depends on.

use crate::codec::{Document, record};
use crate::id::{ChannelId, FunctionId, InputId, NetworkId, ProfileId, PublicKey, RunId};
use crate::price::Price;
use crate::sign::Domain;
use crate::units::{Fuel, Pages, Ppm, Sequence, Tal, UnixNanos};

record! {
    /// One order.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    pub struct Run {
        /// The function.
        "fn" => pub function: FunctionId,
        /// The input document.
        "in" => pub input: InputId,
        /// Whether a header block at the start of a command's standard output is split off as headers.
        "cgi" => pub cgi: bool,
        /// The clock the guest starts with.
        "clk" => pub clock: UnixNanos,
        /// Length of the input's body.
        "inn" => pub input_len: u64,
        /// The network it is for.
        "net" => pub network: NetworkId,
        /// Who pays; absent in a free run.
        "pay" => pub payment: Option<Payment>,
        /// The profile it is executed and metered under.
        "prof" => pub profile: ProfileId,
        /// Where the guest's randomness comes from.
        "seed" => pub seed: [u8; 32],
        /// What the work costs.
        "price" => pub price: Price,
        /// Most bytes of log.
        "logmax" => pub log_limit: u64,
        /// Most pages of memory.
        "memmax" => pub memory_limit: Pages,
        /// Most bytes of output body.
        "outmax" => pub output_limit: u64,
        /// Most fuel.
        "fuelmax" => pub fuel_limit: Fuel,
    }
}

record! {
    /// The payer's side of a run. The payer is whoever signs it.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    pub struct Payment {
        /// The bill is never more than this.
        "cap" => pub cap: Tal,
        /// Not to be executed after this time.
        "exp" => pub expires: UnixNanos,
        /// The author's share of the bill.
        "ppm" => pub royalty_ppm: Ppm,
        /// The number of this run in its channel: one run each.
        "seq" => pub sequence: Sequence,
        /// The channel it is paid from.
        "chan" => pub channel: ChannelId,
        /// The only host that may execute it; any host the channel pays when absent.
        "host" => pub host: Option<PublicKey>,
    }
}

impl Document for Run {
    const DOMAIN: Domain = Domain::Run;

    fn network(&self) -> Option<NetworkId> {
        Some(self.network)
    }
}

impl Run {
    /// The name of this document.
    pub fn id(&self) -> RunId {
        RunId::of(&self.encode())
    }

    /// The most that the bill can be: zero for a free run.
    pub fn cap(&self) -> Tal {
        self.payment.as_ref().map_or(Tal::ZERO, |pay| pay.cap)
    }
}
