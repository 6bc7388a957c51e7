//! Offers, draws, and the papers of a forwarded run: what covers a run, who is drawn, and that every change shows.

use proptest::prelude::*;
use talea_ledger::batch::{BatchHead, Proof, seal_batch};
use talea_ledger::bundle::{BundleError, BundledRun};
use talea_ledger::draw::{self, CANDIDATES_MAX, DrawError, Forward, ForwardError};
use talea_ledger::merkle::LeafIndex;
use talea_ledger::offer::{LIFE_MAX, OfferBook, OfferError, SKEW_MAX, Taken, Wanted};
use talea_ledger::registration::Limits;
use talea_ledger::sign::seal_document;
use talea_ledger::*;

use crate::samples::{self, Sample, payer, price, profile, run_paid, sample};

const SECOND: u64 = 1_000_000_000;

/// When the caller's run arrives.
fn arrival() -> UnixNanos {
    UnixNanos(1_700_000_000 * SECOND)
}

fn gateway() -> SecretKey {
    samples::host()
}

/// Hosts that offer, in the order of their keys.
fn hosts() -> Vec<SecretKey> {
    let mut hosts: Vec<SecretKey> =
        (20..23).map(|number| SecretKey::from_bytes(&[number; 32])).collect();
    hosts.sort_by_key(SecretKey::public);
    hosts
}

fn limits() -> Limits {
    Limits { log: 65_536, memory: Pages(1024), output: 1 << 20, fuel: Fuel(5_000_000_000) }
}

fn offer_of(host: &SecretKey) -> Offer {
    Offer {
        host: host.public(),
        limits: limits(),
        network: NetworkId::DEVELOPMENT,
        price: Price { per_kib: Tal(2), per_call: Tal(80), rate: 1_200 },
        issued: UnixNanos(arrival().0 - 30 * SECOND),
        expires: UnixNanos(arrival().0 + 90 * SECOND),
        profiles: vec![profile(), ProfileId::of(b"an older profile")].try_into().unwrap(),
        endpoints: vec!["https://host.example:7600".parse().unwrap()].try_into().unwrap(),
    }
}

fn offer() -> Offer {
    offer_of(&hosts()[0])
}

fn offer_least() -> Offer {
    Offer {
        price: Price::FREE,
        profiles: vec![profile()].try_into().unwrap(),
        endpoints: vec!["http://[::1]:7600".parse().unwrap()].try_into().unwrap(),
        ..offer()
    }
}

fn header() -> Sealed {
    let header = Header {
        author: samples::owner().public(),
        body_len: 0,
        network: NetworkId::DEVELOPMENT,
        body: Digest::of(b""),
        slot: Slot(900),
        count: 0,
        state: Digest::of(b"a state"),
        height: Height(88),
        parent: BlockId::of(b"a parent"),
    };
    seal_document(&samples::owner(), &header)
}

/// The gateway's own run for a host: the caller's work, at the host's price.
fn inner_run(host: &SecretKey) -> Run {
    let payment = run_paid().payment.unwrap();
    Run {
        price: offer_of(host).price,
        payment: Some(Payment {
            cap: Tal(40_000),
            sequence: Sequence(7),
            channel: ChannelId::local(&gateway().public(), &host.public(), &NetworkId::DEVELOPMENT),
            host: Some(host.public()),
            ..payment
        }),
        ..run_paid()
    }
}

fn candidates(loads: [u32; 3]) -> Vec<Candidate> {
    let hosts = hosts().into_iter().zip(loads);
    hosts
        .map(|(host, load)| Candidate { host: host.public(), load, offer: offer_of(&host).id() })
        .collect()
}

fn drawn() -> Draw {
    let block = (BlockId::of(header().payload()), Height(88));
    // Given in another order than the record's.
    let given = candidates([3, 0, 1]).into_iter().rev().collect();
    let drawn = draw::draw(&run_paid(), arrival(), block, given).unwrap();
    let host = drawn.candidate().unwrap().host;
    let host = hosts().into_iter().find(|known| known.public() == host).unwrap();
    drawn.record(gateway().public(), inner_run(&host).id())
}

fn draw_least() -> Draw {
    let alone = candidates([0, 0, 0])[..1].to_vec();
    Draw { drawn: 0, candidates: alone.try_into().unwrap(), ..drawn() }
}

fn chosen() -> SecretKey {
    hosts().swap_remove(drawn().drawn as usize)
}

/// What the host says that was drawn.
fn inner_receipt() -> Receipt {
    let (run, owed) = (inner_run(&chosen()), Tal(500_000));
    let said = samples::receipt_paid();
    let payment = run.payment.as_ref().unwrap();
    Receipt {
        host: chosen().public(),
        payment: Some(ReceiptPayment {
            sequence: payment.sequence,
            channel: payment.channel,
            owed,
            payer: gateway().public(),
        }),
        run: run.id(),
        bill: price::bill(&run.price, said.fuel, said.body_bytes(), run.cap()),
        price: run.price,
        ..said
    }
}

/// What the gateway says to its caller.
pub(crate) fn receipt() -> Receipt {
    let forwarded = Forwarded { draw: drawn().id(), receipt: inner_receipt().id() };
    Receipt { forwarded: Some(forwarded), ..samples::receipt_paid() }
}

fn proven(host: &SecretKey, receipt: &Receipt) -> Proof {
    let at = UnixNanos(arrival().0 + SECOND);
    let head = BatchHead { network: NetworkId::DEVELOPMENT, number: 4, at };
    seal_batch(host, head, &[receipt.encode()]).unwrap().proof(LeafIndex::new(0)).unwrap()
}

fn forward_of(draw: &Draw, run: &Run, receipt: &Receipt) -> Forward {
    let offers: Vec<Sealed> =
        hosts().iter().map(|host| seal_document(host, &offer_of(host))).collect();
    let signer = hosts().into_iter().find(|host| host.public() == receipt.host);
    Forward {
        run: BundledRun::Paid(seal_document(&gateway(), run)),
        draw: seal_document(&gateway(), draw),
        header: Some(header()),
        proof: proven(&signer.unwrap_or_else(gateway), receipt),
        offers: offers.try_into().unwrap(),
        receipt: receipt.encode().try_into().unwrap(),
    }
}

fn bundle_of(outer: &Receipt, forward: Forward) -> Bundle {
    Bundle {
        forward: Some(Box::new(forward)),
        proof: proven(&gateway(), outer),
        receipt: outer.encode().try_into().unwrap(),
        ..samples::bundle()
    }
}

fn bundle() -> Bundle {
    bundle_of(&receipt(), forward_of(&drawn(), &inner_run(&chosen()), &inner_receipt()))
}

pub(crate) fn all() -> Vec<Sample> {
    vec![
        sample("offer", &offer()),
        sample("offer-least", &offer_least()),
        sample("draw", &drawn()),
        sample("draw-least", &draw_least()),
        sample("receipt-forwarded", &receipt()),
        sample("bundle-forwarded", &bundle()),
    ]
}

/// Draws for the verifiers of other languages: digests of block and run, loads, and who is drawn.
pub(crate) fn draws() -> String {
    use std::fmt::Write as _;
    let mut text =
        String::from("# block's digest, run's digest, loads, the two, the one that is drawn\n");
    for case in 0..40_u32 {
        let block = BlockId::of(&case.to_le_bytes());
        let run = RunId::of(&(case * 31).to_le_bytes());
        let count = [1, 2, 3, 7, CANDIDATES_MAX][case as usize % 5];
        let loads: Vec<u32> = (0..count as u32).map(|at| (at * 7 + case) % 4).collect();
        let (first, second) = draw::pair(&block, &run, count).unwrap();
        let drawn = draw::choose(&block, &run, &loads).unwrap();
        let loads: Vec<String> = loads.iter().map(u32::to_string).collect();
        let (block, run, loads) = (block.digest(), run.digest(), loads.join(","));
        writeln!(text, "{block} {run} {loads} {first},{second} {drawn}").unwrap();
    }
    text
}

#[test]
fn golden_draws() {
    crate::golden::check("draws.txt", &draws());
}

// === The draw ===

fn chi_square(counts: &[u32]) -> f64 {
    let expected = f64::from(counts.iter().sum::<u32>()) / counts.len() as f64;
    counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum()
}

#[test]
fn every_host_and_every_pair_is_drawn_as_often() {
    // Fixed blocks and runs, so the test has one outcome. The bound is the mean of the distribution plus six
    // standard deviations (sqrt of twice the degrees of freedom).
    for count in [2_usize, 3, 5, 6, 8, 10, 64] {
        let mut firsts = vec![0; count];
        let mut pairs = vec![0; count * count];
        for case in 0..20_000_u32 {
            let block = BlockId::of(&(case / 10).to_le_bytes());
            let run = RunId::of(&case.to_le_bytes());
            let (first, second) = draw::pair(&block, &run, count).unwrap();
            assert_ne!(first, second);
            firsts[first] += 1;
            pairs[first * count + second] += 1;
        }
        let bound = |degrees: usize| degrees as f64 + 6.0 * (2.0 * degrees as f64).sqrt();
        assert!(chi_square(&firsts) < bound(count - 1), "{count}: {firsts:?}");
        let pairs: Vec<u32> =
            (0..count * count).filter(|at| at / count != at % count).map(|at| pairs[at]).collect();
        assert!(chi_square(&pairs) < bound(pairs.len()), "{count} candidates");
    }
}

#[test]
fn the_lesser_load_of_the_two_takes_the_run() {
    for case in 0..500_u32 {
        let (block, run) = (BlockId::of(&case.to_le_bytes()), RunId::of(b"a run"));
        let loads: Vec<u32> = (0..6).map(|at| (at * 5 + case) % 3).collect();
        let (first, second) = draw::pair(&block, &run, loads.len()).unwrap();
        let drawn = draw::choose(&block, &run, &loads).unwrap();
        let wanted = if loads[second] < loads[first] { second } else { first };
        assert_eq!(drawn, wanted);
    }
    let (block, run) = (BlockId::of(b""), RunId::of(b""));
    assert_eq!(draw::choose(&block, &run, &[]), None);
    assert_eq!(draw::choose(&block, &run, &[9]), Some(0));
    let none = draw::draw(&run_paid(), arrival(), (block, Height(0)), Vec::new());
    assert_eq!(none, None);
}

/// One change of a document, under the name of the field.
type Change<T> = (&'static str, fn(&mut T));

#[test]
fn every_changed_field_of_a_draw_shows() {
    let right = drawn();
    assert_eq!(right.check().unwrap().host, chosen().public());
    let changes: [Change<Draw>; 11] = [
        // The offers have expired by then.
        ("at", |draw| draw.at.0 += 1_000 * SECOND),
        ("by", |draw| draw.gateway = payer().public()),
        ("net", |draw| draw.network = NetworkId::new([1; 32])),
        ("run", |draw| draw.run = RunId::of(b"other")),
        ("block", |draw| draw.block = BlockId::of(b"other")),
        ("drawn", |draw| draw.drawn = (draw.drawn + 1) % 3),
        ("inner", |draw| draw.inner = RunId::of(b"other")),
        ("height", |draw| draw.height.0 += 1),
        ("offers/host", |draw| edit(draw, |list| list[0].host = payer().public())),
        ("offers/offer", |draw| edit(draw, |list| list[2].offer = OfferId::of(b"other"))),
        ("offers/order", |draw| edit(draw, |list| list.swap(0, 2))),
    ];
    for (what, change) in changes {
        let mut draw = right.clone();
        change(&mut draw);
        // The gateway signs the change and names it in its receipt: only the papers speak against it.
        let mut outer = receipt();
        outer.forwarded.as_mut().unwrap().draw = draw.id();
        let mut forward = forward_of(&draw, &inner_run(&chosen()), &inner_receipt());
        if what == "by" {
            forward.draw = seal_document(&payer(), &draw);
        }
        let error = bundle_of(&outer, forward).check().unwrap_err();
        assert!(matches!(error, BundleError::Forward(_)), "{what}: {error}");
        // Named by the receipt as it was, it is not the one named.
        let forward =
            Forward { draw: seal_document(&gateway(), &draw), ..*bundle().forward.unwrap() };
        assert!(forward.check(&run_paid(), &receipt()).is_err(), "{what}");
    }
}

fn edit(draw: &mut Draw, change: impl FnOnce(&mut Vec<Candidate>)) {
    let mut list = draw.candidates.clone().into_vec();
    change(&mut list);
    draw.candidates = list.try_into().unwrap();
}

#[test]
fn a_draw_by_a_block_that_is_too_old_or_foreign_shows() {
    // The network's parameters say when the block's slot began, and whose it was.
    let network = |age: u64, author: &SecretKey| {
        let start = arrival().0 - age - 900 * SECOND;
        Network::new(NetworkParams {
            start: UnixNanos(start),
            slot_len: talea_ledger::units::Nanos(SECOND),
            ..NetworkParams::development(&[], author.public())
        })
        .unwrap()
    };
    let judged = |age: u64, author: &SecretKey| {
        let network = network(age, author);
        let header = Header { network: network.id(), ..*opened().document() };
        let draw = Draw { network: network.id(), ..drawn() };
        draw.check_age(Some(&header), &network)
    };
    let owner = samples::owner();
    assert_eq!(judged(0, &owner), Ok(()));
    assert_eq!(judged(draw::AGE_MAX.0, &owner), Ok(()));
    let came = arrival();
    let began = UnixNanos(came.0 - draw::AGE_MAX.0 - 1);
    assert_eq!(judged(draw::AGE_MAX.0 + 1, &owner), Err(DrawError::Age { began, came }));
    assert_eq!(judged(0, &payer()), Err(DrawError::Block("author")));
    let network = network(0, &owner);
    let draw = Draw { network: network.id(), ..drawn() };
    assert_eq!(drawn().check_age(None, &network), Err(DrawError::Block("network")));
    assert_eq!(draw.check_age(None, &network), Err(DrawError::Block("name")));
    // Before the first block the genesis is the latest; it ages like any other.
    let draw = Draw { block: network.genesis(), height: Height::ZERO, ..draw };
    assert_eq!(draw.check_age(None, &network), Ok(()));
    let late = Draw { at: UnixNanos(came.0 + draw::AGE_MAX.0), ..draw };
    assert!(matches!(late.check_age(None, &network), Err(DrawError::Age { .. })));
    // A block that is yet to come, beyond what clocks may differ.
    let early = |seconds: u64| {
        let came = UnixNanos(came.0 - seconds * SECOND);
        draw::is_recent(arrival(), came)
    };
    assert!(early(300) && !early(301));
}

/// The header, verified.
fn opened() -> Verified<Header> {
    header().verify().unwrap()
}

#[test]
fn a_load_that_would_have_drawn_another_host_shows() {
    let right = drawn();
    let (first, second) = draw::pair(&right.block, &right.run, 3).unwrap();
    let taken = right.drawn as usize;
    let other = if taken == first { second } else { first };
    let mut wrong = right.clone();
    edit(&mut wrong, |list| (list[taken].load, list[other].load) = (9, 0));
    assert!(matches!(wrong.check(), Err(DrawError::Drawn { .. })));
    // A host that stands twice would be drawn twice as often.
    let mut wrong = right;
    edit(&mut wrong, |list| list[1].host = list[0].host);
    assert_eq!(wrong.check(), Err(DrawError::Order(1)));
    let mut empty = draw_least();
    edit(&mut empty, Vec::clear);
    assert_eq!(empty.check(), Err(DrawError::NoCandidate));
}

// === Forwards ===

#[test]
fn the_papers_of_a_forward_hold() {
    let checked = bundle().check().unwrap();
    let forward = checked.forward().unwrap();
    assert_eq!(forward.offers(), 3);
    assert_eq!(forward.header().unwrap().document().slot, Slot(900));
    assert_eq!(forward.receipt().document().host, chosen().public());
    assert_eq!(Bundle::decode(&bundle().encode()).unwrap(), bundle());
    // Without the papers the receipt holds as any other.
    let bare = Bundle { forward: None, ..bundle() };
    assert!(bare.check().unwrap().forward().is_none());
    // Papers beside a receipt that names none.
    let own = samples::receipt_paid();
    let error = bundle_of(&own, *bundle().forward.unwrap()).check().unwrap_err();
    assert_eq!(error, BundleError::Forward(ForwardError::NotForwarded));
}

#[test]
fn a_gateway_that_orders_or_tells_something_else_is_found() {
    let runs: [Change<Run>; 5] = [
        ("clk", |run| run.clock.0 += 1),
        ("seed", |run| run.seed = [8; 32]),
        ("fuelmax", |run| run.fuel_limit.0 -= 1),
        ("cgi", |run| run.cgi = false),
        ("host", |run| run.payment.as_mut().unwrap().host = None),
    ];
    for (field, change) in runs {
        let mut run = inner_run(&chosen());
        change(&mut run);
        let mut inner = inner_receipt();
        inner.run = run.id();
        let draw = Draw { inner: run.id(), ..drawn() };
        let mut outer = receipt();
        outer.forwarded = Some(Forwarded { draw: draw.id(), receipt: inner.id() });
        let error = forward_of(&draw, &run, &inner).check(&run_paid(), &outer).unwrap_err();
        assert_eq!(error, ForwardError::Run(field));
    }
    let receipts: [Change<Receipt>; 6] = [
        ("outcome", |receipt| receipt.outcome = Outcome::exit(1)),
        ("fuel", |receipt| receipt.fuel.0 += 1),
        ("hfuel", |receipt| receipt.host_fuel.0 += 1),
        ("mem", |receipt| receipt.peak_pages.0 += 1),
        ("out", |receipt| receipt.output = OutputId::of(b"other")),
        ("outn", |receipt| receipt.output_len += 1),
    ];
    let forward = || *bundle().forward.unwrap();
    for (field, change) in receipts {
        let mut outer = receipt();
        change(&mut outer);
        let error = forward().check(&run_paid(), &outer).unwrap_err();
        assert_eq!(error, ForwardError::Receipt(field));
    }
    // Another host than the one drawn.
    let other = hosts().into_iter().find(|host| host.public() != chosen().public()).unwrap();
    let inner = Receipt { host: other.public(), ..inner_receipt() };
    let mut outer = receipt();
    outer.forwarded.as_mut().unwrap().receipt = inner.id();
    let papers = forward_of(&drawn(), &inner_run(&chosen()), &inner);
    let error = papers.check(&run_paid(), &outer).unwrap_err();
    assert!(matches!(error, ForwardError::Host { .. }), "{error}");
}

// === Offers ===

#[test]
fn an_offer_covers_what_lies_within_it() {
    let wanted = Wanted::by(&run_paid(), arrival());
    assert_eq!(offer().covers(&wanted), Ok(()));
    let with = |change: &dyn Fn(&mut Offer)| {
        let mut offer = offer();
        change(&mut offer);
        offer.covers(&wanted).unwrap_err().to_string()
    };
    let no_profile = with(&|offer| offer.profiles = Vec::new().try_into().unwrap());
    assert_eq!(no_profile, "it is no offer at all: no profile");
    let nowhere = with(&|offer| offer.endpoints = Vec::new().try_into().unwrap());
    assert_eq!(nowhere, "it is no offer at all: no endpoint");
    assert!(with(&|offer| offer.network = NetworkId::new([1; 32])).contains("another network"));
    assert!(with(&|offer| offer.expires = arrival()).contains("expired"));
    assert!(with(&|offer| offer.expires = offer.issued).contains("ends before"));
    let far = arrival().0 + 301 * SECOND;
    assert!(
        with(&|offer| {
            (offer.issued, offer.expires) = (UnixNanos(far), UnixNanos(far + SECOND));
        })
        .contains("yet to come")
    );
    let long = |offer: &mut Offer| offer.expires = UnixNanos(offer.issued.0 + LIFE_MAX.0 + 1);
    assert!(with(&long).contains("lives too long"));
    let other = ProfileId::of(b"other");
    assert!(with(&|offer| offer.profiles = vec![other].try_into().unwrap()).contains("profile"));
    for part in ["per_call", "rate", "per_kib"] {
        let text = with(&|offer| match part {
            "per_call" => offer.price.per_call = Tal(price().per_call.0 + 1),
            "rate" => offer.price.rate = price().rate + 1,
            _ => offer.price.per_kib = Tal(price().per_kib.0 + 1),
        });
        assert!(text.contains(part), "{text}");
    }
    for part in ["fuel", "memory", "output", "log"] {
        let text = with(&|offer| match part {
            "fuel" => offer.limits.fuel = Fuel(run_paid().fuel_limit.0 - 1),
            "memory" => offer.limits.memory = Pages(run_paid().memory_limit.0 - 1),
            "output" => offer.limits.output = run_paid().output_limit - 1,
            _ => offer.limits.log = run_paid().log_limit - 1,
        });
        assert!(text.contains(part), "{text}");
    }
}

fn take(book: &mut OfferBook, host: &SecretKey, offer: &Offer) -> Result<Taken, OfferError> {
    book.take(seal_document(host, offer), Tal::ZERO, arrival())
}

fn book() -> OfferBook {
    OfferBook::new(NetworkId::DEVELOPMENT)
}

#[test]
fn a_book_keeps_the_latest_offer_of_each_host() {
    let (mut book, host) = (book(), hosts().remove(0));
    assert_eq!(take(&mut book, &host, &offer()), Ok(Taken::New));
    assert_eq!(take(&mut book, &host, &offer()), Ok(Taken::Known));
    let mut hasty = offer();
    hasty.issued.0 += 9 * SECOND;
    assert_eq!(take(&mut book, &host, &hasty), Ok(Taken::Older));
    let mut later = offer();
    later.issued.0 += 10 * SECOND;
    assert_eq!(take(&mut book, &host, &later), Ok(Taken::New));
    assert_eq!(take(&mut book, &host, &offer()), Ok(Taken::Older));
    assert_eq!(book.of(&host.public()).unwrap().0, &later);
    // Signed by another key, of another network, of another type, expired.
    let other = hosts().remove(1);
    let forged = book.take(seal_document(&other, &offer()), Tal::ZERO, arrival());
    assert_eq!(forged, Ok(Taken::Older), "nothing is verified that would change nothing");
    let mut forged = offer_of(&other);
    forged.host = hosts().remove(2).public();
    assert!(take(&mut book, &other, &forged).unwrap_err().is_offence(arrival()));
    let foreign = Offer { network: NetworkId::new([1; 32]), ..offer_of(&other) };
    assert!(take(&mut book, &other, &foreign).unwrap_err().is_offence(arrival()));
    let draw = book.take(seal_document(&gateway(), &drawn()), Tal::ZERO, arrival());
    assert!(draw.unwrap_err().is_offence(arrival()));
    let expired = Offer { expires: arrival(), ..offer_of(&other) };
    let late = take(&mut book, &other, &expired).unwrap_err();
    assert!(!late.is_offence(arrival()), "it may have been slow");
    assert!(late.is_offence(UnixNanos(arrival().0 + SKEW_MAX.0 + 1)));
    assert_eq!(late.code(), "offer-expired");
    assert_eq!(book.len(), 1);
    book.prune(later.expires);
    assert!(book.is_empty());
}

/// Keys that sign, many of them.
fn host_number(number: u32) -> SecretKey {
    let mut bytes = [77; 32];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    SecretKey::from_bytes(&bytes)
}

#[test]
fn a_full_book_gives_way_to_standing_only() {
    let mut book = book();
    for number in 0..1024 {
        let host = host_number(number);
        let sealed = seal_document(&host, &offer_of(&host));
        assert_eq!(book.take(sealed, Tal(5), arrival()), Ok(Taken::New));
    }
    let late = host_number(5000);
    let sealed = seal_document(&late, &offer_of(&late));
    assert_eq!(book.take(sealed.clone(), Tal(5), arrival()), Ok(Taken::Full));
    assert_eq!(book.take(sealed, Tal(6), arrival()), Ok(Taken::New));
    assert_eq!(book.len(), 1024);
    // A signature that does not hold drives nobody out.
    let liar = host_number(5001);
    let sealed = seal_document(&late, &offer_of(&liar));
    assert!(book.take(sealed, Tal(7), arrival()).is_err());
    assert_eq!(book.len(), 1024);
    // Those who are drawn from: as many as a draw lists, in order, others for another run.
    let wanted = Wanted::by(&run_paid(), arrival());
    let all = |run: &RunId| -> Vec<PublicKey> {
        book.candidates(&wanted, run, |_| true).iter().map(|(_, offer, _)| offer.host).collect()
    };
    let (some, others) = (all(&RunId::of(b"1")), all(&RunId::of(b"2")));
    assert_eq!((some.len(), others.len()), (CANDIDATES_MAX, CANDIDATES_MAX));
    assert!(some.is_sorted() && some != others);
    let allowed = book.candidates(&wanted, &RunId::of(b"1"), |host| *host == late.public());
    assert_eq!(allowed.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever order the offers arrive in, the same candidates stand in the same order and the same is drawn.
    #[test]
    fn a_draw_does_not_depend_on_the_order_of_arrival(
        order in Just((0..12_u32).collect::<Vec<_>>()).prop_shuffle(),
        loads in proptest::collection::vec(0..4_u32, 12),
        block in any::<[u8; 32]>(),
    ) {
        let draw_from = |order: &[u32]| {
            let mut book = book();
            for number in order {
                let host = host_number(*number);
                prop_assert_eq!(take(&mut book, &host, &offer_of(&host)), Ok(Taken::New));
            }
            let run = run_paid().id();
            let wanted = Wanted::by(&run_paid(), arrival());
            let candidates = book
                .candidates(&wanted, &run, |_| true)
                .iter()
                .zip(&loads)
                .map(|((id, offer, _), load)| {
                    Candidate { host: offer.host, load: *load, offer: **id }
                })
                .collect();
            let block = (BlockId::from_digest(Digest::new(block)), Height(1));
            let draw = draw::draw(&run_paid(), arrival(), block, candidates).unwrap();
            let draw = draw.record(gateway().public(), RunId::of(b"inner"));
            prop_assert!(draw.check().is_ok());
            Ok(draw)
        };
        let sorted: Vec<u32> = (0..12).collect();
        prop_assert_eq!(draw_from(&order)?, draw_from(&sorted)?);
    }

    #[test]
    fn offers_and_draws_encode_to_themselves(
        numbers in proptest::array::uniform8(any::<u64>()),
        endpoints in proptest::collection::vec("[!-~]{1,256}", 0..=8),
        profiles in proptest::collection::vec(any::<[u8; 32]>(), 0..=8),
        list in proptest::collection::vec((any::<u32>(), any::<[u8; 32]>()), 0..=64),
    ) {
        let [issued, expires, kib, call, rate, fuel, out, log] = numbers;
        let endpoints: Vec<_> = endpoints.iter().map(|text| text.parse().unwrap()).collect();
        let profiles: Vec<_> = profiles
            .into_iter()
            .map(|digest| ProfileId::from_digest(Digest::new(digest)))
            .collect();
        let offer = Offer {
            limits: Limits { log, memory: Pages::MAX, output: out, fuel: Fuel(fuel) },
            price: Price { per_kib: Tal(kib), per_call: Tal(call), rate },
            issued: UnixNanos(issued),
            expires: UnixNanos(expires),
            profiles: profiles.try_into().unwrap(),
            endpoints: endpoints.try_into().unwrap(),
            ..offer()
        };
        prop_assert!(offer.encode().len() <= <Offer as Document>::LEN_MAX);
        prop_assert_eq!(Offer::decode(&offer.encode()), Ok(offer));
        let host = hosts()[0].public();
        let list: Vec<Candidate> = list
            .into_iter()
            .map(|(load, digest)| {
                let offer = OfferId::from_digest(Digest::new(digest));
                Candidate { host, load, offer }
            })
            .collect();
        let draw = Draw {
            at: UnixNanos(issued),
            height: Height(fuel),
            drawn: u32::MAX,
            candidates: list.try_into().unwrap(),
            ..drawn()
        };
        prop_assert!(draw.encode().len() <= <Draw as Document>::LEN_MAX);
        prop_assert_eq!(Draw::decode(&draw.encode()), Ok(draw));
    }
}

// The nine seconds of the test above are one less than the least spacing.
const _: () = assert!(talea_ledger::offer::SPACING.0 == 10 * SECOND);
