//! Offers as they come from peers: what is taken, what is passed over, and what is held against who said it.

use std::sync::atomic::{AtomicU64, Ordering};

use talea_ledger::profile::Profile;
use talea_ledger::sign::seal_document;
use talea_ledger::{Fuel, Network, Pages, SecretKey};

use super::*;

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_800_000_000 * SECOND;

#[derive(Debug)]
struct Hands(AtomicU64);

impl Clock for Hands {
    fn now(&self) -> UnixNanos {
        UnixNanos(self.0.load(Ordering::Relaxed))
    }
}

#[derive(Debug)]
struct Genesis(State);

impl Standings for Genesis {
    fn head(&self) -> State {
        self.0.clone()
    }
}

fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32])
}

fn terms() -> Terms {
    Terms {
        price: Price { per_call: Tal(1), rate: 2, per_kib: Tal(3) },
        limits: Limits { log: 10, memory: Pages(10), output: 10, fuel: Fuel(10) },
        profile: Profile::v1().id(),
        endpoint: "http://192.0.2.1:7600".try_into().unwrap(),
    }
}

fn market(seed: u8, offers: bool) -> (Market, Arc<Hands>) {
    let params = crate::ledger::development(key(9).public());
    let network = Arc::new(Network::new(params).unwrap());
    let clock = Arc::new(Hands(AtomicU64::new(START)));
    let parts = MarketParts {
        notary: Notary::new(key(seed), network.id()),
        clock: clock.clone(),
        standings: Arc::new(Genesis(State::genesis(network))),
        terms: offers.then(terms),
    };
    (Market::new(parts), clock)
}

fn offer_of(market: &Market, host: &SecretKey) -> Offer {
    let terms = terms();
    Offer {
        host: host.public(),
        limits: terms.limits,
        network: market.parts.notary.network(),
        price: terms.price,
        issued: UnixNanos(START),
        expires: UnixNanos(START + 60 * SECOND),
        profiles: vec![terms.profile].try_into().unwrap(),
        endpoints: vec![terms.endpoint].try_into().unwrap(),
    }
}

#[test]
fn what_is_refused_has_its_code_and_what_is_late_is_nobodys_fault() {
    let (market, clock) = market(1, false);
    let host = key(2);
    let offer = offer_of(&market, &host);
    let said = |offer: &Offer, by: &SecretKey| seal_document(by, offer).encode();
    let good = said(&offer, &host);
    assert_eq!(market.hear(&good), Heard::Taken);
    assert_eq!(market.hear(&good), Heard::Passed("offer-known"));
    let older = Offer { issued: UnixNanos(START - SECOND), ..offer.clone() };
    assert_eq!(market.hear(&said(&older, &host)), Heard::Passed("offer-older"));
    let other = offer_of(&market, &key(3));
    assert_eq!(market.hear(&said(&other, &key(4))), Heard::Refused("offer-forged"));
    let foreign = Offer { network: NetworkId::new([7; 32]), ..other.clone() };
    assert_eq!(market.hear(&said(&foreign, &key(3))), Heard::Refused("offer-network"));
    let endless = Offer { expires: UnixNanos(START + LIFE_MAX.0 + 1), ..other.clone() };
    assert_eq!(market.hear(&said(&endless, &key(3))), Heard::Refused("offer-void"));
    let early = Offer { issued: UnixNanos(START + 1000 * SECOND), ..other.clone() };
    let early = Offer { expires: UnixNanos(START + 2000 * SECOND), ..early };
    assert_eq!(market.hear(&said(&early, &key(3))), Heard::Passed("offer-early"));
    assert_eq!(market.hear(b"nonsense"), Heard::Refused("offer-malformed"));
    assert_eq!(market.hear(&good[..good.len() - 1]), Heard::Refused("offer-malformed"));
    assert_eq!(market.hear(&vec![0; OFFER_LEN_MAX + 1]), Heard::Refused("offer-too-long"));
    clock.0.fetch_add(61 * SECOND, Ordering::Relaxed);
    assert_eq!(market.hear(&said(&other, &key(3))), Heard::Passed("offer-expired"));
    clock.0.fetch_add(400 * SECOND, Ordering::Relaxed);
    assert_eq!(market.hear(&said(&other, &key(3))), Heard::Refused("offer-expired"));
    assert!(market.list().is_empty() && market.renew().is_none());
    let tally = market.tally();
    assert_eq!(tally.taken, 1);
    assert!(tally.refused.contains(&("offer-expired", 2)), "{tally:?}");
}

#[test]
fn an_own_offer_is_said_again_before_it_expires() {
    let (hearer, _) = market(5, false);
    let (market, clock) = market(1, true);
    let first = market.renew().expect("at once");
    assert_eq!(market.renew(), None);
    clock.0.fetch_add(RENEW_NANOS, Ordering::Relaxed);
    let second = market.renew().expect("a third of its life later");
    assert_ne!(first, second);
    let listed = market.list();
    assert_eq!(listed.len(), 1);
    assert!(listed[0].offer.expires.0 >= START + RENEW_NANOS + LIFE_NANOS);
    assert_eq!(hearer.hear(&second), Heard::Taken);
}

#[test]
fn a_node_that_comes_later_hears_all_at_once() {
    let (known, _) = market(1, true);
    known.renew().unwrap();
    for seed in 10..20 {
        let host = key(seed);
        let bytes = seal_document(&host, &offer_of(&known, &host)).encode();
        assert_eq!(known.hear(&bytes), Heard::Taken);
    }
    let (late, _) = market(2, false);
    let page = known.page();
    assert_eq!(late.hear_page(&page), Ok(11));
    assert_eq!(late.hear_page(&page), Ok(0), "again changes nothing");
    assert_eq!(late.list().len(), 11);
    assert_eq!(late.hear_page(&page[..page.len() - 1]), Err("offer-malformed"));
    let forged = {
        let bytes = seal_document(&key(41), &offer_of(&known, &key(40))).encode();
        let len = u32::try_from(bytes.len()).unwrap();
        [&len.to_le_bytes()[..], &bytes].concat()
    };
    assert_eq!(late.hear_page(&forged), Err("offer-forged"));
}
