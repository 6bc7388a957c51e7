// The browser's client against a real node of another origin: the golden vectors, calls free and paid, what is
// refused, what an altered byte does, CORS, and then the dApp's own page, clicked by script.
//
// The driver (run.py) serves this page, starts the node when asked, and takes what is reported.

import {
  Malformed, Node, Refusal, Wallet, bundle, decode, encode, ensureSupported, same, verify,
} from "../../../examples/dapp/talea.js";
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
  const asked = { fn, terms, method: "POST", path: "/", body: TEXT, args: ["2"], headers: { "content-type": "text/plain" } };
  const whole = async (what, answer) => {
    const papers = await node.papers(answer.receipt), found = await falseOf(papers, answer);
    report(what, found.length === 0, found.join("; "));
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

  const paid = await node.call({ ...asked, wallet });
  report("a paid call is billed", paid.bill > 0n, String(paid.bill));
  const papers = await whole("a paid call's receipt holds", paid);
  const at = await Promise.all(Array.from({ length: 6 }, () => node.call({ ...asked, wallet })));
  for (const answer of at) await whole("calls at once hold, each for itself", answer);
  report("each has its own sequence", new Set(at.map(({ order }) => decode("run", order.sealed.p).pay.seq)).size === 6);
  const again = await node.ask(paid.order.target, { method: "POST", headers: paid.order.headers, body: paid.order.body });
  report("the same run again has the same receipt", again.headers.get("talea-receipt") === paid.receipt);

  const short = await node.call({ ...asked, wallet, fuel: 2000n });
  report("fuel that runs out is an answer", short.outcome === "out_of_fuel" && short.fuel === 2000n, short.outcome);
  await whole("the receipt of a run without fuel holds", short);
  const cheap = await node.call({ ...asked, wallet, output: 1024n, maxBill: 40n });
  report("a bill stays below what was said", cheap.bill <= 40n, String(cheap.bill));
  await whole("the receipt of a capped run holds", cheap);

  await altered(papers, paid, asked);
  await refused(node, asked);
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

async function refused(node, asked) {
  const stranger = await Wallet.open("stranger");
  const unknown = await refusal(() => node.call({ ...asked, wallet: stranger }));
  report("an unknown payer is refused with its code", unknown instanceof Refusal && unknown.code === "payer_unknown", String(unknown?.code));
  const absent = await refusal(() => node.function(`sha256:${"0".repeat(64)}`));
  report("an unknown function is refused with its code", absent?.status === 404 && absent.code === "function_unknown", String(absent?.code));
  const poor = await refusal(() => node.call({ ...asked, wallet: stranger, maxBill: 1n }));
  report("what pays for nothing is not even signed", poor instanceof Malformed, String(poor));
  const outside = await refusal(() => node.call({ ...asked, path: "/../../receipts" }));
  report("a path does not lead out of its function", outside instanceof Malformed, String(outside));
}

async function origins(node) {
  report("the page is of another origin", location.origin !== node.address);
  const answer = await fetch(`${node.address}/.well-known/talea/info`);
  report("the host's terms may be read", answer.type === "cors" && answer.ok);
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

async function all() {
  await ensureSupported();
  await vectors(async (name) => (await fetch(`/tests/conformance/documents/${name}`)).text(), report);
  const wallet = await Wallet.open();
  report("a wallet opens again with its key", (await Wallet.open()).key.did === wallet.key.did);
  const node = new Node(await (await post("/start", wallet.key.did)).text());
  await calls(node, wallet);
  await origins(node);
  await page(node);
}

try { await all(); } catch (fault) { faults.push(`${fault.name}: ${fault.message}\n${fault.stack}`); }
document.getElementById("said").textContent = JSON.stringify({ counts, faults }, null, 1);
await post("/report", JSON.stringify({ counts, faults }));
