//! Writes canonical items into a byte vector. Cannot fail: what it is given is valid by type.

/// The five-bit length form for values that follow in 1, 2, 4 or 8 bytes.
const ONE_BYTE: u8 = 24;
const TWO_BYTES: u8 = 25;
const FOUR_BYTES: u8 = 26;
const EIGHT_BYTES: u8 = 27;

/// Major types of CBOR (RFC 8949, section 3.1), in place in the first byte.
pub(super) const UINT: u8 = 0 << 5;
pub(super) const BYTES: u8 = 2 << 5;
pub(super) const TEXT: u8 = 3 << 5;
pub(super) const ARRAY: u8 = 4 << 5;
pub(super) const MAP: u8 = 5 << 5;
pub(super) const TAG: u8 = 6 << 5;

/// A link: tag 42, a byte string of 37, the identity multibase prefix 0, CID version 1.
pub(super) const LINK_HEAD: [u8; 6] = [TAG | ONE_BYTE, 42, BYTES | ONE_BYTE, 37, 0, 1];
/// sha2-256, 32 bytes: the only multihash in use.
pub(super) const MULTIHASH_HEAD: [u8; 2] = [0x12, 0x20];

/// Appends canonical CBOR to a vector.
#[derive(Debug)]
pub struct Encoder {
    out: Vec<u8>,
}

impl Encoder {
    /// An empty encoder with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { out: Vec::with_capacity(capacity) }
    }

    /// An empty encoder on memory that is there already.
    pub(super) fn on(mut sheet: Vec<u8>) -> Self {
        sheet.clear();
        Self { out: sheet }
    }

    /// The bytes written.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    /// An unsigned integer.
    pub fn uint(&mut self, value: u64) {
        self.head(UINT, value);
    }

    /// A byte string.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.head(BYTES, bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    /// A byte string in two pieces (a prefix and what it announces).
    pub fn bytes_of_two(&mut self, first: &[u8], second: &[u8]) {
        self.head(BYTES, (first.len() as u64).saturating_add(second.len() as u64));
        self.out.extend_from_slice(first);
        self.out.extend_from_slice(second);
    }

    /// ASCII text.
    pub fn text(&mut self, text: &str) {
        debug_assert!(text.is_ascii(), "text types hold ASCII only");
        self.head(TEXT, text.len() as u64);
        self.out.extend_from_slice(text.as_bytes());
    }

    /// The head of an array; its `count` items follow.
    pub fn array(&mut self, count: u64) {
        self.head(ARRAY, count);
    }

    /// The head of a map; its `count` keys and values follow, keys in canonical order.
    pub fn map(&mut self, count: u64) {
        self.head(MAP, count);
    }

    /// A link to the sha2-256 `digest` under the multicodec `codec` (0x55 raw, 0x71 dag-cbor).
    pub fn link(&mut self, codec: u8, digest: &[u8; 32]) {
        self.out.extend_from_slice(&LINK_HEAD);
        self.out.extend_from_slice(&[codec, MULTIHASH_HEAD[0], MULTIHASH_HEAD[1]]);
        self.out.extend_from_slice(digest);
    }

    #[inline]
    fn head(&mut self, major: u8, value: u64) {
        // One narrowing per form: each arm has just been bounded, so no bit is lost.
        match value {
            0..24 => self.out.push(major | value as u8),
            24..=0xff => self.out.extend_from_slice(&[major | ONE_BYTE, value as u8]),
            0x100..=0xffff => {
                let [a, b] = (value as u16).to_be_bytes();
                self.out.extend_from_slice(&[major | TWO_BYTES, a, b]);
            }
            0x1_0000..=0xffff_ffff => {
                self.out.push(major | FOUR_BYTES);
                self.out.extend_from_slice(&(value as u32).to_be_bytes());
            }
            _ => {
                self.out.push(major | EIGHT_BYTES);
                self.out.extend_from_slice(&value.to_be_bytes());
            }
        }
    }
}
