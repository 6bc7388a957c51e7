// A client of Talea for browsers: signs a run, calls a function, and believes nothing it has not verified.
//
// No dependency, no build step. Invariants: a run is signed over the input that this client made itself; what a
// host says is compared with bytes that this client hashed. Absent: money, which `money.js` keeps, and running functions
// again, which `talea receipt verify --rerun` does with the file that `bundle()` makes.

import {
  Cid, DOC, Malformed, RAW, Unsupported, ascii, base64url, bill, cost, decode, didOf, encode, hex, keyOf, leadsTo, least,
  mediaType, networkOf, open, same, seal, transactionOf, unbase64url, unhex,
} from "./documents.js";

export * from "./documents.js";

// === A node ===

// What a run is given when nobody says: about a second of work, and what most answers need.
const FUEL_DEFAULT = 1000000000n, OUTPUT_DEFAULT = 4n * 1024n * 1024n;
// A run may be executed this long after it was signed: time enough to send it again.
const VALID_FOR_NS = 600n * 1000000000n;
// Set by browsers whatever a script says: an input that holds one cannot be known before it is sent.
const BROWSERS_OWN = /^(accept-charset|accept-encoding|access-control-.*|cache-control|connection|content-length|cookie|date|dnt|expect|host|keep-alive|origin|pragma|priority|proxy-.*|referer|sec-.*|te|trailer|transfer-encoding|upgrade|upgrade-insecure-requests|user-agent|via)$/;
// How often a node is asked while something is awaited.
const ASK_EVERY_MS = 100;
export const nowNs = () => BigInt(Date.now()) * 1000000n;
const pause = () => new Promise((next) => setTimeout(next, ASK_EVERY_MS));

/** Asks until `look` gives something, at most so many seconds. */
export async function awaited(what, seconds, look) {
  for (const end = Date.now() + 1000 * seconds; Date.now() < end; await pause()) {
    const found = await look();
    if (found) return found;
  }
  throw new Unsupported(`The node did not come to ${what} within ${seconds} s.`);
}

/** What a node said instead of an answer: `status`, `code`, `detail`. */
export class Refusal extends Error {
  constructor(status, error) {
    super(error?.message ?? `the node answered ${status}`);
    Object.assign(this, { status, code: error?.code ?? "unknown", detail: error?.detail ?? {} });
  }
}

/** One node, by its address. */
export class Node {
  constructor(address) {
    const url = new URL(address);
    if (!/^https?:$/.test(url.protocol)) throw new Malformed("an address begins with http:// or https://");
    this.address = url.origin;
  }

  /** Who the host is and what it asks. */
  async terms() {
    const said = await this.json("/.well-known/talea/info");
    return {
      host: keyOf(said.host), network: unhex(said.network), profile: Cid.parse(said.profile),
      price: { call: BigInt(said.price.per_call), rate: BigInt(said.price.rate), kib: BigInt(said.price.per_kib) },
      takesFreeCalls: said.free_calls, version: said.version,
    };
  }

  /** The functions it has, newest last; not a whole catalogue. */
  async functions(limit = 100) {
    return (await this.json(`/functions?limit=${limit}`)).functions.map(described);
  }

  /** One function, by id or `namespace/name`. */
  async function(named) {
    if (!/^[a-z0-9_-]+\/[a-z0-9_-]+$/.test(named)) named = Cid.parse(named).toString();
    return described(await this.json(`/functions/${named}`));
  }

  /** The exact bytes of a function; throws unless they are what its id says. */
  async module(id) {
    const answer = await this.ask(`/functions/${id}`, { headers: { accept: "application/wasm" } });
    const bytes = new Uint8Array(await answer.arrayBuffer());
    if (!(await Cid.of(RAW, bytes)).equals(id)) throw new Malformed("these are not the function's bytes");
    return bytes;
  }

  /** What a receipt is checked against, as the node gives it: nothing of it is believed here. */
  async papers(id) {
    const said = await this.json(`/receipts/${id}`);
    const bytes = (field) => (said[field] === undefined ? undefined : unbase64url(said[field]));
    return {
      receipt: bytes("payload"), proof: bytes("proof"), output: bytes("output_payload"),
      run: said.run_sealed ? decode("sealed", bytes("run_sealed")) : bytes("run_payload"),
    };
  }

  /** Calls a function. `asked`: `fn` (from `function()`), `terms`, `method`, `path`, `query`, `headers`, `args`,
   * `body`, and to pay: `payer` (a `Session` of `money.js`), with `fuel`, `output`, `maxBill` as one likes. */
  async call(asked) {
    const order = await this.order(asked);
    const request = { method: order.method, headers: order.headers, body: order.body };
    let answer;
    try {
      answer = await this.ask(order.target, request);
    } catch (fault) {
      // The very same run is billed once however often it is sent; a free call would be another one.
      if (!(fault instanceof TypeError) || !order.sealed) throw fault;
      answer = await this.ask(order.target, request);
    }
    const named = (name) => answer.headers.get(`talea-${name}`);
    return {
      order, status: answer.status, type: answer.headers.get("content-type") ?? "",
      body: new Uint8Array(await answer.arrayBuffer()), receipt: named("receipt"), outcome: named("outcome"),
      fuel: BigInt(named("fuel")), bill: BigInt(named("bill")),
    };
  }

  /** The request, the input document that the node will make of it, and, when paid, the signed run. */
  async order({ fn, terms, payer, method = "GET", path = "", query = "", headers = {}, args = [], body, ...wishes }) {
    const prefix = `/f/${fn.id}`;
    const url = new URL(this.address + prefix + path + (query ? `?${query}` : ""));
    if (!url.pathname.startsWith(prefix)) throw new Malformed(`the path ${path} leads out of the function`);
    const sent = { accept: "*/*" };
    for (const [name, value] of Object.entries(headers)) sent[name.toLowerCase()] = value;
    const own = fn.headers.find((name) => BROWSERS_OWN.test(name));
    if (own) throw new Unsupported(`This function reads the header ${own}, which a browser sets by itself.`);
    if (fn.headers.includes("accept-language")) sent["accept-language"] ??= navigator.language;
    body ??= new Uint8Array();
    const input = encode("input", {
      len: BigInt(body.length), body: await Cid.of(RAW, body), args: args.map((word) => ascii.encode(word)),
      path: url.pathname.slice(prefix.length), query: url.search.slice(1), method,
      headers: fn.headers.filter((name) => sent[name] !== undefined).map((name) => [name, sent[name].trim()]),
    });
    if (args.length > 0) sent["talea-args"] = args.map(encodeURIComponent).join(" ");
    const order = {
      fn, terms, method, headers: sent, input, body: body.length > 0 ? body : undefined, given: body,
      target: url.pathname + url.search,
    };
    if (!payer) return order;
    order.sealed = await this.signed(order, payer, wishes);
    sent["talea-run"] = base64url(encode("sealed", order.sealed));
    sent["talea-session"] = base64url(payer.grant);
    return order;
  }

  async signed({ fn, terms, input, given }, payer, wishes) {
    const inn = BigInt(given.length), clk = nowNs();
    const outmax = least(wishes.output ?? OUTPUT_DEFAULT, fn.limits.output);
    const fuelmax = affordable(terms.price, inn + outmax, least(wishes.fuel ?? FUEL_DEFAULT, fn.limits.fuel), wishes.maxBill);
    const run = encode("run", {
      fn: fn.id, in: await Cid.of(DOC, input), cgi: fn.cgi ? 1n : 0n, clk, inn, net: terms.network,
      pay: {
        cap: cost(terms.price, fuelmax, inn + outmax), exp: clk + VALID_FOR_NS, ppm: fn.royalty,
        seq: await payer.take(), chan: payer.channel, host: terms.host,
      },
      prof: terms.profile, seed: crypto.getRandomValues(new Uint8Array(32)), price: terms.price,
      logmax: fn.limits.log, memmax: fn.limits.pages, outmax, fuelmax,
    });
    return seal(payer.key, "run", run);
  }

  /** The network's parameters, as far as an opening needs them. Its name is computed here, not believed. */
  async network(terms) {
    const said = await this.json("/network");
    if (!same(await networkOf(unbase64url(said.params)), terms.network)) {
      throw new Malformed("the node's parameters are of another network than its host");
    }
    return { start: BigInt(said.start), slot: BigInt(said.slot), margin: BigInt(said.windows.margin) };
  }

  /** What an account has, and the number of its next transaction. */
  async account(key) {
    const said = await this.json(`/accounts/${didOf(key)}`);
    return { balance: BigInt(said.balance), next: BigInt(said.next) };
  }

  /** A channel as the ledger has it; null when it has none. */
  async channel(chan) {
    const said = await this.json(`/channels/${hex(chan)}`).catch(absent);
    return said && {
      escrow: BigInt(said.escrow), redeemed: BigInt(said.redeemed), closing: said.closing !== null,
      deadline: BigInt(said.deadline),
      // What the host counts on: paid and left in the finalised state.
      covered: said.final === null ? 0n : BigInt(said.final.escrow) + BigInt(said.final.redeemed),
    };
  }

  /** What the host says that a channel owes; null when it knows none. `key` is the payer's. */
  async owed(chan, key, terms) {
    const path = `/vouchers/${hex(chan)}`;
    const request = encode("request", {
      at: nowNs(), net: terms.network, body: await Cid.of(RAW, new Uint8Array()), path, method: "GET",
    });
    const signed = base64url(encode("sealed", await seal(key, "request", request)));
    const answer = await this.ask(path, { headers: { accept: "application/json", "talea-request": signed } }).catch(absent);
    const said = await answer?.json();
    return said && { owed: BigInt(said.owed), vouched: BigInt(said.vouched), settled: BigInt(said.settled) };
  }

  /** Hands in a transaction's envelope and waits until it is in a finalised block. */
  async submit(envelope) {
    const body = encode("sealed", envelope), id = hex(await transactionOf(envelope.p));
    await this.ask("/transactions", { method: "POST", headers: { "content-type": mediaType("transaction") }, body });
    await awaited("a finalised block with the transaction", 30, async () => {
      const said = await this.json(`/transactions/${id}`);
      if (said.status === "rejected") throw new Refusal(422, { code: said.reason, message: `the ledger says ${said.reason}` });
      return said.status === "included" && said.final;
    });
    return id;
  }

  /** Gives a voucher. Gives how much of it the host takes for now: all of it, or what one redeem can list. */
  async vouch(envelope, grant) {
    const headers = { "content-type": mediaType("voucher"), "talea-session": base64url(grant) };
    try {
      await this.ask("/vouchers", { method: "POST", headers, body: encode("sealed", envelope) });
      return null;
    } catch (fault) {
      if (!(fault instanceof Refusal) || fault.code !== "voucher_parts" || !fault.detail.owed) throw fault;
      return { owed: BigInt(fault.detail.owed), settled: BigInt(fault.detail.settled) };
    }
  }

  /** Hands in two receipts (`{ receipt, proof }` in bytes) that cannot both be honest. What the node does with them. */
  async accuse(first, second) {
    const proven = ({ receipt, proof }) => ({ receipt, proof: decode("proof", proof) });
    const body = encode("fraud", { first: proven(first), second: proven(second) });
    return (await this.ask("/fraud", { method: "POST", headers: { "content-type": "application/cbor" }, body })).json();
  }

  async json(path) {
    return (await this.ask(path, { headers: { accept: "application/json" } })).json();
  }

  /** Sends; an answer without a receipt that is not a success is a `Refusal`. */
  async ask(path, init) {
    const answer = await fetch(this.address + path, {
      mode: "cors", credentials: "omit", referrerPolicy: "no-referrer", redirect: "manual", cache: "no-store", ...init,
    });
    if (answer.type === "opaqueredirect") {
      throw new Unsupported("The function answered with a redirect, which a browser does not show to a page.");
    }
    if (answer.headers.has("talea-receipt") || answer.ok) return answer;
    throw new Refusal(answer.status, (await answer.json().catch(() => null))?.error);
  }
}

/** Nothing in place of what is not there. */
function absent(fault) {
  if (fault instanceof Refusal && fault.status === 404) return null;
  throw fault;
}

function described(view) {
  const { fuel, memory_pages, output_bytes, log_bytes } = view.limits;
  return {
    id: Cid.parse(view.id), name: view.name ?? null, kind: view.kind, cgi: view.cgi, headers: view.headers,
    size: Number(view.size), owner: view.owner, royalty: BigInt(view.royalty_ppm ?? 0),
    limits: { fuel: BigInt(fuel), pages: BigInt(memory_pages), output: BigInt(output_bytes), log: BigInt(log_bytes) },
  };
}

/** As much of the fuel wished for as `maxBill` pays for beside the bytes. */
function affordable(price, bytes, wished, maxBill) {
  if (maxBill === undefined || cost(price, wished, bytes) <= maxBill) return wished;
  const left = maxBill - cost(price, 0n, bytes);
  const fuel = left < 0n || price.rate === 0n ? 0n : (left * 1000000n) / price.rate;
  if (fuel < 1n) throw new Malformed(`${maxBill} tal do not pay for any work here`);
  return fuel;
}

// === Verifying ===

const decimal = (value) => value.toString().replace(/\B(?=(\d{3})+$)/g, ",");
export const OUTCOMES = ["ok", "exit", "trap", "out_of_fuel", "limit"];

/** The checks of a receipt in the order they are made. `about` what; `why` is for people. */
export const CHECKS = [
  ["receipt", "The receipt is the one the answer named"],
  ["batch", "It lies in the batch that the host signed"],
  ["host", "The signature is that of the host you called"],
  ["run", "It answers the run you sent"],
  ["order", "Function, price and sequence are the run's"],
  ["input", "Its input is what you sent"],
  ["output", "Its output is what you were given"],
  ["bill", "The bill is what fuel and bytes cost"],
];

class Untrue extends Error {}
const ensure = (holds, why) => { if (!holds) throw new Untrue(why); };

/** Checks `papers` (see `Node.papers`) against `answer` (see `Node.call`), which carries what this client computed
 * itself. Yields `{ about, holds, why }` for each of `CHECKS`: one that fails does not end the others. */
export async function* verify(papers, answer) {
  const { order } = answer, held = {};
  const read = (name, type, bytes) => {
    ensure(bytes, `the node gave no ${name}`);
    return decode(type, bytes);
  };
  const steps = {
    receipt: async () => {
      held.receipt = read("receipt", "receipt", papers.receipt);
      const named = (await Cid.of(DOC, papers.receipt)).toString();
      ensure(named === answer.receipt, `these bytes have the id ${named}`);
      const code = held.receipt.outcome[1] ? `(${held.receipt.outcome[1]})` : "";
      const told = answer.outcome.split("(")[0] === OUTCOMES[Number(held.receipt.outcome[0])];
      ensure(told, `the receipt says ${OUTCOMES[Number(held.receipt.outcome[0])]}${code}, the answer ${answer.outcome}`);
      return named;
    },
    batch: async () => {
      const proof = read("proof", "proof", papers.proof);
      held.envelope = proof.batch;
      held.batch = decode("batch", proof.batch.p);
      const { root, count } = held.batch;
      const leads = await leadsTo(root, proof.index, count, papers.receipt, proof.path);
      ensure(leads, "the path does not lead from the receipt to the batch's root");
      return `receipt ${decimal(proof.index + 1n)} of ${decimal(count)} in batch ${decimal(held.batch.num)}`;
    },
    host: async () => {
      ensure(held.envelope, "there is no batch to look at");
      const { document, signer } = await open(held.envelope, "batch");
      ensure(same(signer, document.by), "another key than the batch's host signed it");
      ensure(same(document.by, order.terms.host), `it was signed by ${didOf(document.by)}`);
      ensure(same(document.net, order.terms.network), "the batch is of another network");
      ensure(held.receipt && same(held.receipt.by, document.by) && same(held.receipt.net, document.net),
        "receipt and batch name different hosts or networks");
      return didOf(signer);
    },
    run: async () => {
      const isFree = papers.run instanceof Uint8Array;
      ensure(isFree === !order.sealed, isFree ? "the host shows a free run" : "the host shows a paid run");
      const payload = isFree ? papers.run : order.sealed.p;
      held.run = read("run", "run", payload);
      ensure(isFree || same(papers.run.p, payload), "the host shows another run than the one you signed");
      const named = await Cid.of(DOC, payload);
      ensure(held.receipt && named.equals(held.receipt.run), "the receipt names another run");
      const { pay } = held.receipt;
      ensure(isFree ? !pay && !held.run.pay : pay && same(pay.payer, order.sealed.s[0].k), "payer and run do not agree");
      return isFree ? "a free call: nobody signed, nothing is owed" : `signed by your session's key, sequence ${held.run.pay.seq}`;
    },
    order: async () => {
      ensure(held.receipt && held.run, "there is no run to compare with");
      const { receipt, run } = held;
      ensure(receipt.fn.equals(order.fn.id), `the receipt is about ${receipt.fn}`);
      for (const name of ["fn", "in", "prof"]) ensure(receipt[name].equals(run[name]), `\`${name}\` is not the run's`);
      ensure(same(receipt.net, run.net) && receipt.inn === run.inn, "`net` or `inn` is not the run's");
      for (const name of ["call", "rate", "kib"]) {
        ensure(receipt.price[name] === run.price[name], `the price \`${name}\` is not the run's`);
      }
      if (run.pay) {
        const agrees = receipt.pay && receipt.pay.seq === run.pay.seq && same(receipt.pay.chan, run.pay.chan);
        ensure(agrees, "channel or sequence is not the run's");
      }
      return receipt.fn.toString();
    },
    input: async () => {
      ensure(held.receipt, "there is no receipt to look at");
      const named = await Cid.of(DOC, order.input);
      ensure(named.equals(held.receipt.in), `you sent ${named}, the receipt names ${held.receipt.in}`);
      const input = decode("input", order.input);
      ensure((await Cid.of(RAW, order.given)).equals(input.body), "the body has changed since it was sent");
      ensure(held.receipt.inn === BigInt(order.given.length), `the receipt counts ${held.receipt.inn} bytes`);
      return `${decimal(held.receipt.inn)} bytes of body, ${named}`;
    },
    output: async () => {
      ensure(held.receipt, "there is no receipt to look at");
      const output = read("output", "output", papers.output);
      const named = await Cid.of(DOC, papers.output);
      ensure(named.equals(held.receipt.out), "the output document is not the receipt's");
      ensure(output.len === held.receipt.outn, "document and receipt count different lengths");
      const [kind] = held.receipt.outcome;
      const isGuests = kind === 0n || (kind === 1n && (output.len > 0n || output.headers.length > 0));
      // Otherwise the node's own words came as the answer, and the run's output is empty.
      const body = isGuests ? answer.body : new Uint8Array();
      if (isGuests) ensure(answer.status === Number(output.status), `status ${output.status} was billed`);
      const came = await Cid.of(RAW, body);
      const packed = output.headers.find(([name]) => name === "content-encoding");
      ensure(!packed, `the browser unpacked the answer (${packed?.[1]}), so its bytes cannot be compared`);
      ensure(came.equals(output.body) && output.len === BigInt(body.length), `${came} came, ${output.body} was billed`);
      return `${decimal(output.len)} bytes, ${came}`;
    },
    bill: async () => {
      ensure(held.receipt && held.run, "there is no receipt or no run to compute from");
      const { receipt, run } = held, bytes = receipt.inn + receipt.outn;
      const cap = run.pay?.cap ?? 0n, due = bill(receipt.price, receipt.fuel, bytes, cap);
      ensure(receipt.fuel === answer.fuel && receipt.bill === answer.bill, "the answer's headers say otherwise");
      ensure(receipt.bill === due, `${decimal(due)} tal are due, not ${decimal(receipt.bill)}`);
      ensure((receipt.pay?.owed ?? due) >= due, "the channel owes less than this bill");
      if (!run.pay) return "0 tal: a free call";
      const { call, rate, kib } = receipt.price;
      return `${call} + ${decimal(receipt.fuel)} fuel \u00d7 ${rate} / 10\u2076 + ${decimal(bytes)} B \u00d7 ${kib} / 1,024 = ` +
        `${decimal(due)} tal`;
    },
  };
  for (const [about] of CHECKS) {
    try {
      yield { about, holds: true, why: await steps[about]() };
    } catch (fault) {
      if (!(fault instanceof Untrue || fault instanceof Malformed)) throw fault;
      yield { about, holds: false, why: fault.message };
    }
  }
}

/** A `.talea` file of a call: all that `talea receipt verify --rerun` needs. */
export function bundle(papers, answer, module) {
  const [kind] = decode("receipt", papers.receipt).outcome;
  return encode("bundle", {
    fn: module, in: answer.order.input, out: papers.output, run: papers.run, proof: decode("proof", papers.proof),
    inbody: answer.order.given, receipt: papers.receipt,
    outbody: kind === 0n && answer.body.length > 0 ? answer.body : undefined,
  });
}
