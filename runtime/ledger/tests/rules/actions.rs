//! Each action does what it says.

use talea_ledger::rules::record::{FraudKey, GrantKey, SessionKey, SessionRecord};
use talea_ledger::sign::seal_document;
use talea_ledger::transaction::*;
use talea_ledger::*;

use crate::world::*;

#[test]
fn a_transfer_moves_money_and_pays_its_fee() {
    let mut world = World::new();
    let fresh = person(50).public();
    world.send(&payer(), Action::Transfer(Transfer { to: fresh, amount: Tal(500) })).unwrap();
    assert_eq!(world.state.account(&fresh).balance, Tal(500));
    assert_eq!(world.balance(&payer()), FUND - 500 - FEE);
    assert_eq!(world.state.account(&payer().public()).nonce, Nonce(1));
    assert_eq!(world.state.totals().fees, Tal(FEE));
}

#[test]
fn a_stake_is_locked_and_leaves_after_its_window() {
    let mut world = World::new();
    world.send(&host(), Action::Stake(Stake { amount: Tal(700) })).unwrap();
    world.send(&host(), Action::Unstake(Unstake { amount: Tal(300) })).unwrap();
    let settle = Action::Settle(Settle { lock: Lock::Stake(host().public()) });
    assert_eq!(world.send(&stranger(), settle.clone()), Err("held"));
    world.pass(6);
    world.send(&stranger(), settle.clone()).unwrap();
    assert_eq!(world.balance(&host()), FUND - 400 - 2 * FEE);
    assert_eq!(world.state.stake(&host().public()).unwrap().amount, Tal(400));
    assert_eq!(world.send(&stranger(), settle), Err("nothing-owed"));
}

#[test]
fn a_function_has_an_owner_who_can_change_it_and_hand_it_on() {
    let mut world = World::new();
    let id = world.send(&author(), register()).unwrap();
    let update = |owner| {
        Action::UpdateFunction(UpdateFunction {
            function: function(),
            cgi: Some(true),
            limits: None,
            profile: None,
            owner,
            headers: None,
        })
    };
    assert_eq!(world.state.function(&function()).unwrap().last, id);
    assert_eq!(world.send(&stranger(), register()), Err("taken"));
    assert_eq!(world.send(&stranger(), update(None)), Err("not-owner"));
    world.send(&author(), update(Some(stranger().public()))).unwrap();
    let record = world.state.function(&function()).unwrap();
    assert_eq!((record.owner, record.cgi), (stranger().public(), true));
    assert_eq!(world.send(&stranger(), update(None)), Err("nothing"));
}

fn register_name(name: &str) -> Action {
    Action::RegisterName(RegisterName {
        function: function(),
        royalty: Ppm::new(5).unwrap(),
        name: name.parse().unwrap(),
        private: true,
    })
}

#[test]
fn names_lie_in_namespaces_with_an_owner() {
    let mut world = World::new();
    assert_eq!(world.send(&author(), register_name("art/one")), Err("unknown"));
    world.send(&author(), register()).unwrap();
    let first = world.send(&author(), register_name("art/one")).unwrap();
    assert_eq!(world.send(&author(), register_name("art/one")), Err("taken"));
    assert_eq!(world.send(&stranger(), register_name("art/two")), Err("not-owner"));
    // A second name builds on the namespace's last transaction.
    let mut order = world.order(&author(), register_name("art/two"));
    order.builds_on = Some(TransactionId::new([9; 32]));
    assert_eq!(world.submit(&order.seal(&author())), Err("stale"));
    order.builds_on = Some(first);
    let second = world.submit(&order.seal(&author())).unwrap();
    assert_eq!(world.state.namespace(&"art".parse().unwrap()).unwrap().last, second);
    let name = "art/one".parse().unwrap();
    let grant = Grant { key: payer().public(), name, methods: None };
    let key = GrantKey { key: grant.key, name: grant.name.clone() };
    world.send(&author(), Action::Grant(grant.clone())).unwrap();
    assert!(world.state.grant(&key).is_some());
    assert_eq!(world.send(&author(), Action::Grant(grant.clone())), Err("nothing"));
    let revoke = Revoke { key: grant.key, name: grant.name };
    world.send(&author(), Action::Revoke(revoke.clone())).unwrap();
    assert!(world.state.grant(&key).is_none());
    assert_eq!(world.send(&author(), Action::Revoke(revoke)), Err("unknown"));
}

#[test]
fn a_name_keeps_its_versions() {
    let mut world = World::new();
    world.send(&author(), register()).unwrap();
    world.send(&author(), register_name("art/one")).unwrap();
    let Action::RegisterFunction(plain) = register() else { unreachable!() };
    let other = FunctionId::of(b"other");
    world
        .send(&author(), Action::RegisterFunction(RegisterFunction { function: other, ..plain }))
        .unwrap();
    let update = UpdateName {
        function: Some(other),
        royalty: None,
        name: "art/one".parse().unwrap(),
        owner: Some(stranger().public()),
        private: None,
    };
    world.send(&author(), Action::UpdateName(update.clone())).unwrap();
    let record = world.state.name(&update.name).unwrap();
    assert_eq!(&record.versions[..], [function(), other]);
    assert_eq!((record.function(), record.owner), (Some(other), stranger().public()));
    assert_eq!(world.send(&author(), Action::UpdateName(update)), Err("not-owner"));
}

#[test]
fn a_voucher_pays_host_and_author_and_the_rest_returns() {
    let mut world = World::new();
    world.send(&author(), register()).unwrap();
    let channel = world.open(10_000, 0);
    let voucher = world.voucher(channel, 1000, 7);
    world.redeem(&payer(), &voucher, &[(100_000, 600), (0, 400)]).unwrap();
    assert_eq!(world.balance(&author()), FUND - FEE + 60);
    assert_eq!(world.balance(&host()), FUND - FEE + 940);
    // The same voucher again pays nothing; a later one pays the difference.
    assert_eq!(world.redeem(&payer(), &voucher, &[]), Err("nothing-owed"));
    world.redeem(&payer(), &world.voucher(channel, 1500, 9), &[(0, 500)]).unwrap();
    let close = Action::CloseChannel(CloseChannel { channel });
    let settle = Action::Settle(Settle { lock: Lock::Channel(channel) });
    world.send(&payer(), close).unwrap();
    assert_eq!(world.send(&payer(), settle.clone()), Err("held"));
    // In the window the host redeems what it still holds.
    world.redeem(&payer(), &world.voucher(channel, 1600, 9), &[(0, 100)]).unwrap();
    world.pass(20);
    assert_eq!(
        world.redeem(&payer(), &world.voucher(channel, 1700, 9), &[(0, 100)]),
        Err("channel-expired")
    );
    world.send(&stranger(), settle.clone()).unwrap();
    assert_eq!(world.balance(&payer()), FUND - 1600 - 2 * FEE);
    assert!(world.state.channel(&channel).is_none());
    assert_eq!(world.send(&stranger(), settle), Err("unknown"));
}

#[test]
fn a_revoked_session_counts_for_the_hosts_window_and_no_longer() {
    let mut world = World::new();
    let channel = world.open(10_000, 1000);
    let session = session(&world);
    let grant = || seal_document(&payer(), &session);
    let action = RevokeSession { channel, session: session.id() };
    let revoke = || Action::RevokeSession(action);
    let by_voucher = |world: &World, owed, settled, payment| {
        let voucher = world.voucher(channel, owed, settled);
        redeem(&session_key(), &voucher, &[(0, payment)], Some(grant()))
    };
    let first = by_voucher(&world, 100, 1, 100);
    world.send(&host(), first).unwrap();
    let root = world.state.root();
    assert_eq!(world.send(&host(), revoke()), Err("not-owner"));
    let elsewhere = RevokeSession { channel: ChannelId::new([8; 32]), ..action };
    assert_eq!(world.send(&payer(), Action::RevokeSession(elsewhere)), Err("unknown"));
    assert_eq!(world.state.root(), root);
    let until = Slot(world.slot().0 + 20);
    world.send(&payer(), revoke()).unwrap();
    let key = SessionKey { channel, session: session.id() };
    let record = SessionRecord { spent: Tal(100), until: Some(until) };
    assert_eq!(world.state.session(&key), Some(&record));
    // The end that was set first stands: the payer cannot shorten it, nor the host lengthen it.
    assert_eq!(world.send(&payer(), revoke()), Err("taken"));
    // What the key has signed is redeemed within the window, by voucher and by batch.
    let second = by_voucher(&world, 150, 2, 50);
    world.send(&host(), second).unwrap();
    let call = world.call(&session_key(), channel, 3);
    let batch =
        |call: Call| Action::RedeemBatch(Box::new(redeem_batch(channel, &[call], vec![grant()])));
    world.send(&host(), batch(call)).unwrap();
    world.pass(20);
    let root = world.state.root();
    let third = by_voucher(&world, 300, 4, 50);
    assert_eq!(world.send(&host(), third), Err("session-expired"));
    let late = world.call(&session_key(), channel, 5);
    assert_eq!(world.send(&host(), batch(late)), Err("session-expired"));
    assert_eq!(world.state.root(), root);
    // The payer's own word counts as before.
    world.redeem(&payer(), &world.voucher(channel, 300, 4), &[(0, 50)]).unwrap();
}

#[test]
fn a_host_closes_at_once_and_a_channel_ends_at_its_time() {
    let mut world = World::new();
    let channel = world.open(10_000, 0);
    world.send(&host(), Action::CloseChannel(CloseChannel { channel })).unwrap();
    assert_eq!(world.balance(&payer()), FUND - FEE);
    let channel = world.open(10_000, 0);
    world.pass(1000);
    world.send(&stranger(), Action::Settle(Settle { lock: Lock::Channel(channel) })).unwrap();
    assert_eq!(world.balance(&payer()), FUND - 2 * FEE);
}

#[test]
fn a_top_up_adds_escrow_and_time() {
    let mut world = World::new();
    let channel = world.open(100, 0);
    let before = *world.state.channel(&channel).unwrap();
    let later = Some(Slot(before.expires.0 + 5));
    let top_up = |expires| Action::TopUp(TopUp { channel, amount: Tal(50), expires });
    assert_eq!(world.send(&stranger(), top_up(later)), Err("not-owner"));
    world.send(&stranger(), top_up(None)).unwrap();
    world.send(&payer(), top_up(later)).unwrap();
    let after = world.state.channel(&channel).unwrap();
    assert_eq!((after.escrow, Some(after.expires)), (Tal(200), later));
    assert_eq!(world.send(&payer(), top_up(later)), Err("deadline"));
}

/// A world whose host has given all its money away.
fn poor_host() -> World {
    let mut world = World::new();
    let rest = Tal(FUND - FEE);
    let gift = Transfer { to: stranger().public(), amount: rest };
    world.send(&host(), Action::Transfer(gift)).unwrap();
    assert_eq!(world.balance(&host()), 0);
    world
}

#[test]
fn a_host_without_money_pays_the_fee_out_of_what_its_redeem_brings() {
    let mut world = poor_host();
    let channel = world.open(1_000, 0);
    let voucher = world.voucher(channel, 100, 1);
    let action = redeem(&payer(), &voucher, &[(0, 100)], None);
    let order = world.order(&host(), action.clone());
    assert_eq!(world.state.income(&order), Tal(100));
    let fee = world.network.fee(order.encode().len());
    assert!(fee > Tal::ZERO && fee < Tal(100));
    let fees = world.state.totals().fees;
    world.send(&host(), action.clone()).unwrap();
    assert_eq!(world.balance(&host()), 100 - fee.0);
    assert_eq!(world.state.totals().fees, Tal(fees.0 + fee.0));
    assert_eq!(world.state.income(&world.order(&host(), action)), Tal::ZERO, "it is paid");
    // What brings less than its fee is refused as a whole: the voucher is good for later.
    let mut world = poor_host();
    let channel = world.open(1_000, 0);
    let voucher = world.voucher(channel, fee.0 - 1, 1);
    let parts = [(0, fee.0 - 1)];
    assert_eq!(world.redeem(&payer(), &voucher, &parts), Err("fee"));
    assert_eq!(world.state.channel(&channel).unwrap().redeemed, Tal::ZERO);
    world.redeem(&payer(), &world.voucher(channel, fee.0, 2), &[(0, fee.0)]).unwrap();
    assert_eq!(world.balance(&host()), 0);
}

#[test]
fn income_is_what_the_sender_itself_can_get_and_no_more_than_is_there() {
    let mut world = World::new();
    let channel = world.open(1_000, 0);
    let promise = redeem(&payer(), &world.voucher(channel, u64::MAX, 1), &[(0, 1)], None);
    let income = |world: &World, by: &SecretKey, action: &Action| {
        world.state.income(&world.order(by, action.clone()))
    };
    assert_eq!(income(&world, &host(), &promise), Tal(1_000), "what lies in the channel");
    assert_eq!(income(&world, &stranger(), &promise), Tal::ZERO, "another's channel");
    let unknown = ChannelId::new([9; 32]);
    let promise = redeem(&payer(), &world.voucher(unknown, 50, 1), &[(0, 50)], None);
    assert_eq!(income(&world, &host(), &promise), Tal::ZERO, "no channel");
    assert_eq!(
        income(&world, &payer(), &Action::Settle(Settle { lock: Lock::Channel(channel) })),
        Tal(1_000)
    );
    assert_eq!(
        income(&world, &host(), &Action::Settle(Settle { lock: Lock::Channel(channel) })),
        Tal::ZERO
    );
    let transfer = Action::Transfer(Transfer { to: host().public(), amount: Tal(5) });
    assert_eq!(income(&world, &host(), &transfer), Tal::ZERO);
    // At the end of a lock: exactly what it holds comes.
    world.send(&host(), Action::Stake(Stake { amount: Tal(300) })).unwrap();
    world.send(&host(), Action::Unstake(Unstake { amount: Tal(200) })).unwrap();
    let settle = Action::Settle(Settle { lock: Lock::Stake(host().public()) });
    assert_eq!(income(&world, &host(), &settle), Tal(200));
    let calls = [world.call(&payer(), channel, 1)];
    world.pass(1);
    let batch =
        world.send(&host(), Action::RedeemBatch(Box::new(redeem_batch(channel, &calls, vec![]))));
    assert_eq!(batch, Err("batch-cap"), "the payer allows none here");
    let channel = world.open(1_000, 500);
    let calls = [world.call(&payer(), channel, 1)];
    let batch = Action::RedeemBatch(Box::new(redeem_batch(channel, &calls, vec![])));
    let claim = world.send(&host(), batch).unwrap();
    let settle = Action::Settle(Settle { lock: Lock::Claim(claim) });
    assert_eq!(income(&world, &host(), &settle), Tal(100));
    assert_eq!(income(&world, &payer(), &settle), Tal::ZERO);
}

#[test]
fn a_batch_pays_after_its_window_and_a_voucher_counts_it() {
    let mut world = World::new();
    world.send(&author(), register()).unwrap();
    let channel = world.open(10_000, 500);
    let calls: Vec<Call> = [3, 5, 9].map(|at| world.call(&payer(), channel, at)).to_vec();
    let action = redeem_batch(channel, &calls, vec![]);
    let claim = world.send(&host(), Action::RedeemBatch(Box::new(action.clone()))).unwrap();
    let again = Action::RedeemBatch(Box::new(action));
    assert_eq!(world.send(&host(), again), Err("sequence-paid"));
    let settle = Action::Settle(Settle { lock: Lock::Claim(claim) });
    assert_eq!(world.send(&host(), settle.clone()), Err("held"));
    let before = world.balance(&host());
    // A voucher over all of it, two more bills included, pays only those two.
    world.redeem(&payer(), &world.voucher(channel, 500, 9), &[(0, 200)]).unwrap();
    world.pass(10);
    world.send(&stranger(), settle).unwrap();
    let fee = world.network.fee(1);
    assert_eq!(world.balance(&host()), before - fee.0 + 200 + 270);
    assert_eq!(world.balance(&author()), FUND - FEE + 30);
    assert!(world.state.claim(&claim).is_none());
}

#[test]
fn a_challenge_voids_what_is_not_answered() {
    let mut world = World::new();
    let channel = world.open(10_000, 500);
    let calls: Vec<Call> = [1, 2].map(|at| world.call(&payer(), channel, at)).to_vec();
    let action = redeem_batch(channel, &calls, vec![]);
    let claim = world.send(&host(), Action::RedeemBatch(Box::new(action))).unwrap();
    let challenge = |sequence| Action::Challenge(Challenge { sequence: Sequence(sequence), claim });
    assert_eq!(world.send(&stranger(), challenge(1)), Err("not-owner"));
    assert_eq!(world.send(&payer(), challenge(3)), Err("unknown"));
    world.send(&payer(), challenge(1)).unwrap();
    world.send(&payer(), challenge(2)).unwrap();
    assert_eq!(world.send(&payer(), challenge(2)), Err("challenged"));
    let answer = |sequence, receipt: Receipt| {
        Action::Answer(Box::new(Answer {
            input: input().encode().try_into().unwrap(),
            sequence: Sequence(sequence),
            body: Some(BODY.try_into().unwrap()),
            claim,
            receipt: receipt.encode().try_into().unwrap(),
        }))
    };
    assert_eq!(world.send(&host(), answer(1, calls[0].receipt(700))), Err("wrong-answer"));
    world.send(&host(), answer(1, calls[0].receipt(100))).unwrap();
    assert_eq!(world.send(&host(), answer(1, calls[0].receipt(100))), Err("not-challenged"));
    assert_eq!(world.send(&payer(), challenge(1)), Err("challenged"));
    world.pass(10);
    assert_eq!(world.send(&host(), answer(2, calls[1].receipt(200))), Err("late"));
    assert_eq!(world.send(&payer(), challenge(1)), Err("late"));
    let before = world.balance(&host());
    world.send(&stranger(), Action::Settle(Settle { lock: Lock::Claim(claim) })).unwrap();
    assert_eq!(world.balance(&host()), before + 100);
    let record = world.state.channel(&channel).unwrap();
    assert_eq!((record.escrow, record.redeemed, record.batched), (Tal(9900), Tal(100), Tal(100)));
    // What was void can still be paid by a voucher: the payer's own word.
    world.redeem(&payer(), &world.voucher(channel, 200, 2), &[(0, 100)]).unwrap();
}

#[test]
fn a_session_key_spends_within_its_grant() {
    let mut world = World::new();
    let channel = world.open(10_000, 5000);
    let session = session(&world);
    let sealed = seal_document(&payer(), &session);
    let with = |owed, settled, amount| {
        let voucher = Voucher {
            network: session.network,
            channel,
            owed: Tal(owed),
            settled: Sequence(settled),
        };
        redeem(&session_key(), &voucher, &[(0, amount)], Some(sealed.clone()))
    };
    world.send(&host(), with(600, 6, 600)).unwrap();
    let key = SessionKey { channel, session: session.id() };
    assert_eq!(world.state.session(&key).unwrap().spent, Tal(600));
    assert_eq!(world.send(&host(), with(1001, 7, 401)), Err("session-total"));
    // Its runs count towards the same sum.
    let call = world.call(&session_key(), channel, 7);
    let action = redeem_batch(channel, &[call], vec![sealed.clone()]);
    world.send(&host(), Action::RedeemBatch(Box::new(action))).unwrap();
    assert_eq!(world.state.session(&key).unwrap().spent, Tal(700));
    // Another channel has its own count.
    let other = world.open(10_000, 0);
    let voucher = world.voucher(other, 900, 1);
    world.send(&host(), redeem(&session_key(), &voucher, &[(0, 900)], Some(sealed))).unwrap();
}

#[test]
fn an_anchor_follows_the_one_before() {
    let mut world = World::new();
    let anchor = |first, last, count| {
        Action::Anchor(Anchor {
            last: units::BatchNumber(last),
            root: Digest::of(b"root"),
            count: merkle::LeafCount::of(count).unwrap(),
            first: units::BatchNumber(first),
        })
    };
    world.send(&host(), anchor(0, 9, 10)).unwrap();
    assert_eq!(world.send(&host(), anchor(9, 12, 4)), Err("anchor-order"));
    assert_eq!(world.send(&host(), anchor(10, 12, 4)), Err("anchor-order"));
    assert_eq!(world.send(&host(), anchor(12, 10, 1)), Err("anchor-order"));
    let id = world.send(&host(), anchor(10, 12, 2)).unwrap();
    assert_eq!(world.state.anchor(&host().public()).unwrap().transaction, id);
}

#[test]
fn an_offer_stands_until_its_slot() {
    let mut world = World::new();
    let offer = |until| {
        Action::AnnounceOffer(AnnounceOffer {
            price: Price::FREE,
            until: Slot(until),
            profiles: vec![ProfileId::of(b"a profile")].try_into().unwrap(),
            endpoints: vec!["/dns4/host/tcp/7600".parse().unwrap()].try_into().unwrap(),
        })
    };
    assert_eq!(world.send(&host(), offer(1)), Err("deadline"));
    world.send(&host(), offer(100)).unwrap();
    assert_eq!(world.state.offer(&host().public()).unwrap().until, Slot(100));
}

fn proven(world: &World, receipt: &Receipt) -> ProvenReceipt {
    let batch = batch_of(&host(), world.network.id(), std::slice::from_ref(receipt));
    ProvenReceipt {
        proof: batch.proof(merkle::LeafIndex::new(0)).unwrap(),
        receipt: receipt.encode().try_into().unwrap(),
    }
}

#[test]
fn proven_fraud_takes_the_stake_and_voids_claims() {
    let mut world = World::new();
    let channel = world.open(10_000, 5000);
    world.send(&host(), Action::Stake(Stake { amount: Tal(900) })).unwrap();
    world.send(&host(), Action::Unstake(Unstake { amount: Tal(400) })).unwrap();
    let call = world.call(&payer(), channel, 1);
    let action = redeem_batch(channel, std::slice::from_ref(&call), vec![]);
    let claim = world.send(&host(), Action::RedeemBatch(Box::new(action))).unwrap();
    let report = |one: &Receipt, other: &Receipt| {
        Action::ReportFraud(Box::new(ReportFraud {
            first: proven(&world, one),
            second: proven(&world, other),
        }))
    };
    let honest = world.call(&payer(), channel, 2).receipt(200);
    let no_fraud = report(&call.receipt(100), &honest);
    let again = report(&call.receipt(100), &call.receipt(150));
    let overlapping = report(
        &call.receipt(100),
        &Receipt {
            payment: honest.payment.clone().map(|pay| ReceiptPayment { owed: Tal(199), ..pay }),
            ..honest
        },
    );
    assert_eq!(world.send(&stranger(), no_fraud), Err("no-fraud"));
    world.send(&stranger(), again).unwrap();
    assert_eq!(world.send(&stranger(), overlapping), Err("taken"));
    let key = FraudKey { channel, host: host().public() };
    assert_eq!(world.state.fraud(&key).unwrap().slashed, Tal(900));
    assert_eq!(world.state.totals().burned, Tal(900));
    assert!(world.state.stake(&host().public()).is_none());
    world.pass(10);
    world.send(&payer(), Action::Settle(Settle { lock: Lock::Claim(claim) })).unwrap();
    assert_eq!(world.state.channel(&channel).unwrap().escrow, Tal(10_000));
    let call = world.call(&payer(), channel, 3);
    let action = redeem_batch(channel, &[call], vec![]);
    assert_eq!(world.send(&host(), Action::RedeemBatch(Box::new(action))), Err("fraudulent"));
}

#[test]
fn what_has_no_rules_yet_is_refused() {
    let mut world = World::new();
    let content = || Deferred::default();
    for action in [
        Action::RegisterTrigger(content()),
        Action::AuditClaim(content()),
        Action::AuditVerdict(content()),
        Action::RotateAuthority(content()),
        Action::Deposit(content()),
        Action::Withdraw(content()),
    ] {
        assert_eq!(world.send(&payer(), action), Err("unsupported"));
    }
}
