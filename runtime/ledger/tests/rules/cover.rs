//! What a channel pays for, and each refusal by its code.

use talea_ledger::cover::{Cover, Now, Standing, Terms, decide};
use talea_ledger::rules::record::Channel;
use talea_ledger::sign::{Verified, seal_document};
use talea_ledger::*;

use crate::world::*;

struct Case {
    world: World,
    id: ChannelId,
    channel: Channel,
    run: Run,
    signer: SecretKey,
    session: Option<Session>,
    terms: Terms,
    standing: Standing,
    now: Now,
}

/// A run with sequence 5 that is covered: escrow 10,000, cap 1,000, price 100.
fn case() -> Case {
    let mut world = World::new();
    let id = world.open(10_000, 0);
    let channel = *world.state.channel(&id).unwrap();
    let run = Run { output_limit: 0, ..world.call(&payer(), id, 5).document };
    let slot = Slot(10);
    let price = Price { per_kib: Tal::ZERO, per_call: Tal(100), rate: 0 };
    Case {
        now: Now { time: world.network.slot_start(slot), slot },
        terms: Terms { host: host().public(), price, watermark: Tal(5000) },
        standing: Standing::default(),
        signer: payer(),
        session: None,
        world,
        id,
        channel,
        run,
    }
}

impl Case {
    fn pay(&mut self) -> &mut Payment {
        self.run.payment.as_mut().unwrap()
    }

    fn decide(&self) -> Result<Cover, &'static str> {
        let run = seal_document(&self.signer, &self.run).verify::<Run>().unwrap();
        let grant: Option<Verified<Session>> =
            self.session.as_ref().map(|session| seal_document(&payer(), session).verify().unwrap());
        let channel = (&self.id, &self.channel);
        let network = &self.world.network;
        decide(network, channel, &run, grant.as_ref(), &self.terms, &self.standing, self.now)
            .map_err(|refusal| refusal.code())
    }
}

#[test]
fn a_run_within_its_channel_is_covered() {
    let cover = case().decide().unwrap();
    let expected = Cover {
        channel: case().id,
        sequence: Sequence(5),
        cap: Tal(1000),
        payer: payer().public(),
        session: None,
        risk: Tal::ZERO,
    };
    assert_eq!(cover, expected);
}

#[test]
fn every_refusal_has_its_code() {
    type Change = fn(&mut Case);
    let table: [(&str, Change); 29] = [
        ("wrong-network", |case| case.run.network = NetworkId::DEVELOPMENT),
        ("unpaid", |case| case.run.payment = None),
        ("wrong-channel", |case| case.pay().channel = ChannelId::new([1; 32])),
        ("wrong-host", |case| case.pay().host = Some(stranger().public())),
        ("wrong-host", |case| case.terms.host = stranger().public()),
        ("wrong-payer", |case| case.signer = stranger()),
        ("run-expired", |case| case.pay().expires = case.now.time),
        ("sequence-used", |case| case.standing.is_used = true),
        ("sequence-used", |case| case.channel.used.set(4)),
        ("sequence-window", |case| case.pay().sequence = Sequence(0)),
        ("sequence-window", |case| case.channel.settled = Sequence(5)),
        ("sequence-window", |case| case.standing.settled = Sequence(5)),
        ("sequence-window", |case| case.pay().sequence = Sequence(1025)),
        ("sequence-window", |case| case.pay().sequence = Sequence(u64::MAX)),
        ("sequence-window", |case| {
            case.pay().sequence = Sequence(u64::MAX);
            case.standing.settled = Sequence(u64::MAX);
        }),
        ("price-low", |case| case.terms.price.per_call = Tal(101)),
        ("price-low", |case| case.terms.price.rate = 1),
        ("cap-low", |case| case.pay().cap = Tal(99)),
        ("cap-low", |case| case.run.price.rate = u64::MAX),
        ("not-covered", |case| case.channel.escrow = Tal(999)),
        ("not-covered", |case| case.standing.owed = Tal(9001)),
        ("not-covered", |case| {
            case.standing.owed = Tal::MAX;
            case.channel.escrow = Tal::MAX;
        }),
        ("watermark", |case| case.standing.reserved = Tal(4001)),
        ("watermark", |case| case.channel.watermark = Tal(999)),
        ("near-deadline", |case| case.channel.expires = Slot(13)),
        ("near-deadline", |case| case.channel.closing = Some(Slot(13))),
        ("near-deadline", |case| case.standing.closing = Some(Slot(13))),
        ("near-deadline", |case| case.now.slot = Slot::MAX),
        ("wrong-payer", |case| {
            case.signer = session_key();
            case.session = Some(session(&case.world));
            case.channel.payer = stranger().public();
        }),
    ];
    for (code, change) in table {
        let mut changed = case();
        change(&mut changed);
        assert_eq!(changed.decide(), Err(code));
    }
}

/// The same under a session.
fn under_session() -> Case {
    let mut case = case();
    case.signer = session_key();
    case.session = Some(session(&case.world));
    case
}

#[test]
fn a_session_covers_what_its_grant_says() {
    let mut case = under_session();
    case.pay().cap = Tal(1000);
    let id = case.session.as_ref().unwrap().id();
    assert_eq!(case.decide().unwrap().session, Some(id));
    type Change = fn(&mut Case, &mut Session);
    let table: [(&str, Change); 9] = [
        ("session-scope", |_, session| session.key = stranger().public()),
        ("session-scope", |_, session| session.hosts = Some(vec![].try_into().unwrap())),
        ("session-scope", |_, session| session.functions = Some(vec![].try_into().unwrap())),
        ("session-scope", |case, session| session.expires = UnixNanos(case.pay().expires.0 - 1)),
        ("session-expired", |case, session| {
            let end = case.world.network.slot_start(Slot(13));
            case.pay().expires = end;
            session.expires = end;
        }),
        ("session-total", |_, session| session.total = Tal(999)),
        ("session-total", |case, _| case.standing.session_spent = Tal(1)),
        ("wrong-network", |_, session| session.network = NetworkId::DEVELOPMENT),
        ("run-expired", |case, session| {
            case.pay().expires = case.now.time;
            session.hosts = None;
        }),
    ];
    for (code, change) in table {
        let mut case = under_session();
        let mut session = case.session.clone().unwrap();
        change(&mut case, &mut session);
        case.session = Some(session);
        assert_eq!(case.decide(), Err(code));
    }
}

#[test]
fn a_voucher_at_hand_frees_the_watermark_and_escrow_at_risk_is_told_apart() {
    let mut case = case();
    case.standing.owed = Tal(6000);
    assert_eq!(case.decide(), Err("watermark"));
    case.standing.vouched = Tal(5000);
    assert_eq!(case.decide().unwrap().risk, Tal::ZERO);
    case.channel.escrow = Tal(6500);
    assert_eq!(case.decide(), Err("not-covered"));
    case.standing.at_risk = Tal(500);
    assert_eq!(case.decide().unwrap().risk, Tal(500));
}
