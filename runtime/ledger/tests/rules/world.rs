//! A network of one authority and a few people, driven through the same doors as a node: envelopes are sealed and
//! verified, blocks are proposed, signed, encoded, decoded, verified and applied.

use std::sync::Arc;

use talea_ledger::batch::{BatchHead, SealedBatch, seal_batch};
use talea_ledger::block::{Block, SignedBlock, VerifiedBlock};
use talea_ledger::merkle::LeafIndex;
use talea_ledger::params::{Balance, Network, NetworkParams};
use talea_ledger::registration::{Kind, Limits};
use talea_ledger::rules::{Place, State, apply, propose};
use talea_ledger::sign::seal_document;
use talea_ledger::transaction::*;
use talea_ledger::*;

/// What everyone begins with.
pub(crate) const FUND: u64 = 1_000_000;
/// The fee of a short transaction.
pub(crate) const FEE: u64 = 10;

pub(crate) fn person(number: u8) -> SecretKey {
    SecretKey::from_bytes(&[number; 32])
}

pub(crate) fn authority() -> SecretKey {
    person(100)
}
pub(crate) fn payer() -> SecretKey {
    person(1)
}
pub(crate) fn host() -> SecretKey {
    person(2)
}
pub(crate) fn author() -> SecretKey {
    person(3)
}
pub(crate) fn stranger() -> SecretKey {
    person(4)
}
/// A key without an account: it signs for the payer under a session.
pub(crate) fn session_key() -> SecretKey {
    person(5)
}

pub(crate) fn params() -> NetworkParams {
    let people = [payer(), host(), author(), stranger()].map(|key| key.public());
    let balances: Vec<Balance> =
        people.iter().map(|key| Balance { key: *key, amount: Tal(FUND) }).collect();
    NetworkParams {
        fee: Tal(FEE),
        close_window: Slots(20),
        answer_window: Slots(5),
        redeem_margin: Slots(3),
        dispute_window: Slots(10),
        unstake_window: Slots(7),
        balances: balances.try_into().unwrap(),
        ..NetworkParams::development(&[], authority().public())
    }
}

pub(crate) struct World {
    pub(crate) network: Arc<Network>,
    pub(crate) state: State,
    /// Slots that passed without a block.
    pub(crate) skipped: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        let network = Arc::new(Network::new(params()).unwrap());
        Self { state: State::genesis(Arc::clone(&network)), network, skipped: 0 }
    }

    /// The slot of the next block.
    pub(crate) fn slot(&self) -> Slot {
        Slot(self.state.tip().slot.0 + 1 + self.skipped)
    }

    pub(crate) fn place(&self) -> Place {
        Place { height: Height(self.state.tip().height.0 + 1), slot: self.slot() }
    }

    pub(crate) fn pass(&mut self, slots: u64) {
        self.skipped += slots;
    }

    pub(crate) fn order(&self, key: &SecretKey, action: Action) -> Transaction {
        Transaction {
            action,
            network: self.network.id(),
            sender: key.public(),
            nonce: self.state.account(&key.public()).nonce,
            builds_on: None,
        }
    }

    pub(crate) fn verify(&self, sealed: &Sealed) -> Result<Arc<VerifiedTransaction>, &'static str> {
        VerifiedTransaction::verify(sealed, &self.network.id())
            .map(Arc::new)
            .map_err(|error| error.code())
    }

    /// Orders and puts into a block of its own. A refusal must leave no trace.
    pub(crate) fn send(
        &mut self,
        key: &SecretKey,
        action: Action,
    ) -> Result<TransactionId, &'static str> {
        self.submit(&self.order(key, action).seal(key))
    }

    pub(crate) fn submit(&mut self, sealed: &Sealed) -> Result<TransactionId, &'static str> {
        let transaction = self.verify(sealed)?;
        let root = self.state.root();
        let mut tried = self.state.clone();
        if let Err(rejection) = tried.attempt(&transaction, self.place()) {
            assert_eq!(tried.root(), root, "a refused transaction changed the state");
            return Err(rejection.code());
        }
        let id = transaction.id();
        self.block(&[transaction]);
        assert_eq!(self.state.root(), tried.root());
        Ok(id)
    }

    /// Makes the next block of these, all of which must apply, and applies it as it came over a wire.
    pub(crate) fn block(&mut self, transactions: &[Arc<VerifiedTransaction>]) {
        let block = self.propose(transactions);
        assert_eq!(block.transactions().len(), transactions.len());
        self.state = apply(&self.state, &block).unwrap();
        self.skipped = 0;
        self.state.conserved().unwrap();
    }

    pub(crate) fn propose(&self, transactions: &[Arc<VerifiedTransaction>]) -> VerifiedBlock {
        let proposal = propose(&self.state, self.slot(), authority().public(), transactions);
        let head = seal_document(&authority(), &proposal.header);
        let body = proposal.transactions.iter().map(|each| each.bytes().to_vec()).collect();
        let bytes = Block { head, body }.encode();
        self.read(&bytes).unwrap()
    }

    pub(crate) fn read(&self, bytes: &[u8]) -> Result<VerifiedBlock, BlockError> {
        let block = SignedBlock::verify(Block::decode(bytes)?, &self.network, self.slot())?;
        VerifiedBlock::verify(&block, &self.network)
    }

    pub(crate) fn balance(&self, key: &SecretKey) -> u64 {
        self.state.account(&key.public()).balance.0
    }

    /// A channel from the payer to the host.
    pub(crate) fn open(&mut self, escrow: u64, batch_cap: u64) -> ChannelId {
        let action = OpenChannel {
            host: host().public(),
            escrow: Tal(escrow),
            expires: Slot(self.slot().0 + 1000),
            batch_cap: Tal(batch_cap),
            watermark: Tal(escrow),
        };
        ChannelId::opened_by(&self.send(&payer(), Action::OpenChannel(action)).unwrap())
    }

    pub(crate) fn voucher(&self, channel: ChannelId, owed: u64, settled: u64) -> Voucher {
        Voucher { network: self.network.id(), channel, owed: Tal(owed), settled: Sequence(settled) }
    }

    /// The host redeems a voucher; `parts` are (ppm, amount) of the one function.
    pub(crate) fn redeem(
        &mut self,
        signer: &SecretKey,
        voucher: &Voucher,
        parts: &[(u32, u64)],
    ) -> Result<TransactionId, &'static str> {
        self.send(&host(), redeem(signer, voucher, parts, None))
    }

    /// A run of the payer and its receipt by the host.
    pub(crate) fn call(&self, signer: &SecretKey, channel: ChannelId, sequence: u64) -> Call {
        let run = Run {
            payment: Some(Payment {
                cap: Tal(1000),
                expires: UnixNanos(u64::MAX / 2),
                royalty_ppm: Ppm::new(100_000).unwrap(),
                sequence: Sequence(sequence),
                channel,
                host: Some(host().public()),
            }),
            ..self.free_run()
        };
        Call { signer: signer.public(), run: seal_document(signer, &run), document: run }
    }

    fn free_run(&self) -> Run {
        let input = input();
        Run {
            function: function(),
            input: input.id(),
            cgi: false,
            clock: UnixNanos(1_800_000_000_000_000_000),
            input_len: input.body_len,
            network: self.network.id(),
            payment: None,
            profile: ProfileId::of(b"a profile"),
            seed: [7; 32],
            price: Price { per_kib: Tal::ZERO, per_call: Tal(100), rate: 0 },
            log_limit: 1000,
            memory_limit: Pages(16),
            output_limit: 1000,
            fuel_limit: Fuel(1000),
        }
    }
}

pub(crate) fn function() -> FunctionId {
    FunctionId::of(b"\0asm\x01\0\0\0")
}

pub(crate) const BODY: &[u8] = b"question";

pub(crate) fn input() -> Input {
    Input {
        body_len: BODY.len() as u64,
        args: message::arguments([]).unwrap(),
        body: BodyId::of(BODY),
        path: "".parse().unwrap(),
        salt: None,
        query: "".parse().unwrap(),
        method: "POST".parse().unwrap(),
        headers: Headers::none(),
    }
}

pub(crate) fn redeem(
    signer: &SecretKey,
    voucher: &Voucher,
    parts: &[(u32, u64)],
    grant: Option<Sealed>,
) -> Action {
    let split: Vec<Part> = parts
        .iter()
        .map(|(ppm, amount)| Part {
            function: function(),
            royalty: Ppm::new(*ppm).unwrap(),
            amount: Tal(*amount),
        })
        .collect();
    Action::Redeem(Box::new(Redeem {
        grant,
        split: split.try_into().unwrap(),
        voucher: seal_document(signer, voucher),
    }))
}

/// One signed run.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) signer: PublicKey,
    pub(crate) run: Sealed,
    pub(crate) document: Run,
}

impl Call {
    /// The host's receipt; each call costs 100.
    pub(crate) fn receipt(&self, owed: u64) -> Receipt {
        let payment = self.document.payment.as_ref().unwrap();
        Receipt {
            at: UnixNanos(1_800_000_000_000_000_001),
            host: host().public(),
            function: self.document.function,
            input: self.document.input,
            input_len: self.document.input_len,
            peak_pages: Pages(1),
            network: self.document.network,
            output: Output::empty().id(),
            payment: Some(ReceiptPayment {
                sequence: payment.sequence,
                channel: payment.channel,
                owed: Tal(owed),
                payer: self.signer,
            }),
            run: self.document.id(),
            forwarded: None,
            bill: Tal(100),
            fuel: Fuel(5),
            output_len: 0,
            profile: self.document.profile,
            host_fuel: Fuel(0),
            price: self.document.price,
            outcome: Outcome::Ok,
        }
    }
}

pub(crate) fn batch_of(key: &SecretKey, network: NetworkId, receipts: &[Receipt]) -> SealedBatch {
    let head = BatchHead { network, number: 1, at: UnixNanos(1_800_000_000_000_000_002) };
    let payloads: Vec<Vec<u8>> = receipts.iter().map(Document::encode).collect();
    seal_batch(key, head, &payloads).unwrap()
}

/// A redeem by batch of these calls, `owed` counting up by 100.
pub(crate) fn redeem_batch(channel: ChannelId, calls: &[Call], grants: Vec<Sealed>) -> RedeemBatch {
    let receipts: Vec<Receipt> =
        calls.iter().zip(1_u64..).map(|(call, at)| call.receipt(at * 100)).collect();
    redeem_receipts(channel, calls, &receipts, grants)
}

pub(crate) fn redeem_receipts(
    channel: ChannelId,
    calls: &[Call],
    receipts: &[Receipt],
    grants: Vec<Sealed>,
) -> RedeemBatch {
    let batch = batch_of(&host(), calls[0].document.network, receipts);
    let bills: Vec<Bill> = calls
        .iter()
        .zip(receipts)
        .zip(0_u32..)
        .map(|((call, receipt), at)| Bill {
            run: call.run.clone(),
            path: batch.path(LeafIndex::new(at)).unwrap(),
            batch: 0,
            index: LeafIndex::new(at),
            receipt: receipt.encode().try_into().unwrap(),
        })
        .collect();
    RedeemBatch {
        channel,
        bills: bills.try_into().unwrap(),
        grants: grants.try_into().unwrap(),
        batches: vec![batch.sealed().clone()].try_into().unwrap(),
    }
}

pub(crate) fn register() -> Action {
    Action::RegisterFunction(RegisterFunction {
        function: function(),
        cgi: false,
        limits: Limits { log: 1, memory: Pages(2), output: 3, fuel: Fuel(4) },
        kind: Kind::Handler,
        profile: ProfileId::of(b"a profile"),
        headers: Vec::new().try_into().unwrap(),
    })
}

/// A grant of the payer to the session key.
pub(crate) fn session(world: &World) -> Session {
    Session {
        key: session_key().public(),
        network: world.network.id(),
        hosts: Some(vec![host().public()].try_into().unwrap()),
        payer: payer().public(),
        total: Tal(1000),
        expires: UnixNanos(u64::MAX),
        functions: Some(vec![function()].try_into().unwrap()),
    }
}
