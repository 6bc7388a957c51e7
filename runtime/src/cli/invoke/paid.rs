//! A paid call: the run is made, signed and kept before it is sent.
//!
//! Invariants: the cap covers what the run's limits can cost and is never above `--max-bill`; a sequence number is
//! durably taken before it is signed, and the signed run is durable before it leaves, so that after any crash it
//! can be sent again and is billed once. Absent: trust in the host's own numbers: the receipt is checked against
//! the run that was signed.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use talea_ledger::bundle::BundledRun;
use talea_ledger::price::bill;
use talea_ledger::sign::seal_document;
use talea_ledger::{
    Bundle, ChannelId, Document as _, Fuel, FunctionId, Input, Pages, Payment, Price, Run, Sealed,
    Sequence, Tal, UnixNanos,
};

use super::PayArgs;
use super::answer::{Answered, Paid, read};
use super::order::{Wanted, request};
use crate::cli::channel::hand::Hand;
use crate::cli::channel::opening::{Bank, Wish, network_of};
use crate::cli::channel::promise::{self, Given};
use crate::cli::client::Client;
use crate::cli::exit::{Exit, Failure, OrExit as _};
use crate::cli::terms::{LimitTerms, Registered, Terms};
use crate::cli::wallet::Wallet;
use crate::cli::wallet::channels::Pair;
use crate::cli::wallet::runs::{Order, RunBook, RunBookError};
use crate::cli::{base64url, papers};

/// Fuel of a run when nobody says: about a second of work.
const FUEL_DEFAULT: u64 = 1_000_000_000;
/// Answer of a run when nobody says; the cap must cover it, so it is what most answers need and not more.
const OUTPUT_DEFAULT: u64 = 4 * 1024 * 1024;
/// A run may be executed this long after it was signed: time enough for a retry after a crash.
const VALID_FOR_NS: u64 = 10 * 60 * 1_000_000_000;
/// Calls and pays.
pub(super) async fn call(
    client: &Client,
    wallet: &Wallet,
    wanted: &Wanted,
    args: &PayArgs,
    time_max: Duration,
) -> Result<Answered, Failure> {
    let terms = Terms::of(client).await?;
    let hand = Hand::new(wallet, args.session.as_deref())?;
    let (channel, sequence) = match args.retry {
        Some(number) => {
            let channel = known(&hand, args, &terms)?;
            let book = RunBook::open(wallet.home(), channel).map_err(book_failure)?;
            let newest = || {
                book.to_retry().map_err(book_failure)?.ok_or_else(|| {
                    Failure::said(Exit::Usage, "there is no run to send again on this channel")
                })
            };
            (channel, if number == 0 { newest()? } else { Sequence(number) })
        }
        None => signed(client, &hand, wanted, args, &terms, time_max).await?,
    };
    let book = RunBook::open(wallet.home(), channel).map_err(book_failure)?;
    let mut answered = send(client, wanted, &book, sequence).await?;
    let bundle = papers_of(client, &hand, &terms, &book, sequence, &answered).await?;
    if args.on_credit {
        promise::witnessed(&book, &bundle)?;
        return Ok(answered);
    }
    promise::count(&book, &bundle)?;
    let short = promised(client, &hand, &terms, channel, &book).await?;
    let vouched = book.tally().map_err(book_failure)?.vouched();
    answered.paid = Some(Paid { channel, sequence, vouched, short });
    Ok(answered)
}

/// The channel that is there already.
fn known(hand: &Hand<'_>, args: &PayArgs, terms: &Terms) -> Result<ChannelId, Failure> {
    let (payer, host, network) = (hand.payer(), terms.host, terms.network);
    if args.on_credit {
        return Ok(ChannelId::local(&payer, &host, &network));
    }
    if let Some(channel) = args.channel {
        return Ok(channel);
    }
    let opened = Pair { payer, host, network }.opened(hand.wallet.home())?;
    opened
        .map(|opened| opened.channel)
        .ok_or_else(|| Failure::said(Exit::Usage, "this wallet has opened no channel to this host"))
}

/// Makes and signs a run, on a channel that pays for it.
async fn signed(
    client: &Client,
    hand: &Hand<'_>,
    wanted: &Wanted,
    args: &PayArgs,
    terms: &Terms,
    time_max: Duration,
) -> Result<(ChannelId, Sequence), Failure> {
    let function = Registered::of(client, wanted.function()).await?;
    let input = wanted.input(&function.headers)?;
    let limits = Limits::choose(args, &function.limits, &terms.price(), input.body_len)?;
    let channel = if args.on_credit || args.channel.is_some() {
        known(hand, args, terms)?
    } else {
        let network = network_of(client, terms.network).await?;
        let bank = Bank { client, network: &network, host: terms.host, hand, time_max };
        let owed = |channel| {
            let book = RunBook::open(hand.wallet.home(), channel).map_err(book_failure)?;
            Ok(book.tally().map_err(book_failure)?.highest())
        };
        let wish = Wish { escrow: args.escrow.map(Tal), ..Wish::default() };
        bank.usable(owed, limits.cap, wish).await?
    };
    let book = RunBook::open(hand.wallet.home(), channel).map_err(book_failure)?;
    let order = Signing { hand, wanted, terms, function: &function, channel };
    Ok((channel, order.sign(limits, &input, &book)?))
}

/// Sends a kept run and reads its answer.
async fn send(
    client: &Client,
    wanted: &Wanted,
    book: &RunBook,
    sequence: Sequence,
) -> Result<Answered, Failure> {
    let (order, body) = book.get(sequence).map_err(book_failure)?;
    if wanted
        .function()
        .parse::<FunctionId>()
        .is_ok_and(|asked| asked.to_string() != order.function)
    {
        let sentence =
            format!("run {sequence} calls {}, not {}", order.function, wanted.function());
        return Err(Failure::said(Exit::Usage, sentence));
    }
    let method: Method =
        order.method.parse().or_exit(Exit::Data, || "the order's method cannot be read")?;
    let sent = request(client, &method, &order.target, headers(&order)?, body.clone())?;
    let answered = match client.send(sent).await {
        Ok(answer) => read(answer, body)?,
        Err(error) => {
            let failure = Failure::from(error);
            let advice = format!(
                "the run is signed and kept: `talea invoke .. --pay --retry {sequence}` sends it again, billed once"
            );
            return Err(failure.advise(advice));
        }
    };
    check_paid(&answered, &order)?;
    book.answered(sequence, &answered.receipt.to_string()).map_err(book_failure)?;
    Ok(answered)
}

/// The receipt with its run and proof: from the answer, or, when it was too long for its head, from the node.
async fn papers_of(
    client: &Client,
    hand: &Hand<'_>,
    terms: &Terms,
    book: &RunBook,
    sequence: Sequence,
    answered: &Answered,
) -> Result<Bundle, Failure> {
    let Some((receipt, proof)) = &answered.papers else {
        let signer = Some((hand.wallet, terms.network));
        let bundle = papers::fetch(client, answered.receipt, signer).await?;
        bundle.check().or_exit(Exit::Mismatch, || "the receipt does not hold")?;
        return Ok(bundle);
    };
    let (order, _) = book.get(sequence).map_err(book_failure)?;
    Ok(Bundle {
        function: None,
        input: None,
        output: None,
        run: BundledRun::Paid(sealed_run(&order)?),
        forward: None,
        proof: proof.clone(),
        input_body: None,
        output_body: None,
        receipt: receipt.clone(),
    })
}

/// Gives the host a voucher for all that was counted. Says why the host has less than it could have.
async fn promised(
    client: &Client,
    hand: &Hand<'_>,
    terms: &Terms,
    channel: ChannelId,
    book: &RunBook,
) -> Result<Option<String>, Failure> {
    match promise::give(client, hand, terms.network, channel, book).await {
        Ok(Given::Part(_)) => {
            Ok(Some("more functions than one redeem lists: the rest is promised later".to_owned()))
        }
        Ok(_) if book.tally().map_err(book_failure)?.has_gap() => {
            Ok(Some("a bill before this one was not seen: --retry gets it".to_owned()))
        }
        Ok(_) => Ok(None),
        // The answer is there and paid for; the next voucher says this one too.
        Err(failure) => Ok(Some(failure.sentence())),
    }
}

/// A run that is to be signed.
struct Signing<'a> {
    hand: &'a Hand<'a>,
    wanted: &'a Wanted,
    terms: &'a Terms,
    function: &'a Registered,
    channel: ChannelId,
}

impl Signing<'_> {
    /// Makes, signs and keeps a run. It is durable when this returns.
    fn sign(&self, limits: Limits, input: &Input, book: &RunBook) -> Result<Sequence, Failure> {
        let Self { hand, wanted, terms, function, channel } = *self;
        let sequence = book.take().map_err(book_failure)?;
        let now = crate::cli::now();
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)
            .map_err(|error| Failure::said(Exit::Failed, error.to_string()))?;
        let run = Run {
            function: function.id,
            input: input.id(),
            cgi: function.cgi,
            clock: now,
            input_len: input.body_len,
            network: terms.network,
            payment: Some(Payment {
                cap: limits.cap,
                expires: UnixNanos(now.0.saturating_add(VALID_FOR_NS)),
                royalty_ppm: function.royalty(),
                sequence,
                channel,
                host: Some(terms.host),
            }),
            profile: terms.profile,
            seed,
            price: terms.price(),
            log_limit: function.limits.log_bytes,
            memory_limit: Pages(u32::try_from(function.limits.memory_pages).unwrap_or(u32::MAX)),
            output_limit: limits.output,
            fuel_limit: limits.fuel,
        };
        let mut headers = wanted.all_headers()?;
        let text =
            |text: String| HeaderValue::try_from(text).or_exit(Exit::Failed, || "base64 is text");
        headers.insert("talea-run", text(base64url(&seal_document(hand.key(), &run).encode()))?);
        if let Some(session) = hand.session_header() {
            headers.insert("talea-session", text(session)?);
        }
        let order = Order {
            method: wanted.method().to_string(),
            target: wanted.target(),
            headers: listed(&headers)?,
            function: function.id.to_string(),
            receipt: None,
        };
        book.keep(sequence, &order, wanted.body()).map_err(book_failure)?;
        Ok(sequence)
    }
}

/// What one run may use, and the most it can then cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limits {
    fuel: Fuel,
    output: u64,
    cap: Tal,
}

impl Limits {
    /// The user's wishes, within what the function is allowed; with `--max-bill`, as much fuel as that pays for.
    fn choose(
        args: &PayArgs,
        allowed: &LimitTerms,
        price: &Price,
        sent: u64,
    ) -> Result<Self, Failure> {
        let asked = args.max_output.unwrap_or_else(|| affordable_output(args, price, sent));
        let output = asked.min(allowed.output_bytes);
        let wished = args.max_fuel.unwrap_or(FUEL_DEFAULT).min(allowed.fuel);
        let cost = |fuel: u64| bill(price, Fuel(fuel), sent.saturating_add(output), Tal::MAX);
        let Some(most) = args.max_bill.map(Tal) else {
            return Ok(Self { fuel: Fuel(wished), output, cap: cost(wished) });
        };
        if cost(1) > most {
            let sentence = format!(
                "--max-bill {most} does not pay for any work: a call with an answer of up to {output} bytes can cost {} tal before its first unit of fuel",
                cost(0)
            );
            return Err(Failure::said(Exit::Denied, sentence)
                .advise("raise --max-bill, or lower --max-output"));
        }
        // The bill grows with fuel, so the most fuel that `most` pays for is found by halving.
        let (mut pays, mut costs_more) = (1_u64, wished.saturating_add(1));
        while costs_more.saturating_sub(pays) > 1 {
            let middle = pays + (costs_more - pays) / 2;
            if cost(middle) <= most { pays = middle } else { costs_more = middle }
        }
        let fuel = pays.min(wished);
        Ok(Self { fuel: Fuel(fuel), output, cap: cost(fuel) })
    }
}

/// The answer to pay for when nobody says how long: the default, or what half of `--max-bill` pays for, so that the
/// other half is left for work.
fn affordable_output(args: &PayArgs, price: &Price, sent: u64) -> u64 {
    let Some(most) = args.max_bill.filter(|_| price.per_kib > Tal::ZERO) else {
        return OUTPUT_DEFAULT;
    };
    let begun = bill(price, Fuel::ZERO, sent, Tal::MAX);
    let half = most.saturating_sub(begun.0) / 2;
    (half / price.per_kib.0).saturating_mul(1024).min(OUTPUT_DEFAULT)
}

/// Holds the receipt against the run that was signed.
fn check_paid(answered: &Answered, order: &Order) -> Result<(), Failure> {
    let Some(receipt) = &answered.proven else { return Ok(()) };
    let run = Run::decode(sealed_run(order)?.payload());
    let run = run.or_exit(Exit::Data, || "the kept run cannot be read")?;
    match talea_ledger::audit::against_run(receipt, &run) {
        None => Ok(()),
        Some(difference) => {
            let sentence =
                format!("the host's receipt contradicts the run you signed: {difference}");
            Err(Failure::said(Exit::Mismatch, sentence)
                .advise("do not pay this host; `talea receipt save` keeps the proof"))
        }
    }
}

/// The run of a kept order, as it was signed.
fn sealed_run(order: &Order) -> Result<Sealed, Failure> {
    let sealed = order.headers.iter().find(|(name, _)| name == "talea-run");
    let sealed = sealed
        .and_then(|(_, text)| super::order::from_base64url(text))
        .and_then(|bytes| Sealed::decode(&bytes).ok());
    sealed.ok_or_else(|| Failure::said(Exit::Data, "the kept run cannot be read"))
}

fn listed(headers: &HeaderMap) -> Result<Vec<(String, String)>, Failure> {
    let text = |value: &HeaderValue| value.to_str().map(str::to_owned);
    headers
        .iter()
        .map(|(name, value)| {
            Ok((
                name.to_string(),
                text(value)
                    .or_exit(Exit::Usage, || format!("the header {name} is not plain text"))?,
            ))
        })
        .collect()
}

fn headers(order: &Order) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for (name, value) in &order.headers {
        let damaged = || "the kept order cannot be read";
        let name = HeaderName::try_from(name.as_str()).or_exit(Exit::Data, damaged)?;
        headers.append(name, HeaderValue::try_from(value.as_str()).or_exit(Exit::Data, damaged)?);
    }
    Ok(headers)
}

fn book_failure(error: RunBookError) -> Failure {
    let advice = match &error {
        RunBookError::Counter(path) => Some(format!(
            "write into {} a number above every sequence you used on this channel (`talea receipt list --payer` shows them)",
            path.display()
        )),
        _ => None,
    };
    let failure = Failure::new(Exit::Failed, error);
    match advice {
        Some(advice) => failure.advise(advice),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: LimitTerms = LimitTerms {
        fuel: 2_000_000_000,
        memory_pages: 256,
        output_bytes: 16 << 20,
        log_bytes: 1 << 16,
    };
    const PRICE: Price = Price { per_call: Tal(10), rate: 100, per_kib: Tal(1) };

    fn args() -> PayArgs {
        PayArgs {
            pay: true,
            channel: None,
            session: None,
            escrow: None,
            on_credit: false,
            max_bill: None,
            max_fuel: None,
            max_output: None,
            retry: None,
        }
    }

    #[test]
    fn without_a_wish_the_cap_covers_the_defaults() {
        let limits = Limits::choose(&args(), &ALLOWED, &PRICE, 0).unwrap();
        // 10 + 1e9 / 1e6 * 100 + 4096 KiB * 1
        assert_eq!(
            limits,
            Limits {
                fuel: Fuel(FUEL_DEFAULT),
                output: OUTPUT_DEFAULT,
                cap: Tal(10 + 100_000 + 4096)
            }
        );
    }

    #[test]
    fn max_bill_buys_as_much_fuel_as_it_pays_for_and_not_a_unit_more() {
        for most in [12, 111, 5000, 104_105, 104_106, 1_000_000] {
            let args = PayArgs { max_bill: Some(most), ..args() };
            let limits = Limits::choose(&args, &ALLOWED, &PRICE, 0).unwrap();
            assert!(limits.cap <= Tal(most), "{most}: {limits:?}");
            let more = bill(&PRICE, Fuel(limits.fuel.0 + 1), limits.output, Tal::MAX);
            assert!(more > Tal(most) || limits.fuel.0 == FUEL_DEFAULT, "{most}: {limits:?}");
        }
    }

    #[test]
    fn half_of_max_bill_is_left_for_work() {
        let args = PayArgs { max_bill: Some(110), ..args() };
        let limits = Limits::choose(&args, &ALLOWED, &PRICE, 0).unwrap();
        assert_eq!((limits.output, limits.fuel), (50 * 1024, Fuel(500_000)));
    }

    #[test]
    fn max_bill_that_pays_for_nothing_is_refused_before_anything_is_signed() {
        for most in [0, 9, 10] {
            let args = PayArgs { max_bill: Some(most), ..args() };
            let refused = Limits::choose(&args, &ALLOWED, &PRICE, 0).unwrap_err();
            assert_eq!(refused.exit(), Exit::Denied, "{most}");
        }
        let long = PayArgs { max_bill: Some(4106), max_output: Some(OUTPUT_DEFAULT), ..args() };
        assert_eq!(Limits::choose(&long, &ALLOWED, &PRICE, 0).unwrap_err().exit(), Exit::Denied);
    }

    #[test]
    fn a_free_price_has_a_cap_of_nothing() {
        let limits =
            Limits::choose(&PayArgs { max_bill: Some(0), ..args() }, &ALLOWED, &Price::FREE, 9)
                .unwrap();
        assert_eq!((limits.cap, limits.fuel), (Tal(0), Fuel(FUEL_DEFAULT)));
    }

    #[test]
    fn wishes_stay_within_what_the_function_is_allowed() {
        let args = PayArgs { max_fuel: Some(u64::MAX), max_output: Some(u64::MAX), ..args() };
        let limits = Limits::choose(&args, &ALLOWED, &PRICE, 0).unwrap();
        assert_eq!((limits.fuel.0, limits.output), (ALLOWED.fuel, ALLOWED.output_bytes));
    }
}
