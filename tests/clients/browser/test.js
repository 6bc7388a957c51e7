// The browser's client against a real node of another origin, which gives nobody credit: the golden vectors, calls free
// and paid over a channel with a session's key, what is refused, what an altered byte does, a host that cheats and signs
// it, CORS, and then the dApp's own page, clicked by script.
//
// The driver (run.py) serves this page, starts the node when asked, and takes what is reported.

import {
  Cid, DOC, Key, Malformed, Node, Refusal, bundle, cost, decode, encode, ensureSupported, hex, leaf, nowNs, same, seal,
  unhex, verify,
} from "../../../examples/dapp/talea.js";
import { Cheated, Session, Wallet } from "../../../examples/dapp/money.js";
import { vectors } from "./vectors.js";

const counts = {}, faults = [];
function report(what, holds, detail = "") {
  counts[what] = (counts[what] ?? 0) + 1;
  if (!holds) faults.push(`${what}: ${detail}`);
}
const post = (path, body) => fetch(path, { method: "POST", body });
const until = async (what, reached) => {
  for (const end = Date.now() + 15000; Date.now() < end; await new Promise((next) => setTimeout(next, 30))) {
    const found = await reached();
    if (found) return found;
  }
  throw new Error(`waited for ${what} in vain`);
};
const refusal = (attempt) => attempt().then(() => null, (fault) => fault);
const falseOf = async (papers, answer) => {
  const found = [];
  for await (const { about, holds, why } of verify(papers, answer)) if (!holds) found.push(`${about} (${why})`);
  return found;
};
const flip = (bytes, at = bytes.length >> 1) => bytes.with(at, bytes[at] ^ 4);

const TEXT = new TextEncoder().encode("one two two\nthree three three\n");

async function calls(node, wallet) {
  const terms = await node.terms(), fn = await node.function("demo/wordcount-c");
  const payer = await wallet.session(node, terms, { escrow: 3000000n });
  const opened = await node.channel(payer.channel);
  report("a channel is open and final", opened.escrow === 3000000n && opened.covered === 3000000n && !opened.closing);
  const session = decode("session", decode("sealed", payer.grant).p);
  report("the wallet grants, another key signs", same(session.payer, wallet.key.bytes) && !same(session.key, wallet.key.bytes)
    && same(session.hosts[0], terms.host));
  report("the next session is the same one", same((await wallet.session(node, terms)).grant, payer.grant));
  const asked = { fn, terms, method: "POST", path: "/", body: TEXT, args: ["2"], headers: { "content-type": "text/plain" } };
  const whole = async (what, answer) => {
    const papers = await node.papers(answer.receipt), found = await falseOf(papers, answer);
    report(what, found.length === 0, found.join("; "));
    if (answer.order.sealed && found.length === 0) await payer.count(papers);
    return papers;
  };

  const listed = await node.functions();
  report("the node lists its functions", listed.some((one) => one.id.equals(fn.id)));
  report("a function's bytes are its id's", (await node.module(fn.id)).length === fn.size);

  const free = await node.call(asked);
  report("a free call answers", new TextDecoder().decode(free.body).startsWith("2 lines, 6 words, 30 bytes"));
  report("a free call is free", free.bill === 0n && free.fuel > 0n);
  await whole("a free call's receipt holds", free);
  const queried = await node.call({ ...asked, path: "/a b/\u00fc", query: "x=1&y=\u00e9 '\"|", args: ["a b", "\u00fc"] });
  await whole("odd paths, queries and arguments are signed as they are sent", queried);

  const paid = await node.call({ ...asked, payer });
  report("a paid call is billed", paid.bill > 0n, String(paid.bill));
  const papers = await whole("a paid call's receipt holds", paid);
  const at = await Promise.all(Array.from({ length: 6 }, () => node.call({ ...asked, payer })));
  for (const answer of at) await whole("calls at once hold, each for itself", answer);
  report("each has its own sequence", new Set(at.map(({ order }) => decode("run", order.sealed.p).pay.seq)).size === 6);
  const again = await node.ask(paid.order.target, { method: "POST", headers: paid.order.headers, body: paid.order.body });
  report("the same run again has the same receipt", again.headers.get("talea-receipt") === paid.receipt);

  const short = await node.call({ ...asked, payer, fuel: 2000n });
  report("fuel that runs out is an answer", short.outcome === "out_of_fuel" && short.fuel === 2000n, short.outcome);
  await whole("the receipt of a run without fuel holds", short);
  const cheap = await node.call({ ...asked, payer, output: 1024n, maxBill: 40n });
  report("a bill stays below what was said", cheap.bill <= 40n, String(cheap.bill));
  await whole("the receipt of a capped run holds", cheap);

  await altered(papers, paid);
  await cheated(node, payer, papers, paid);
  await vouchers(node, wallet, payer);
  await refused(node, wallet, { ...asked, payer });
  const file = bundle(papers, paid, await node.module(fn.id));
  report("a file encodes to itself", same(encode("bundle", decode("bundle", file)), file));
  report("the file holds elsewhere too", await (await post("/bundle", file)).text() === "match");
}

/** Each lie, and the check that must find it. */
async function altered(papers, answer) {
  const proof = decode("proof", papers.proof), [signed] = proof.batch.s;
  const { order } = answer, resealed = (batch) => encode("proof", { ...proof, batch: { ...proof.batch, ...batch } });
  const receipt = (change) => ({ ...papers, receipt: encode("receipt", { ...decode("receipt", papers.receipt), ...change }) });
  const lies = [
    ["receipt", { ...papers, receipt: flip(papers.receipt) }, answer],
    ["receipt", papers, { ...answer, receipt: answer.order.fn.id.toString() }],
    ["receipt", papers, { ...answer, outcome: "trap(unreachable)" }],
    ["batch", { ...papers, proof: encode("proof", { ...proof, path: [...proof.path, new Uint8Array(32)] }) }, answer],
    ["host", { ...papers, proof: resealed({ s: [{ ...signed, g: flip(signed.g) }] }) }, answer],
    ["host", { ...papers, proof: resealed({ p: flip(proof.batch.p, 12) }) }, answer],
    ["host", papers, { ...answer, order: { ...order, terms: { ...order.terms, host: order.sealed.s[0].k } } }],
    ["host", papers, { ...answer, order: { ...order, terms: { ...order.terms, network: new Uint8Array(32) } } }],
    ["run", { ...papers, run: { ...papers.run, p: flip(papers.run.p) } }, answer],
    ["run", { ...papers, run: papers.run.p }, answer],
    ["order", receipt({ inn: 31n }), answer],
    ["order", receipt({ price: { ...order.terms.price, rate: order.terms.price.rate + 1n } }), answer],
    ["order", papers, { ...answer, order: { ...order, fn: { ...order.fn, id: decode("run", papers.run.p).prof } } }],
    ["input", papers, { ...answer, order: { ...order, given: flip(order.given) } }],
    ["input", papers, { ...answer, order: { ...order, input: flip(order.input) } }],
    ["output", papers, { ...answer, body: flip(answer.body) }],
    ["output", papers, { ...answer, status: 201 }],
    ["output", { ...papers, output: flip(papers.output) }, answer],
    ["bill", papers, { ...answer, bill: answer.bill + 1n }],
    ["bill", receipt({ bill: answer.bill + 1n }), { ...answer, bill: answer.bill + 1n }],
    ["bill", receipt({ fuel: answer.fuel + 1000000n }), { ...answer, fuel: answer.fuel + 1000000n }],
  ];
  for (const [about, papersNow, answerNow] of lies) {
    const found = await falseOf(papersNow, answerNow);
    report("a lie is found by its check", found.some((one) => one.startsWith(about)), `${about}: ${found.join("; ")}`);
  }
}

/** A host that lies and signs it: only what this client computes itself can find that. */
async function cheated(node, payer, papers, answer) {
  const host = await Key.of(unhex(await (await post("/host-key", "")).text()));
  report("the test has the host's own key", same(host.bytes, answer.order.terms.host));
  const signed = async (change) => {
    const receipt = { ...decode("receipt", papers.receipt), ...change }, payload = encode("receipt", receipt);
    const { batch } = decode("proof", papers.proof);
    const head = encode("batch", { ...decode("batch", batch.p), root: await leaf(payload), count: 1n });
    const proof = encode("proof", { path: [], batch: await seal(host, "batch", head), index: 0n });
    const named = (await Cid.of(DOC, payload)).toString();
    return [{ ...papers, receipt: payload, proof }, { ...answer, receipt: named, bill: receipt.bill, fuel: receipt.fuel }];
  };
  const { price, fuel, inn, outn, bill } = decode("receipt", papers.receipt);
  const dear = { ...price, rate: price.rate + 1000000n };
  for (const [what, about, change] of [
    ["a wrong price is found, though signed", "order", { price: dear, bill: cost(dear, fuel, inn + outn) }],
    ["a wrong bill is found, though signed", "bill", { bill: bill + 1n }],
    ["fuel that was not used is found, though signed", "bill", { fuel: fuel + 10000000n }],
    ["another output is found, though signed", "output", { outn: outn + 1n }],
  ]) {
    const found = await falseOf(...await signed(change));
    report(what, found.length > 0 && found[0].startsWith(about), found.join("; "));
  }
  const [second, again] = await signed({ at: decode("receipt", papers.receipt).at + 1n });
  report("a second receipt holds by itself", (await falseOf(second, again)).length === 0);
  const fault = await refusal(() => payer.count(second));
  report("two receipts for one sequence are found", fault instanceof Cheated, String(fault));
  const kept = await node.accuse(fault.first, fault.second);
  report("the node keeps the proof and says what it does", kept.kind === "sequence" && kept.report === "no" && kept.why === "own",
    JSON.stringify(kept));
  const nothing = await refusal(() => node.accuse(fault.first, fault.first));
  report("what proves nothing is refused", nothing?.code === "fraud_unproven", String(nothing?.code));
}

async function vouchers(node, wallet, payer) {
  const unsigned = await refusal(() => node.json(`/vouchers/${hex(payer.channel)}`));
  report("what a channel owes is told to its payer alone", unsigned?.code === "signature_missing", String(unsigned?.code));
  const before = await node.owed(payer.channel, wallet.key, payer.terms);
  report("what is owed is not promised yet", before.owed > 0n && before.vouched === 0n, JSON.stringify(before, (_, it) => String(it)));
  const promised = await payer.vouch(node);
  const after = await node.owed(payer.channel, wallet.key, payer.terms);
  report("a voucher promises what was counted", promised === before.owed && after.vouched === before.owed, String(promised));
  report("the same promise again changes nothing", await payer.vouch(node) === promised);
  for (const [owed, upto, code] of [
    [promised - 1n, after.settled, "voucher_backwards"], [promised + 1n, after.settled, "voucher_ahead"],
    [promised, after.settled + 1n, "voucher_settles"],
  ]) {
    const fault = await refusal(async () => node.vouch(await payer.voucher(owed, upto), payer.grant));
    report("a wrong voucher is refused with its code", fault instanceof Refusal && fault.code === code, `${code}: ${fault?.code}`);
  }
}

async function refused(node, wallet, asked) {
  const { payer, terms } = asked;
  const like = (change) => Object.assign(Object.create(Session.prototype), payer, change);
  const granted = async (total, expires) => new Session(wallet, terms, {
    chan: payer.channel, session: await wallet.grant(terms, total, expires),
  });
  const later = payer.expires, stranger = await Key.generate();
  for (const [code, other] of [
    ["channel_unknown", like({ channel: new Uint8Array(32) })],
    ["payer_foreign", like({ key: stranger, grant: (await new Wallet(wallet.database, stranger).grant(terms, 1n, later)).grant })],
    ["session_scope", like({ key: stranger })],
    ["session_scope", await granted(1000000n, nowNs() + 1000000000n)],
    ["session_spent", await granted(5n, later)],
  ]) {
    const fault = await refusal(() => node.call({ ...asked, payer: other }));
    report("a run that is not covered is refused with its code", fault instanceof Refusal && fault.code === code, `${code}: ${fault?.code} ${fault}`);
  }
  const absent = await refusal(() => node.function(`sha256:${"0".repeat(64)}`));
  report("an unknown function is refused with its code", absent?.status === 404 && absent.code === "function_unknown", String(absent?.code));
  const poor = await refusal(() => node.call({ ...asked, maxBill: 1n }));
  report("what pays for nothing is not even signed", poor instanceof Malformed, String(poor));
  const outside = await refusal(() => node.call({ ...asked, path: "/../../receipts" }));
  report("a path does not lead out of its function", outside instanceof Malformed, String(outside));
  // The wallet ends the session: its key is served no more, and the next one is.
  await wallet.revoke(node, terms);
  const ended = await refusal(() => node.call(asked));
  report("a revoked session is refused with its code", ended?.code === "session_revoked", String(ended?.code));
  const next = await wallet.session(node, terms);
  report("a new session is over the same channel", same(next.channel, payer.channel) && !same(next.grant, payer.grant));
  const answer = await node.call({ ...asked, payer: next });
  await next.count(await node.papers(answer.receipt));
  report("it pays", await next.vouch(node) === (await node.owed(next.channel, wallet.key, terms)).owed);
}

async function origins(node) {
  report("the page is of another origin", location.origin !== node.address);
  const answer = await fetch(`${node.address}/.well-known/talea/info`);
  report("the host's terms may be read", answer.type === "cors" && answer.ok);
  for (const list of ["/receipts", "/receipts?order=newest", `/vouchers/${"00".repeat(32)}`]) {
    const told = await refusal(() => node.json(list));
    const code = list.startsWith("/receipts") ? "signature_missing" : "channel_not_found";
    report("what others were billed may not be listed unsigned", told?.code === code, `${list}: ${told?.code}`);
  }
  const metrics = await refusal(() => fetch(`${node.address}/metrics`));
  report("the operator's figures may not", metrics instanceof TypeError, String(metrics));
  const deploy = await refusal(() => fetch(`${node.address}/functions`, {
    method: "POST", headers: { "content-type": "application/wasm", "talea-registration": "AA" }, body: new Uint8Array(8),
  }));
  report("a page cannot deploy", deploy instanceof TypeError, String(deploy));
}

async function page(node) {
  const frame = document.createElement("iframe");
  frame.width = 360; frame.height = 800;
  frame.src = `/examples/dapp/index.html?node=${encodeURIComponent(node.address)}`;
  document.body.append(frame);
  await new Promise((loaded) => { frame.onload = loaded; });
  const inside = frame.contentDocument, at = (id) => inside.getElementById(id);
  const violations = [];
  inside.addEventListener("securitypolicyviolation", (event) => violations.push(event.blockedURI));
  await until("the connection", () => !at("call").disabled);
  const state = (wanted) => until(`the tally to be ${wanted}: ${at("fault").textContent}`, () => at("tally").dataset.state === wanted);
  const marks = (name) => inside.querySelectorAll(`#checks .${name}`).length;

  for (const who of ["free", "paid"]) {
    at("known").value = "demo/wordcount-c";
    at("known").dispatchEvent(new Event("change"));
    inside.querySelector(`input[value=${who}]`).click();
    at("call").click();
    await until(`the ${who} call: ${at("fault").textContent}`, () => at("call").disabled);
    await until(`its end: ${at("fault").textContent}`, () => !at("call").disabled);
    await state("holds");
    report("the page shows a call that holds", marks("good") === 8 && marks("bad") === 0, `${who}: ${at("fault").textContent}`);
    report("the page shows what it cost", /\d/.test(at("fuel").textContent) && (who === "free") === (at("bill").textContent === "0"));
    for (const { value } of at("part").options) {
      at("part").value = value;
      at("alter").click();
      await state("false");
      report("an altered byte shows as false", marks("bad") > 0 && !at("restore").hidden, value);
      at("restore").click();
      await state("holds");
    }
  }
  report("the page keeps its receipts", at("kept").tBodies[0].rows.length === 2);
  await money(at);
  at("alter").click();
  await state("false");
  at("kept").tBodies[0].rows[0].querySelector("button").click();
  await state("holds");
  report("a kept receipt is verified again", marks("good") === 8);
  const { scrollWidth, clientWidth } = inside.documentElement;
  report("nothing runs out of a narrow page", scrollWidth <= clientWidth, `${scrollWidth} of ${clientWidth}`);
  for (const field of inside.querySelectorAll("input, select, textarea")) {
    report("every field has a name", field.labels.length > 0 || field.hasAttribute("aria-label"), field.id);
  }
  report("the page breaks no policy of its own", violations.length === 0, violations.join(", "));
  at("address").value = "http://127.0.0.1:9";
  at("connect").click();
  await until("the page to say that nobody is there", () => !at("fault").hidden);
  report("the page says what to do without a node", at("fault").textContent.includes("talea node"), at("fault").textContent);
}

/** The page's channel: what it shows, its end of a session, and its end. */
async function money(at) {
  const shown = (id) => at(id).textContent;
  report("the page shows what is locked and owed", /^[\d,]+$/.test(shown("escrow")) && /^[1-9][\d,]*$/.test(shown("owed")));
  report("the page promised what it verified", shown("promised") === shown("owed"), `${shown("promised")} of ${shown("owed")}`);
  report("the page shows the host's price", shown("price").includes("100 per million fuel"), shown("price"));
  at("revoke").click();
  await until(`the session's end: ${shown("fault")}`, () => shown("session") === "ended");
  at("call").click();
  await until(`another session: ${shown("fault")}`, () => shown("session") !== "ended" && !at("call").disabled);
  await until(`its voucher: ${shown("fault")}`, () => shown("promised") === shown("owed"));
  report("a new session pays after the old one's end", at("fault").hidden, shown("fault"));
  at("close").click();
  await until(`the channel's end: ${shown("fault")}`, () => at("channel").dataset.state === "none");
  report("what was not used comes back", /^[\d,]+ tal are back/.test(shown("channel-note")), shown("channel-note"));
}

async function all() {
  await ensureSupported();
  await vectors(async (name) => (await fetch(`/tests/conformance/documents/${name}`)).text(), report);
  const wallet = await Wallet.open();
  report("a wallet opens again with its key", (await Wallet.open()).key.did === wallet.key.did);
  const node = new Node(await (await post("/start", "")).text());
  await calls(node, wallet);
  await origins(node);
  await page(node);
}

try { await all(); } catch (fault) { faults.push(`${fault.name}: ${fault.message}\n${fault.stack}`); }
document.getElementById("said").textContent = JSON.stringify({ counts, faults }, null, 1);
await post("/report", JSON.stringify({ counts, faults }));
