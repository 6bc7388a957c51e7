//! Price of a European call option by simulation, beside the closed form of Black and Scholes.
//!
//! `GET` with `?spot=&strike=&rate=&volatility=&years=&paths=`; all have defaults. The paths come
//! from the run's seed, so whoever repeats the run gets the same price to the last digit.

use talea::random::Generator;
use talea::{Request, Response};

/// More paths than this are another call: ten million take seconds.
const PATHS_MAX: u64 = 10_000_000;

struct Terms {
    spot: f64,
    strike: f64,
    rate: f64,
    volatility: f64,
    years: f64,
}

#[talea::handler]
pub fn price(request: Request) -> Result<Response, String> {
    let terms = Terms {
        spot: number(&request, "spot", 100.0)?,
        strike: number(&request, "strike", 105.0)?,
        rate: number(&request, "rate", 0.03)?,
        volatility: number(&request, "volatility", 0.2)?,
        years: number(&request, "years", 1.0)?,
    };
    let paths = number(&request, "paths", 100_000.0)? as u64;
    if !(2..=PATHS_MAX).contains(&paths) {
        return Ok(Response::text("paths: 2 to 10000000\n").with_status(400));
    }
    let (mean, error) = simulate(&terms, paths, &mut Generator::from_run());
    let at = talea::clock::now().as_secs();
    Ok(Response::json(format!(
        "{{\"price\":{mean:.6},\"standard_error\":{error:.6},\"closed_form\":{:.6},\"paths\":{paths},\"at\":{at}}}\n",
        closed_form(&terms)
    )))
}

fn number(request: &Request, name: &str, default: f64) -> Result<f64, String> {
    let Some(text) = request.query_value(name) else {
        return Ok(default);
    };
    match text.parse() {
        Ok(value) if f64::is_finite(value) && value > 0.0 => Ok(value),
        _ => Err(format!("{name} is not a positive number: {text:?}")),
    }
}

/// Discounted mean of the pay-off and its standard error. Each draw is used with both signs, which
/// halves the work and narrows the error.
fn simulate(terms: &Terms, paths: u64, generator: &mut Generator) -> (f64, f64) {
    let drift = (terms.rate - terms.volatility * terms.volatility / 2.0) * terms.years;
    let spread = terms.volatility * terms.years.sqrt();
    let discount = (-terms.rate * terms.years).exp();
    let payoff = |z: f64| {
        let end = terms.spot * (drift + spread * z).exp();
        (end - terms.strike).max(0.0) * discount
    };
    let pairs = paths / 2;
    let (mut sum, mut squares) = (0.0, 0.0);
    for _ in 0..pairs {
        let z = normal(generator);
        let both = (payoff(z) + payoff(-z)) / 2.0;
        sum += both;
        squares += both * both;
    }
    let n = pairs as f64;
    let mean = sum / n;
    let variance = (squares / n - mean * mean).max(0.0);
    (mean, (variance / n).sqrt())
}

/// A standard normal number: Box and Muller.
fn normal(generator: &mut Generator) -> f64 {
    // 1 - x lies in (0, 1], where the logarithm is finite.
    let radius = (-2.0 * (1.0 - generator.f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * generator.f64()).cos()
}

fn closed_form(terms: &Terms) -> f64 {
    let spread = terms.volatility * terms.years.sqrt();
    let d1 = ((terms.spot / terms.strike).ln()
        + (terms.rate + terms.volatility * terms.volatility / 2.0) * terms.years)
        / spread;
    let d2 = d1 - spread;
    terms.spot * normal_cdf(d1) - terms.strike * (-terms.rate * terms.years).exp() * normal_cdf(d2)
}

/// Abramowitz and Stegun 26.2.17, absolute error below 7.5e-8.
fn normal_cdf(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let poly = t
        * (0.319_381_530
            + t * (-0.356_563_782
                + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let tail = (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt() * poly;
    if x >= 0.0 { 1.0 - tail } else { tail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use talea::testing::{call, call_at};

    #[test]
    fn simulation_agrees_with_the_closed_form() {
        let terms = Terms { spot: 100.0, strike: 105.0, rate: 0.03, volatility: 0.2, years: 1.0 };
        let (mean, error) = simulate(&terms, 200_000, &mut Generator::from_seed(1));
        // 7.12806 by the formula with tables of the normal distribution.
        assert!((closed_form(&terms) - 7.12806).abs() < 0.00001);
        assert!((mean - closed_form(&terms)).abs() < 4.0 * error, "{mean} {error}");
    }

    #[test]
    fn seed_decides() {
        let run = |seed| call_at(price, Request::get("/?paths=1000"), 0, seed).body;
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(call(price, Request::get("/?spot=-1")).exit, 1);
        assert_eq!(call(price, Request::get("/?paths=1")).status, 400);
    }
}
