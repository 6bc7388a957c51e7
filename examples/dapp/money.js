// Money in a browser: a wallet's key, the channels it opens, and the session keys that spend from them.
//
// A page has one wallet (elsewhere an extension or a device would hold its key), and the wallet is asked twice: for a
// channel, which locks money on the ledger, and for a session, which lets a key of this page sign runs and vouchers
// towards one host, up to a sum and for a day. Nothing after that asks the wallet.
//
// Invariants: an opening is kept here before it is sent, so that escrow is never lost from sight; a sequence is taken
// for ever before it is signed; a voucher promises only what was counted here, and only a receipt that `verify` found
// to hold is counted; two receipts that cannot both be honest are an error that carries the proof.
// Absent: secrets that a script could read. Both keys are WebCrypto's and not extractable.

import {
  Cid, DOC, Key, Malformed, Refusal, awaited, channelOf, decode, developmentKey, didOf, encode, hex, nowNs, same, seal,
} from "./talea.js";

// Escrow of a channel when nobody says, and what the fees of its life take at most.
const ESCROW = 1000000n, FEES = 1000n;
const SECOND = 1000000000n, HOUR = 3600n * SECOND;
// How long a channel stands and a session counts when nobody says.
const CHANNEL_NS = 7n * 24n * HOUR, SESSION_NS = 24n * HOUR;
// A session or channel that ends within this time is not begun with.
const SOON_NS = HOUR / 4n;

// Bills that are remembered one by one, to find out with which another overlaps: a window of sequences.
const SEEN_MAX = 1024;

/** The wallet has too little: `key` is whom to pay, `lacks` how much. */
export class Unfunded extends Error {
  constructor(key, lacks) {
    super(`The wallet lacks ${lacks} tal.`);
    Object.assign(this, { key, lacks });
  }
}

/** A host gave two receipts that cannot both be honest: `first` and `second`, each `{ receipt, proof }`. */
export class Cheated extends Error {
  constructor(what, first, second) {
    super(`The host has cheated: ${what}.`);
    Object.assign(this, { first, second });
  }
}

/** A key and the channels it opened, in this browser's own database. The secrets cannot be read out. */
export class Wallet {
  constructor(database, key) { Object.assign(this, { database, key }); }

  static async open(name = "talea") {
    const opening = indexedDB.open(name, 2);
    opening.onupgradeneeded = () => {
      for (const store of ["keys", "channels", "receipts"]) {
        if (!opening.result.objectStoreNames.contains(store)) opening.result.createObjectStore(store);
      }
      // Of the first version, which paid without channels.
      if (opening.result.objectStoreNames.contains("sequences")) opening.result.deleteObjectStore("sequences");
    };
    const database = await settled(opening);
    const kept = await settled(database.transaction("keys").objectStore("keys").get("payer"));
    if (kept) return new Wallet(database, new Key(kept.secret, kept.bytes));
    const { secret, bytes } = await Key.generate();
    // `add`, so that of two tabs that open for the first time only one makes the key.
    const adding = database.transaction("keys", "readwrite").objectStore("keys").add({ secret, bytes }, "payer");
    const taken = await settled(adding).then(() => true, () => false);
    if (!taken) { database.close(); return Wallet.open(name); }
    return new Wallet(database, new Key(secret, bytes));
  }

  /** What is known of the channel to a host; nothing where none was opened from here. */
  async known(terms) { return this.get("channels", placeOf(terms)); }

  /** A session to pay a host with: the known one, or one over a new channel. `wishes`: `escrow`, `total`. */
  async session(node, terms, wishes = {}) {
    let kept = await this.known(terms);
    if (kept && !await this.stands(node, terms, kept)) {
      await this.change("channels", placeOf(terms), () => undefined);
      kept = undefined;
    }
    if (!kept) await this.openChannel(node, terms, wishes);
    const now = nowNs();
    kept = await this.known(terms);
    if (!kept.session || kept.session.expires <= now + SOON_NS) {
      const session = await this.grant(terms, wishes.total ?? kept.escrow, now + SESSION_NS);
      kept = await this.change("channels", placeOf(terms), (channel) => ({ ...channel, session }));
    }
    return new Session(this, terms, kept);
  }

  /** Whether a kept channel can be paid from. One that the ledger does not know is handed in once more. */
  async stands(node, terms, kept) {
    let live = await node.channel(kept.chan);
    if (!live) {
      try { await node.submit(decode("sealed", kept.opening)); } catch (fault) {
        // Its number was used since: by itself, when the channel has come and gone, or by another order.
        if (fault instanceof Refusal) return false;
        throw fault;
      }
      live = await node.channel(kept.chan);
    }
    const network = await node.network(terms);
    const ends = network.start + (live?.deadline ?? 0n) * network.slot;
    return live !== null && !live.closing && ends > nowNs() + SOON_NS;
  }

  /** Locks money towards a host. The wallet signs; the opening is kept before it is sent. */
  async openChannel(node, terms, { escrow = ESCROW } = {}) {
    const network = await node.network(terms);
    await this.fund(node, terms, escrow + FEES);
    const expires = (nowNs() + CHANNEL_NS - network.start) / network.slot;
    const opening = await this.ordered(node, terms, {
      open: { host: terms.host, escrow, expires, batchcap: escrow / 10n, watermark: escrow },
    });
    const chan = await channelOf(opening.p);
    await this.change("channels", placeOf(terms), () => ({
      chan, opening: encode("sealed", opening), escrow, sequence: 0n, owed: 0n, settled: 0n, beyond: [], vouched: 0n,
    }));
    await node.submit(opening);
    return chan;
  }

  /** Lets a new key of this page sign towards a host. The wallet signs once. */
  async grant(terms, total, expires) {
    const { secret, bytes } = await Key.generate();
    const session = encode("session", {
      key: bytes, net: terms.network, hosts: [terms.host], payer: this.key.bytes, total, expires,
    });
    const grant = encode("sealed", await seal(this.key, "session", session));
    return { secret, bytes, grant, total, expires };
  }

  /** Puts more into the channel to a host. */
  async topUp(node, terms, amount) {
    const kept = await this.known(terms);
    if (!kept) throw new Malformed("no channel to this host was opened from here");
    await this.fund(node, terms, amount + FEES);
    await node.submit(await this.ordered(node, terms, { topup: { chan: kept.chan, amount } }));
  }

  /** Ends the session in its channel before its time. */
  async revoke(node, terms) {
    const kept = await this.known(terms);
    if (!kept?.session) return;
    const session = await Cid.of(DOC, decode("sealed", kept.session.grant).p);
    await node.submit(await this.ordered(node, terms, { "revoke-session": { chan: kept.chan, session } }));
    await this.change("channels", placeOf(terms), ({ session: _, ...channel }) => channel);
  }

  /** Closes the channel to a host and waits until the rest is back. Gives what came back. */
  async close(node, terms) {
    const kept = await this.known(terms);
    if (!kept) throw new Malformed("no channel to this host was opened from here");
    if (kept.session) {
      const session = new Session(this, terms, kept);
      await awaited("redeem what it was promised", 30, async () => await session.vouch(node) >= (await this.known(terms)).owed);
    }
    const live = await node.channel(kept.chan);
    if (live && !live.closing) await node.submit(await this.ordered(node, terms, { close: { chan: kept.chan } }));
    // The host takes its part and gives the rest back; it has no reason to wait when it was promised all.
    let last = live;
    await awaited("the end of the channel", 30, async () => {
      const now = await node.channel(kept.chan);
      last = now ?? last;
      return now === null;
    });
    await this.change("channels", placeOf(terms), () => undefined);
    return last?.escrow ?? 0n;
  }

  /** Sees to it that the wallet has so much. On a development network everybody may take from its purse. */
  async fund(node, terms, needed) {
    const { balance } = await node.account(this.key.bytes);
    if (balance >= needed) return;
    const lacks = needed - balance, purse = await developmentKey();
    if ((await node.account(purse.bytes)).balance < lacks + FEES) throw new Unfunded(didOf(this.key.bytes), lacks);
    const order = { transfer: { to: this.key.bytes, amount: lacks } };
    await node.submit(await ordered(node, terms, purse, order));
  }

  ordered(node, terms, act) { return ordered(node, terms, this.key, act); }

  /** Forgets the key and makes another. What its channels hold returns when they end. */
  async renew() {
    const stores = this.database.transaction(["keys", "channels", "receipts"], "readwrite");
    for (const store of ["channels", "receipts"]) stores.objectStore(store).clear();
    await settled(stores.objectStore("keys").clear());
    this.database.close();
    return Wallet.open(this.database.name);
  }

  get(store, at) { return settled(this.database.transaction(store).objectStore(store).get(at)); }

  /** Reads, changes and writes in one transaction of the database; two tabs do so one after the other. */
  change(store, at, how) {
    return new Promise((resolve, reject) => {
      const transaction = this.database.transaction(store, "readwrite", { durability: "strict" });
      const entries = transaction.objectStore(store), reading = entries.get(at);
      let changed;
      reading.onsuccess = () => {
        try {
          changed = how(reading.result);
          if (changed === undefined) entries.delete(at); else entries.put(changed, at);
        } catch (fault) { transaction.abort(); reject(fault); }
      };
      transaction.oncomplete = () => resolve(changed);
      transaction.onerror = () => reject(transaction.error);
    });
  }
}

/** A key of this page that pays a host from a channel, within its grant. Only `Wallet.session` makes one. */
export class Session {
  constructor(wallet, terms, { chan, session }) {
    const { secret, bytes, grant, total, expires } = session;
    Object.assign(this, { wallet, terms, channel: chan, grant, total, expires, key: new Key(secret, bytes) });
  }

  /** The next sequence. It is used up even if the run is never sent; gaps cost nothing. */
  async take() {
    return (await this.change((kept) => ({ ...kept, sequence: kept.sequence + 1n }))).sequence;
  }

  /** Counts a receipt whose checks all hold, so that the next voucher promises it. Throws `Cheated`, with the proof, if
   * it contradicts one that was counted before. */
  async count(papers) {
    const { bill, pay } = decode("receipt", papers.receipt);
    const ours = { receipt: papers.receipt, proof: papers.proof };
    const place = (sequence) => `${hex(this.channel)}:${sequence}`;
    const before = await this.wallet.get("receipts", place(pay.seq));
    if (before && !same(before.receipt, ours.receipt)) {
      throw new Cheated("one sequence has two receipts", before, ours);
    }
    await this.wallet.change("receipts", place(pay.seq), () => ours);
    const stretch = { from: pay.owed - bill, to: pay.owed, seq: pay.seq };
    let overlap = null;
    await this.change((kept) => {
      const [now, with_] = counted(kept, stretch);
      overlap = with_;
      return now;
    });
    if (overlap !== null) {
      const other = await this.wallet.get("receipts", place(overlap));
      throw new Cheated("two bills count the same money", other, ours);
    }
  }

  /** Promises all that was counted. Gives what the host now has a voucher for. */
  async vouch(node) {
    const { owed, settled: upto, vouched } = await this.wallet.known(this.terms);
    if (owed <= vouched) return vouched;
    let promised = owed, least = await node.vouch(await this.voucher(owed, upto), this.grant);
    if (least) {
      // One redeem lists no more. The host may ask for less than was counted, never for more.
      if (least.owed > owed || least.settled > upto) throw new Malformed("the host asks for more than it billed");
      promised = least.owed > vouched ? least.owed : vouched;
      if (least.owed > vouched) await node.vouch(await this.voucher(least.owed, least.settled), this.grant);
    }
    await this.change((kept) => ({ ...kept, vouched: promised > kept.vouched ? promised : kept.vouched }));
    return promised;
  }

  async voucher(owed, upto) {
    const voucher = encode("voucher", { net: this.terms.network, chan: this.channel, owed, settled: upto });
    return seal(this.key, "voucher", voucher);
  }

  change(how) { return this.wallet.change("channels", placeOf(this.terms), how); }
}

/** A channel's account with one more bill, the stretch (from, to] of what it owes; and the sequence of a bill that
 * counts the same money, if there is one. What lies above a gap is counted but not promised. */
export function counted(kept, stretch) {
  const { from, to, seq } = stretch, seen = kept.seen ?? [];
  const all = [...seen, ...kept.beyond];
  const isSame = (old) => old.from === from && old.to === to && old.seq === seq;
  if (to === from || all.some(isSame)) return [kept, null];
  const overlap = all.find((old) => old.from < to && from < old.to);
  if (overlap) return [kept, overlap.seq];
  // Older than what is remembered one by one.
  if (to <= kept.owed) return [kept, null];
  const beyond = [...kept.beyond, stretch].sort((a, b) => (a.from < b.from ? -1 : 1)), passed = [];
  let { owed, settled: upto } = kept;
  while (beyond.length > 0 && beyond[0].from === owed) {
    const next = beyond.shift();
    passed.push(next);
    owed = next.to;
    upto = next.seq > upto ? next.seq : upto;
  }
  return [{ ...kept, owed, settled: upto, beyond, seen: [...seen, ...passed].slice(-SEEN_MAX) }, null];
}

async function ordered(node, terms, key, act) {
  const { next } = await node.account(key.bytes);
  return seal(key, "transaction", encode("transaction", { act, net: terms.network, from: key.bytes, nonce: next }));
}

const placeOf = (terms) => `${hex(terms.network)}:${didOf(terms.host)}`;

const settled = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = (event) => { event.preventDefault(); reject(request.error); };
});
