//! Square roots and divisions on doubles: five bodies, 1,000 steps, `n` times.

use talea_kernels::{Numbers, fold};

#[derive(Clone, Copy)]
struct Body {
    place: [f64; 3],
    speed: [f64; 3],
    mass: f64,
}

const STEP: f64 = 0.001;

fn advance(bodies: &mut [Body; 5]) {
    for i in 0..5 {
        for j in i + 1..5 {
            let apart: [f64; 3] = std::array::from_fn(|k| bodies[i].place[k] - bodies[j].place[k]);
            // The constant keeps close encounters finite.
            let square = apart.iter().map(|x| x * x).sum::<f64>() + 0.01;
            let pull = STEP / (square * square.sqrt());
            let (mi, mj) = (bodies[i].mass, bodies[j].mass);
            for (k, distance) in apart.iter().enumerate() {
                bodies[i].speed[k] -= distance * mj * pull;
                bodies[j].speed[k] += distance * mi * pull;
            }
        }
    }
    for body in bodies {
        for k in 0..3 {
            body.place[k] += STEP * body.speed[k];
        }
    }
}

fn kernel(n: u64) -> u64 {
    let mut numbers = Numbers(11);
    let mut bodies: [Body; 5] = std::array::from_fn(|_| Body {
        place: std::array::from_fn(|_| numbers.unit() * 4.0 - 2.0),
        speed: std::array::from_fn(|_| numbers.unit() - 0.5),
        mass: numbers.unit() + 0.1,
    });
    for _ in 0..n * 1_000 {
        advance(&mut bodies);
    }
    bodies.iter().flat_map(|body| body.place).fold(0, |sum, x| fold(sum, x.to_bits()))
}

fn main() -> std::process::ExitCode {
    talea_kernels::main(kernel)
}
