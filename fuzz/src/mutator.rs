//! Seeded mutation of a corpus: the same seed gives the same inputs on every machine.
//!
//! Absent: coverage feedback. The libFuzzer form of each target has it; this one runs anywhere.

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
#[derive(Debug, Clone)]
pub struct SplitMix(u64);

impl SplitMix {
    /// A generator that is fixed by its seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, or zero when there is none.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 {
            return 0;
        }
        usize::try_from(self.next_u64() % bound as u64).expect("below a usize")
    }
}

/// Bytes that often sit at an edge: of CBOR heads, of LEB128, of signs.
const EDGES: [u8; 16] = [
    0x00, 0x01, 0x0b, 0x17, 0x18, 0x19, 0x1b, 0x40, 0x58, 0x5f, 0x7f, 0x80, 0xa0, 0xbf, 0xd8, 0xff,
];

/// Makes new inputs from a corpus.
#[derive(Debug)]
pub struct Mutator {
    random: SplitMix,
    corpus: Vec<Vec<u8>>,
    len_max: usize,
}

impl Mutator {
    /// Mutates `corpus`, which must not be empty, into inputs of at most `len_max` bytes.
    pub fn new(seed: u64, corpus: Vec<Vec<u8>>, len_max: usize) -> Self {
        assert!(!corpus.is_empty(), "there is nothing to mutate");
        Self { random: SplitMix::new(seed), corpus, len_max }
    }

    /// The next input: one of the corpus with one to eight changes.
    pub fn next_input(&mut self) -> Vec<u8> {
        let mut bytes = self.pick();
        for _ in 0..=self.random.below(8) {
            self.change(&mut bytes);
        }
        bytes.truncate(self.len_max);
        bytes
    }

    fn pick(&mut self) -> Vec<u8> {
        let at = self.random.below(self.corpus.len());
        self.corpus[at].clone()
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.random.below(bytes.len());
        if bytes.is_empty() {
            bytes.push(EDGES[self.random.below(EDGES.len())]);
            return;
        }
        match self.random.below(8) {
            0 => bytes[at] ^= 1 << self.random.below(8),
            1 => bytes[at] = EDGES[self.random.below(EDGES.len())],
            2 => bytes[at] = bytes[at].wrapping_add(1),
            3 => bytes.insert(at, EDGES[self.random.below(EDGES.len())]),
            4 => drop(bytes.remove(at)),
            5 => bytes.truncate(at),
            6 => {
                // A piece of this input, once more, elsewhere.
                let end = (at + 1 + self.random.below(32)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                let to = self.random.below(bytes.len());
                bytes.splice(to..to, piece);
            }
            _ => {
                // The tail of another input.
                let other = self.pick();
                let from = self.random.below(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
}
