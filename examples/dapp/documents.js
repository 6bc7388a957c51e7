// The documents of Talea: bytes, ids, strict CBOR, signatures, trees and money, as runtime/ledger/DOCUMENTS.md
// has them. No dependency; the cryptography is the browser's own (WebCrypto).
//
// Invariants: bytes that do not encode to themselves are refused; numbers are BigInt; what is hashed or verified
// are the bytes that were carried. Absent: the network, and running functions.

// === Bytes and text ===

export const ascii = new TextEncoder();
const U64_MAX = (1n << 64n) - 1n;

export const hex = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
export const unhex = (text) => {
  if (!/^([0-9a-f]{2})*$/.test(text)) throw new Malformed("text that is not lower-case hex");
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
};
export const base64url = (bytes) => {
  let binary = "";
  for (const b of bytes) binary += String.fromCharCode(b);
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
};
export const unbase64url = (text) =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
export const same = (a, b) => a.length === b.length && a.every((byte, at) => byte === b[at]);
export const joined = (...parts) => {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) { whole.set(part, at); at += part.length; }
  return whole;
};
const sha256 = async (...parts) =>
  new Uint8Array(await crypto.subtle.digest("SHA-256", joined(...parts)));

const BASE32 = "abcdefghijklmnopqrstuvwxyz234567";
function base32(bytes) {
  let text = "", bits = 0, held = 0;
  for (const byte of bytes) {
    held = (held << 8) | byte; bits += 8;
    while (bits >= 5) { bits -= 5; text += BASE32[(held >> bits) & 31]; }
    held &= 31;
  }
  return bits > 0 ? text + BASE32[(held << (5 - bits)) & 31] : text;
}
function unbase32(text) {
  const bytes = [];
  let bits = 0, held = 0;
  for (const letter of text) {
    const value = BASE32.indexOf(letter);
    if (value < 0) throw new Malformed(`${letter} is not of base32`);
    held = (held << 5) | value; bits += 5;
    if (bits >= 8) { bits -= 8; bytes.push((held >> bits) & 255); held &= (1 << bits) - 1; }
  }
  if (held !== 0) throw new Malformed("bits too many at the end of base32");
  return Uint8Array.from(bytes);
}

const BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
// A key's 34 bytes begin with ED: no leading zero needs a digit of its own.
function base58(bytes) {
  let number = BigInt("0x" + hex(bytes)), text = "";
  for (; number > 0n; number /= 58n) text = BASE58[Number(number % 58n)] + text;
  return text;
}
function unbase58(text) {
  let number = 0n;
  for (const letter of text) {
    const value = BASE58.indexOf(letter);
    if (value < 0) throw new Malformed(`${letter} is not of base58`);
    number = number * 58n + BigInt(value);
  }
  const digits = number.toString(16);
  return unhex(digits.length % 2 ? "0" + digits : digits);
}

// === Faults ===

/** Bytes or text that are not what they should be. */
export class Malformed extends Error {}
/** This browser cannot do it. */
export class Unsupported extends Error {}
// === CIDs and keys as text ===

export const RAW = 0x55, DOC = 0x71;

/** What names bytes: a codec and their sha2-256 digest. */
export class Cid {
  constructor(codec, digest) { Object.assign(this, { codec, digest }); }
  static async of(codec, bytes) { return new Cid(codec, await sha256(bytes)); }
  static fromBytes(bytes) {
    const [version, codec, hash, length] = bytes;
    const known = version === 1 && (codec === RAW || codec === DOC) && hash === 0x12 && length === 0x20;
    if (bytes.length !== 36 || !known) throw new Malformed("a content id in another form");
    return new Cid(codec, bytes.slice(4));
  }
  static parse(text) {
    if (/^sha256:[0-9a-f]{64}$/.test(text)) return new Cid(RAW, unhex(text.slice(7)));
    if (!/^b[a-z2-7]{58}$/.test(text)) throw new Malformed(`${text} is no content id`);
    return Cid.fromBytes(unbase32(text.slice(1)));
  }
  bytes() { return joined([1, this.codec, 0x12, 0x20], this.digest); }
  equals(other) { return this.codec === other.codec && same(this.digest, other.digest); }
  toString() { return "b" + base32(this.bytes()); }
}

export const didOf = (key) => "did:key:z" + base58(key);
export function keyOf(did) {
  if (!did.startsWith("did:key:z")) throw new Malformed(`${did} is no did:key`);
  const key = unbase58(did.slice(9));
  checkKey(key);
  return key;
}

// === CBOR, the subset of documents ===

class Reader {
  constructor(bytes) { this.bytes = bytes; this.at = 0; }
  take(count) {
    if (count > this.bytes.length - this.at) throw new Malformed(`bytes missing at ${this.at}`);
    this.at += count;
    return this.bytes.subarray(this.at - count, this.at);
  }
  peek() {
    if (this.at >= this.bytes.length) throw new Malformed(`bytes missing at ${this.at}`);
    return this.bytes[this.at] >> 5;
  }
  /** The number in the head of an item of this major type. */
  head(major) {
    const start = this.at, first = this.take(1)[0], low = first & 31;
    if (first >> 5 !== major) throw new Malformed(`another kind of item at ${start}`);
    if (low < 24) return BigInt(low);
    if (low > 27) throw new Malformed(`an indefinite or reserved length at ${start}`);
    const size = 1 << (low - 24);
    const value = BigInt("0x" + hex(this.take(size)));
    const least = [24n, 1n << 8n, 1n << 16n, 1n << 32n][low - 24];
    if (value < least) throw new Malformed(`a number not in its shortest form at ${start}`);
    return value;
  }
  /** A length, never believed beyond the bytes that are there: every item has at least one. */
  length(major) {
    const value = this.head(major);
    if (value > BigInt(this.bytes.length - this.at)) throw new Malformed(`a length at ${this.at}`);
    return Number(value);
  }
  text(most) {
    const length = this.length(3);
    if (length > most) throw new Malformed(`a text of ${length} characters, ${most} at most`);
    const bytes = this.take(length);
    if (bytes.some((byte) => byte > 127)) throw new Malformed("text that is not ASCII");
    return String.fromCharCode(...bytes);
  }
}

function head(major, value) {
  value = BigInt(value);
  if (value < 0n || value > U64_MAX) throw new Malformed(`${value} is no unsigned 64-bit number`);
  if (value < 24n) return Uint8Array.of((major << 5) | Number(value));
  const size = value < 1n << 8n ? 1 : value < 1n << 16n ? 2 : value < 1n << 32n ? 4 : 8;
  const digits = value.toString(16).padStart(2 * size, "0");
  return joined([(major << 5) | (24 + Math.log2(size))], unhex(digits));
}

// A shape reads one item and writes it. What it would not write it does not read, and the other way round.

const checked = (shape, check) => ({
  read: (from) => { const value = shape.read(from); check(value); return value; },
  write: (value) => { check(value); return shape.write(value); },
});
const uint = (most = U64_MAX, least = 0n) => checked(
  { read: (from) => from.head(0), write: (value) => head(0, value) },
  (value) => {
    if (value < least || value > most) throw new Malformed(`${value} is not within ${least} to ${most}`);
  },
);
const blob = ({ most = Infinity, exactly }) => checked(
  {
    read: (from) => from.take(from.length(2)).slice(),
    write: (value) => joined(head(2, value.length), value),
  },
  (value) => {
    const fits = exactly === undefined ? value.length <= most : value.length === exactly;
    if (!fits) throw new Malformed(`${value.length} bytes`);
  },
);
const text = (form, most) => checked(
  { read: (from) => from.text(most), write: (value) => joined(head(3, value.length), ascii.encode(value)) },
  (value) => {
    if (value.length > most || !form.test(value)) throw new Malformed(`${JSON.stringify(value)} has another form`);
  },
);
const link = (codec) => checked(
  {
    read: (from) => {
      if (from.head(6) !== 42n) throw new Malformed("another tag than a link's");
      const bytes = blob({ exactly: 37 }).read(from);
      if (bytes[0] !== 0) throw new Malformed("a link without its first byte");
      return Cid.fromBytes(bytes.subarray(1));
    },
    write: (cid) => joined([0xd8, 0x2a, 0x58, 37, 0], cid.bytes()),
  },
  (cid) => { if (cid.codec !== codec) throw new Malformed("a link to another kind"); },
);
const array = (item, most, least = 0) => checked(
  {
    read: (from) => Array.from({ length: from.length(4) }, () => item.read(from)),
    write: (items) => joined(head(4, items.length), ...items.map((one) => item.write(one))),
  },
  (items) => {
    if (items.length < least || items.length > most) throw new Malformed(`${items.length} items`);
  },
);
const tuple = (...shapes) => ({
  read: (from) => {
    if (from.head(4) !== BigInt(shapes.length)) throw new Malformed("an array of another length");
    return shapes.map((shape) => shape.read(from));
  },
  write: (items) => joined(head(4, shapes.length), ...shapes.map((shape, at) => shape.write(items[at]))),
});
// The longest key of any document has 14 characters.
const KEY_LEN_MAX = 16;
/** Names that end in `?` may be absent. */
function record(fields) {
  const known = Object.entries(fields)
    .map(([name, shape]) => ({ name: name.replace("?", ""), may: name.endsWith("?"), shape }))
    .sort((a, b) => a.name.length - b.name.length || (a.name < b.name ? -1 : 1));
  return {
    read: (from) => {
      let left = from.length(5);
      const found = {};
      let next = left-- > 0 ? from.text(KEY_LEN_MAX) : null;
      for (const { name, may, shape } of known) {
        if (next === name) {
          found[name] = shape.read(from);
          next = left-- > 0 ? from.text(KEY_LEN_MAX) : null;
        } else if (!may) throw new Malformed(`the key ${name} is missing or out of order`);
      }
      if (next !== null) throw new Malformed(`the key ${next} is unknown or out of order`);
      return found;
    },
    write: (value) => {
      const there = known.filter(({ name, may }) => !may || value[name] !== undefined);
      return joined(head(5, there.length), ...there.flatMap(({ name, shape }) =>
        [head(3, name.length), ascii.encode(name), shape.write(value[name])]));
    },
  };
}

/** One of several, as a map with the one key that says which. */
const choice = (cases) => {
  const shapeOf = (name) => {
    if (!Object.hasOwn(cases, name)) throw new Malformed(`${name} is not known here`);
    return cases[name];
  };
  return {
    read: (from) => {
      if (from.head(5) !== 1n) throw new Malformed("a choice of other than one");
      const name = from.text(KEY_LEN_MAX);
      return { [name]: shapeOf(name).read(from) };
    },
    write: (value) => {
      const [name, ...more] = Object.keys(value);
      if (more.length > 0) throw new Malformed("a choice of more than one");
      return joined(head(5, 1), head(3, name.length), ascii.encode(name), shapeOf(name).write(value[name]));
    },
  };
};

// === Ed25519 as documents use it ===

// Points of order 1, 2, 4 and 8 by their coordinate y; the sign is the highest bit, cleared here.
const SMALL = [
  "00".repeat(32), "01" + "00".repeat(31), "ec" + "ff".repeat(30) + "7f",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
];
const ORDER = (1n << 252n) + 27742317777372353535851937790883648493n;
const littleEndian = (bytes) => BigInt("0x" + hex(bytes.slice().reverse()));

/** What is wrong with a point's 32 bytes, whatever the message. */
function pointFault(bytes) {
  const plain = bytes.slice();
  plain[31] &= 127;
  if (littleEndian(plain) >= (1n << 255n) - 19n) return "its coordinate is not below the prime";
  return SMALL.includes(hex(plain)) ? "it is of small order" : null;
}
function checkKey(key) {
  if (key.length !== 34 || key[0] !== 0xed || key[1] !== 1) throw new Malformed("not an Ed25519 key");
  const fault = pointFault(key.subarray(2));
  if (fault) throw new Malformed(`a key that is refused: ${fault}`);
}

/** Whether `signature` is that of `key` (32 bytes) over `message`. */
export async function signatureHolds(key, message, signature) {
  if (key.length !== 32 || signature.length !== 64) return false;
  if (pointFault(key) || pointFault(signature.slice(0, 32))) return false;
  if (littleEndian(signature.slice(32)) >= ORDER) return false;
  try {
    const imported = await crypto.subtle.importKey("raw", key, "Ed25519", false, ["verify"]);
    return await crypto.subtle.verify("Ed25519", imported, signature, message);
  } catch (fault) {
    if (fault.name === "NotSupportedError") throw new Unsupported(NO_ED25519);
    return false; // Not a point of the curve.
  }
}

const NO_ED25519 = "This browser has no Ed25519 in WebCrypto. Chrome and Edge have it from 137, Firefox from 129, " +
  "Safari from 17.";

/** Throws `Unsupported`, in words for a person, where this client cannot work. */
export async function ensureSupported() {
  if (!globalThis.crypto?.subtle) {
    throw new Unsupported("A browser gives a page its cryptography only over https or from localhost. " +
      "Open this page from there.");
  }
  try {
    await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
  } catch { throw new Unsupported(NO_ED25519); }
}

/** A key pair whose secret half never leaves the browser. */
export class Key {
  constructor(secret, bytes) { Object.assign(this, { secret, bytes }); }
  static async generate() {
    const pair = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
    const bytes = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
    return new Key(pair.privateKey, joined([0xed, 1], bytes));
  }
  /** The key of a secret's 32 bytes. For keys that everybody has: what a page can read is no secret. */
  static async of(seed) {
    // PKCS #8 around the seed (RFC 8410); only as JWK does WebCrypto then give the public half.
    const wrapped = joined(unhex("302e020100300506032b657004220420"), seed);
    const secret = await crypto.subtle.importKey("pkcs8", wrapped, "Ed25519", true, ["sign"]);
    const { x } = await crypto.subtle.exportKey("jwk", secret);
    return new Key(secret, joined([0xed, 1], unbase64url(x)));
  }
  get did() { return didOf(this.bytes); }
  async sign(message) {
    return new Uint8Array(await crypto.subtle.sign("Ed25519", this.secret, message));
  }
}

// === Documents ===

const MIB_64 = 64 * 1024 * 1024;
const number = uint(), bytes32 = blob({ exactly: 32 }), yesno = uint(1n), pages = uint(0xffffffffn);
const key = checked(blob({ exactly: 34 }), checkKey);
const TOKEN = /^[0-9A-Za-z!#$%&'*+\-.^_`|~]+$/;
const headerName = text(/^[0-9a-z!#$%&'*+\-.^_`|~]+$/, 128);
const headerValue = text(/^([!-~]([\t -~]*[!-~])?)?$/, 4096);
const headers = checked(array(tuple(headerName, headerValue), 64), (pairs) => {
  if (pairs.flat().join("").length > 16384) throw new Malformed("headers of more than 16,384 bytes");
});
const argument = checked(blob({ most: 1024 }), (bytes) => {
  try { new TextDecoder("utf-8", { fatal: true }).decode(bytes); }
  catch { throw new Malformed("an argument that is not UTF-8"); }
  if (bytes.includes(0)) throw new Malformed("an argument with a NUL");
});
const outcome = checked(tuple(number, number), ([kind, code]) => {
  const [least, most] = [[0n, 0n], [1n, 0xffffffffn], [1n, 8n], [0n, 0n], [1n, 4n]][Number(kind)] ?? [1n, 0n];
  if (code < least || code > most) throw new Malformed(`no outcome is ${kind}, ${code}`);
});
const price = record({ kib: number, call: number, rate: number });
const limits = record({ log: number, mem: pages, out: number, fuel: number });
const LABEL = "[a-z0-9]([a-z0-9_\\-]{0,62}[a-z0-9])?";
const SIGNED = /^application\/vnd\.talea\.(run|receipt|batch|registration|request|transaction|voucher|session|block|vote|offer|draw)\.v1\+dag-cbor$/;
const sealed = checked(record({
  p: blob({ most: 61440 }), s: array(record({ g: blob({ exactly: 64 }), k: key }), 1, 1), t: text(SIGNED, 64),
}), ({ p, t }) => {
  if (p.length > 16384 && t !== mediaType("transaction")) throw new Malformed(`a payload of ${p.length} bytes`);
});
const proof = record({ path: array(bytes32, 12), batch: sealed, index: uint(4095n) });
const anyBytes = blob({});
const bytesOrSealed = {
  read: (from) => (from.peek() === 2 ? anyBytes : sealed).read(from),
  write: (value) => (value instanceof Uint8Array ? anyBytes : sealed).write(value),
};
const forward = record({
  run: bytesOrSealed, draw: sealed, "head?": sealed, proof, offers: array(sealed, 64), receipt: anyBytes,
});

const proven = record({ proof, receipt: anyBytes }), fraud = record({ first: proven, second: proven });
// What a wallet in a browser orders. Other actions are for other tools.
const action = choice({
  transfer: record({ to: key, amount: number }),
  open: record({ host: key, escrow: number, expires: number, batchcap: number, watermark: number }),
  topup: record({ chan: bytes32, amount: number, "expires?": number }),
  close: record({ chan: bytes32 }),
  "revoke-session": record({ chan: bytes32, session: link(DOC) }),
  settle: record({ of: choice({ claim: bytes32, stake: key, channel: bytes32 }) }),
  fraud,
});

const SHAPES = {
  input: record({
    len: number, args: array(argument, 64), body: link(RAW), path: text(/^(\/[!"$->@-~]*)?$/, 4096),
    "salt?": blob({ exactly: 16 }), query: text(/^[!"$-~]*$/, 8192), method: text(TOKEN, 32), headers,
  }),
  output: record({ len: number, body: link(RAW), status: uint(599n, 200n), headers }),
  run: record({
    fn: link(RAW), in: link(DOC), cgi: yesno, clk: number, inn: number, net: bytes32,
    "pay?": record({
      cap: number, exp: number, ppm: uint(1000000n), seq: number, chan: bytes32, "host?": key,
    }),
    prof: link(DOC), seed: bytes32, price, logmax: number, memmax: pages, outmax: number, fuelmax: number,
  }),
  receipt: record({
    at: number, by: key, fn: link(RAW), in: link(DOC), inn: number, mem: pages, net: bytes32, out: link(DOC),
    "pay?": record({ seq: number, chan: bytes32, owed: number, payer: key }),
    run: link(DOC), "via?": record({ draw: link(DOC), receipt: link(DOC) }), bill: number, fuel: number, outn: number, prof: link(DOC), hfuel: number, price, outcome,
  }),
  batch: record({ at: number, by: key, net: bytes32, num: number, root: bytes32, count: uint(4096n, 1n) }),
  registration: record({
    at: number, fn: link(RAW), cgi: yesno, max: limits, net: bytes32, kind: text(/^(command|handler)$/, 7),
    "name?": text(new RegExp(`^${LABEL}/${LABEL}$`), 129), owner: key, headers: array(headerName, 64),
  }),
  request: record({
    at: number, net: bytes32, body: link(RAW), path: text(/^\/[!"$-~]*$/, 12289), method: text(TOKEN, 32),
  }),
  session: record({
    key, net: bytes32, "hosts?": array(key, 32), payer: key, total: number, expires: number,
    "functions?": array(link(RAW), 64),
  }),
  voucher: record({ net: bytes32, chan: bytes32, owed: number, settled: number }),
  transaction: record({ act: action, net: bytes32, from: key, nonce: number, "builds?": bytes32 }),
  fraud,
  bundle: record({
    "fn?": blob({ most: MIB_64 }), "in?": anyBytes, "out?": anyBytes, run: bytesOrSealed,
    "via?": forward, proof, "inbody?": blob({ most: MIB_64 }), "outbody?": blob({ most: MIB_64 }), receipt: anyBytes,
  }),
  proof, sealed,
};

export const encode = (type, document) => SHAPES[type].write(document);
export function decode(type, bytes) {
  const from = new Reader(bytes);
  const document = SHAPES[type].read(from);
  if (from.at !== bytes.length) throw new Malformed(`${bytes.length - from.at} bytes too many`);
  return document;
}
export const mediaType = (type) => `application/vnd.talea.${type}.v1+dag-cbor`;

// === Envelopes and trees ===

/** What is signed: DSSE's pre-authentication encoding. */
const pae = (type, payload) => joined(ascii.encode(`DSSEv1 ${type.length} ${type} ${payload.length} `), payload);

/** `payload`, a document of `type`, in an envelope. */
export async function seal(signer, type, payload) {
  const t = mediaType(type);
  return { p: payload, s: [{ g: await signer.sign(pae(t, payload)), k: signer.bytes }], t };
}
/** The document in an envelope and who signed it; throws unless the signature holds. */
export async function open(envelope, type) {
  if (envelope.t !== mediaType(type)) throw new Malformed(`the envelope holds another document than a ${type}`);
  const [{ g, k }] = envelope.s;
  const document = decode(type, envelope.p);
  if (!await signatureHolds(k.slice(2), pae(envelope.t, envelope.p), g)) {
    throw new Malformed(`the ${type}'s signature does not hold`);
  }
  return { document, signer: k };
}

export const leaf = (payload) => sha256([0], payload);
export const node = (left, right) => sha256([1], left, right);
/** Whether `path` leads from `payload`, the leaf at `index` among `count`, to `root`. */
export async function leadsTo(root, index, count, payload, path) {
  [index, count] = [Number(index), Number(count)];
  if (index >= count) return false;
  let found = await leaf(payload);
  const left = path.slice();
  for (; count > 1; index = index >> 1, count = (count + 1) >> 1) {
    if (index % 2 === 0 && index + 1 >= count) continue;
    const sibling = left.shift();
    if (!sibling) return false;
    found = index % 2 === 1 ? await node(sibling, found) : await node(found, sibling);
  }
  return left.length === 0 && same(found, root);
}

// === Money ===

export const least = (a, b) => (a < b ? a : b);
const upward = (a, b) => (a + b - 1n) / b;

/** What fuel and bytes cost, before the cap. */
export const cost = (price, fuel, bytes) =>
  price.call + upward(fuel * price.rate, 1000000n) + upward(least(bytes, U64_MAX) * price.kib, 1024n);
export const bill = (price, fuel, bytes, cap) => least(cap, cost(price, fuel, bytes));

/** The channel that a transaction's payload opens. */
export const channelOf = async (opening) => sha256(ascii.encode("talea channel v1\0"), await sha256(opening));
/** A transaction's name. */
export const transactionOf = (payload) => sha256(payload);
/** A network's name: that of its parameters. */
export const networkOf = (params) => sha256(params);
/** The key that a development network funds. Everybody has it, and what it has is worth nothing. */
export const developmentKey = async () => Key.of(await sha256(ascii.encode("talea development wallet v1")));
