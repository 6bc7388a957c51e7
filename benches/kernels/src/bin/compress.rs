//! Bytes and matches: an LZ77 with a hash table over 64 KiB, packed and unpacked, `n` times.

use talea_kernels::{Numbers, fold};

fn pack(data: &[u8]) -> Vec<u8> {
    let mut last = vec![usize::MAX; 1 << 12];
    let mut out = Vec::new();
    let (mut at, mut pending) = (0, 0);
    while at + 4 <= data.len() {
        let head = u32::from_le_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]]);
        let slot = (head.wrapping_mul(0x9e37_79b1) >> 20) as usize;
        let candidate = std::mem::replace(&mut last[slot], at);
        let len = match data.get(candidate..) {
            Some(old) if at - candidate < 0xffff => {
                old.iter().zip(&data[at..]).take(255).take_while(|(a, b)| a == b).count()
            }
            _ => 0,
        };
        if len < 5 && at - pending < 255 {
            at += 1;
            continue;
        }
        out.push((at - pending) as u8);
        out.extend_from_slice(&data[pending..at]);
        out.push(len as u8);
        out.extend_from_slice(&((at.wrapping_sub(candidate)) as u16).to_le_bytes());
        at += len;
        pending = at;
    }
    for rest in data[pending..].chunks(255) {
        out.push(rest.len() as u8);
        out.extend_from_slice(rest);
        out.extend_from_slice(&[0, 0, 0]);
    }
    out
}

fn unpack(mut packed: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new();
    while let [literals, rest @ ..] = packed {
        let (plain, rest) = rest.split_at(usize::from(*literals));
        out.extend_from_slice(plain);
        let distance = usize::from(u16::from_le_bytes([rest[1], rest[2]]));
        for _ in 0..rest[0] {
            out.push(out[out.len() - distance]);
        }
        packed = &rest[3..];
    }
    out
}

fn kernel(n: u64) -> u64 {
    let mut numbers = Numbers(4);
    let mut data = Vec::new();
    while data.len() < 64 * 1024 {
        let word = numbers.below(300) * 2_654_435_761;
        data.extend_from_slice(format!("{word:x} ").as_bytes());
    }
    (0..n).fold(0, |sum, round| {
        let at = (round as usize * 331) % data.len();
        data[at] = data[at].wrapping_add(1);
        let packed = pack(&data);
        let same = unpack(&packed) == data;
        fold(fold(sum, packed.len() as u64), u64::from(same))
    })
}

fn main() -> std::process::ExitCode {
    talea_kernels::main(kernel)
}
