//! A branch table in a loop: a small stack machine that counts Collatz steps, 300 starts, `n` times.

use talea_kernels::fold;

#[derive(Clone, Copy)]
enum Code {
    Push(u64),
    Load(usize),
    Store(usize),
    Add,
    Multiply,
    Halve,
    Odd,
    Equal,
    JumpIf(usize),
    Jump(usize),
    Stop,
}

/// Variable 0 is the number, 1 the steps so far.
const PROGRAM: [Code; 22] = [
    Code::Load(0),
    Code::Push(1),
    Code::Equal,
    Code::JumpIf(21),
    Code::Load(1),
    Code::Push(1),
    Code::Add,
    Code::Store(1),
    Code::Load(0),
    Code::Odd,
    Code::JumpIf(14),
    Code::Load(0),
    Code::Halve,
    Code::Jump(19),
    Code::Load(0),
    Code::Push(3),
    Code::Multiply,
    Code::Push(1),
    Code::Add,
    Code::Store(0),
    Code::Jump(0),
    Code::Stop,
];

fn run(program: &[Code], start: u64) -> u64 {
    let (mut stack, mut variables) = (Vec::with_capacity(8), [start, 0]);
    let mut at = 0;
    loop {
        let code = program[at];
        at += 1;
        match code {
            Code::Push(value) => stack.push(value),
            Code::Load(index) => stack.push(variables[index]),
            Code::Store(index) => variables[index] = stack.pop().unwrap_or(0),
            Code::Halve => stack.last_mut().into_iter().for_each(|top| *top /= 2),
            Code::Odd => stack.last_mut().into_iter().for_each(|top| *top &= 1),
            Code::Jump(to) => at = to,
            Code::JumpIf(to) => {
                if stack.pop() == Some(1) {
                    at = to;
                }
            }
            Code::Stop => return variables[1],
            Code::Add | Code::Multiply | Code::Equal => {
                let (b, a) = (stack.pop().unwrap_or(0), stack.pop().unwrap_or(0));
                stack.push(match code {
                    Code::Add => a.wrapping_add(b),
                    Code::Multiply => a.wrapping_mul(b),
                    _ => u64::from(a == b),
                });
            }
        }
    }
}

fn kernel(n: u64) -> u64 {
    // A real interpreter does not know its program when it is compiled.
    let program = std::hint::black_box(PROGRAM);
    (0..n * 300).fold(0, |sum, i| fold(sum, run(&program, i % 5_000 + 1)))
}

fn main() -> std::process::ExitCode {
    talea_kernels::main(kernel)
}
