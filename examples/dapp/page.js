// The dApp's page: a form, an answer, and a checklist of what this browser verified itself.
//
// Invariants: what a guest answered is shown as text, as an image, or in a frame without any right; nothing is
// loaded from elsewhere; what is kept is bounded. Absent: belief: every figure shown comes from the checks of
// `talea.js` or is marked as false by them.

import {
  CHECKS, Malformed, Node, Refusal, Unsupported, bundle, decode, didOf, encode, ensureSupported, hex, verify,
} from "./talea.js";
import { Cheated, Unfunded, Wallet } from "./money.js";
import { forget, kept, keep, revived } from "./kept.js";
import { cut, draw } from "./stick.js";

const at = (id) => document.getElementById(id);
const say = (id, text) => { at(id).textContent = text; };
const made = (tag, text, className) => {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
};
const short = (id) => (id.length > 22 ? `${id.slice(0, 10)}\u2026${id.slice(-6)}` : id);
const grouped = (value) => new Intl.NumberFormat("en").format(value);
const bytesOf = (text) => new TextEncoder().encode(text);

/** What fits the functions among the examples, found by the last part of their names. */
const SAMPLES = {
  montecarlo: { target: "/?spot=100&strike=105&rate=0.03&volatility=0.2&years=1&paths=200000" },
  markdown: {
    target: "/?page=1", kind: "text/markdown",
    body: "# A tally\n\nCut across, then split in two: *either half proves the bill*.\n\n| notch | worth |\n|---|---:|\n| thumb | 100 |\n| finger | 20 |\n",
  },
  jsonquery: {
    target: "/?filter=map(.tons)%7Cadd", kind: "application/json",
    body: '[{"berth": 1, "tons": 120}, {"berth": 3, "tons": 45}]',
  },
  csvstats: { target: "/?column=tons", kind: "text/csv", body: "ship,tons\nAurora,120\nBora,45\nCirrus,310\n" },
  wordcount: { target: "/", kind: "text/plain", body: "a stick, a notch, a notch more\nand a stick split in two\n" },
  "wordcount-c": { target: "/", kind: "text/plain", body: "a stick, a notch, a notch more\nand a stick split in two\n" },
  thumbnail: { target: "/?size=160", kind: "image/png", body: "" },
};

const now = { node: null, terms: null, functions: [], wallet: null, shown: null };

// === Connecting ===

async function connect() {
  fault(null);
  at("state").className = "state"; say("state", "asking");
  try {
    const node = new Node(at("address").value);
    const terms = await node.terms();
    Object.assign(now, { node, terms, functions: await node.functions() });
  } catch (broken) {
    at("state").className = "state down"; say("state", "not connected");
    at("call").disabled = true;
    return fault(unreachable(broken));
  }
  localStorage.setItem("talea.address", now.node.address);
  at("address").value = now.node.address;
  at("state").className = "state up"; say("state", `talea ${now.terms.version}, ${short(hostOf())}`);
  at("state").title = hostOf();
  const { call, rate, kib } = now.terms.price;
  say("price", `${grouped(call)} tal a call, ${grouped(rate)} per million fuel, ${grouped(kib)} per KiB`);
  list();
  at("call").disabled = false;
  await account();
}

const hostOf = () => didOf(now.terms.host);

function list() {
  const select = at("known"), options = now.functions.map((fn) => {
    const option = made("option", fn.name ?? short(String(fn.id)));
    option.value = fn.name ?? String(fn.id);
    return option;
  });
  const none = made("option", options.length > 0 ? "choose one" : "the node has none yet");
  none.value = "";
  const last = localStorage.getItem("talea.function");
  select.replaceChildren(none, ...options);
  select.disabled = options.length === 0;
  if (options.some((option) => option.value === last)) { select.value = last; choose(); }
}

function choose() {
  const name = at("known").value, sample = SAMPLES[name.split("/").pop()];
  if (name) at("named").value = name;
  if (!sample) return;
  at("path").value = sample.target;
  at("method").value = sample.body === undefined ? "GET" : "POST";
  at("body").value = sample.body ?? "";
  at("kind").value = sample.kind ?? "text/plain";
  dropFile();
  methodChosen();
}

const methodChosen = () => { at("body-field").hidden = at("method").value === "GET"; };
function dropFile() { at("file").value = ""; fileChosen(); }
function fileChosen() {
  const file = at("file").files[0];
  at("body").disabled = Boolean(file);
  at("no-file").hidden = !file;
  say("file-name", file ? `${file.name}, ${grouped(file.size)} bytes` : "or a file");
  if (file?.type) at("kind").value = file.type;
}

function unreachable(broken) {
  if (!(broken instanceof TypeError) || broken.message.includes("URL")) return words(broken);
  return `Nothing answers at ${at("address").value}, or it does not let this page read its answer. Start a node ` +
    "there with `talea node --data ./data`, or name another.";
}

function words(broken) {
  if (broken instanceof Refusal) {
    const advice = {
      payment_required: " Choose to pay for the call.",
      escrow_low: " Put more into the channel, or pay at most less.",
      voucher_required: " A receipt that does not hold was not paid for; the host waits for that.",
      function_unknown: " Deploy it there first: talea deploy FILE.wasm",
    }[broken.code];
    return `${broken.message} (${broken.code}).${advice ?? ""}`;
  }
  if (broken instanceof Unfunded) {
    at("key-details").open = true;
    say("fund", `talea ledger transfer ${broken.key} ${broken.lacks}`);
    return `${broken.message} From a wallet that has it: talea ledger transfer ${broken.key} ${broken.lacks}`;
  }
  if (broken instanceof Cheated) return broken.message;
  if (broken instanceof Malformed || broken instanceof Unsupported) return broken.message;
  console.error(broken);
  return `${broken.name}: ${broken.message}`;
}

function fault(text) {
  at("fault").hidden = !text;
  say("fault", text ?? "");
}

// === Calling ===

async function call() {
  fault(null);
  at("call").disabled = true; say("call", "Calling\u2026");
  try {
    const named = at("named").value.trim();
    if (!named) throw new Malformed("Choose a function, or paste its hash.");
    const fn = await now.node.function(named);
    const asked = { fn, terms: now.terms, method: at("method").value, ...target(), ...await sent() };
    let payer = null;
    if (new FormData(at("order")).get("pay") === "paid") {
      payer = await spender();
      Object.assign(asked, { payer, maxBill: BigInt(at("most").value || 0) });
      say("call", "Calling\u2026");
    }
    const began = performance.now();
    const answer = await now.node.call(asked);
    const took = performance.now() - began;
    localStorage.setItem("talea.function", named);
    const papers = await now.node.papers(answer.receipt);
    const shown = { answer, papers, took, name: fn.name ?? short(String(fn.id)), at: Date.now(), from: now.node.address };
    const holds = await show(shown, true);
    if (payer) await paid(payer, papers, holds);
  } catch (broken) {
    fault(broken instanceof TypeError ? unreachable(broken) : words(broken));
  } finally {
    at("call").disabled = false; say("call", "Call");
  }
}

/** The session that signs. The wallet is asked for a channel and for the session only where there is none. */
async function spender() {
  say("call", await now.wallet.known(now.terms) ? "Calling\u2026" : "Opening a channel\u2026");
  const payer = await now.wallet.session(now.node, now.terms);
  await account();
  return payer;
}

/** Promises the host what a receipt that holds says, and nothing for one that does not. */
async function paid(payer, papers, holds) {
  if (!holds) {
    return fault("The receipt does not hold, so nothing was promised to the host.");
  }
  try {
    await payer.count(papers);
  } catch (broken) {
    if (broken instanceof Cheated) await now.node.accuse(broken.first, broken.second);
    throw broken;
  }
  await payer.vouch(now.node);
  await account();
}

/** What the channel to this host holds and owes: the ledger's word, the host's, and what was counted here. */
async function account() {
  const kept = now.wallet && now.terms ? await now.wallet.known(now.terms) : undefined;
  for (const id of ["close", "more", "revoke"]) at(id).disabled = !kept;
  at("revoke").disabled = !kept?.session;
  at("channel").dataset.state = kept ? "open" : "none";
  if (!kept) {
    for (const id of ["escrow", "owed", "promised", "session"]) say(id, "\u2013");
    return say("channel-id", "None to this host yet. The first paid call opens one.");
  }
  const [live, told] = await Promise.all([
    now.node.channel(kept.chan), now.node.owed(kept.chan, now.wallet.key, now.terms),
  ]);
  say("channel-id", hex(kept.chan));
  say("escrow", live ? grouped(live.escrow) : "\u2013");
  say("owed", told ? grouped(told.owed) : "0");
  say("promised", grouped(kept.vouched));
  const until = kept.session && new Date(Number(kept.session.expires / 1000000n));
  say("session", until ? `up to ${grouped(kept.session.total)} tal until ${until.toLocaleString([], { dateStyle: "short", timeStyle: "short" })}` : "ended");
}

function target() {
  const text = at("path").value.trim(), mark = text.indexOf("?");
  const path = mark < 0 ? text : text.slice(0, mark);
  return { path: path && !path.startsWith("/") ? `/${path}` : path, query: mark < 0 ? "" : text.slice(mark + 1) };
}

async function sent() {
  if (at("method").value === "GET") return {};
  const file = at("file").files[0];
  const body = file ? new Uint8Array(await file.arrayBuffer()) : bytesOf(at("body").value);
  const kind = at("kind").value.trim();
  return { body, headers: kind ? { "content-type": kind } : {} };
}

// === Showing ===

async function show(call, isNew) {
  now.shown = call;
  const { answer } = call;
  at("facts").hidden = false;
  say("status", call.answer.outcome === "ok" ? String(answer.status) : answer.outcome);
  say("fuel", grouped(answer.fuel));
  say("bill", grouped(answer.bill));
  say("took", call.took === undefined ? "\u2013" : `${call.took < 10 ? call.took.toFixed(1) : Math.round(call.took)} ms`);
  render(answer);
  at("actions").hidden = false; at("restore").hidden = true;
  const holds = await check(call.papers, answer);
  if (!isNew) return holds;
  if (keep({ ...call, holds })) table();
  else say("kept-note", "The last call is too long to be kept here; save it as a file.");
  return holds;
}

/** Runs the checks and shows each as it is made. */
async function check(papers, answer) {
  const rows = CHECKS.map(([, title]) => row(title));
  at("checks").replaceChildren(...rows.map(({ item }) => item));
  at("tally").dataset.state = "checking";
  say("half-host", short(answer.receipt)); at("half-host").title = answer.receipt;
  say("half-mine", "checking\u2026");
  const stick = draw(at("stick"), answer.receipt, CHECKS.length);
  let number = 0, held = 0, own = null;
  for await (const { about, holds, why } of verify(papers, answer)) {
    const { item, mark, reason } = rows[number];
    item.className = holds ? "good" : "bad";
    mark.textContent = holds ? "\u2713" : "\u00d7";
    mark.setAttribute("aria-label", holds ? "holds" : "false");
    reason.textContent = why;
    cut(stick, number, holds);
    held += holds ? 1 : 0;
    if (about === "receipt") own = holds ? short(why) : why;
    number += 1;
  }
  const all = held === CHECKS.length;
  at("tally").dataset.state = all ? "holds" : "false";
  say("half-mine", own);
  const failed = CHECKS.length - held;
  say("verdict", all ? `The halves fit: all ${CHECKS.length} checks hold.`
    : `The halves do not fit: ${failed} of ${CHECKS.length} checks ${failed === 1 ? "fails" : "fail"}.`);
  return all;
}

function row(title) {
  const item = made("li"), mark = made("span", "", "mark"), body = made("div"), reason = made("code");
  mark.setAttribute("role", "img"); mark.setAttribute("aria-label", "not yet checked");
  body.append(made("span", title), reason);
  item.append(mark, body);
  return { item, mark, reason };
}

let picture = null;
function render({ body, type }) {
  if (picture) { URL.revokeObjectURL(picture); picture = null; }
  const kind = type.split(";")[0].trim().toLowerCase(), place = at("answer");
  if (body.length === 0) return place.replaceChildren(made("p", "An empty body.", "empty"));
  if (/^image\/(png|jpeg|gif|webp|avif)$/.test(kind)) {
    picture = URL.createObjectURL(new Blob([body], { type: kind }));
    const image = made("img");
    image.src = picture; image.alt = `${grouped(body.length)} bytes of ${kind}`;
    return place.replaceChildren(image);
  }
  let text;
  try { text = new TextDecoder("utf-8", { fatal: true }).decode(body); } catch {
    const head = Array.from(body.slice(0, 256), (b) => b.toString(16).padStart(2, "0")).join(" ");
    const note = made("p", `${grouped(body.length)} bytes of ${kind || "no type"}; they begin with`, "empty");
    return place.replaceChildren(note, made("pre", head));
  }
  if (kind === "text/html") {
    const frame = made("iframe");
    // Without any right: no script, no form, no origin. The page's own policy keeps it from loading anything.
    frame.setAttribute("sandbox", ""); frame.title = "The answer as a page"; frame.srcdoc = text;
    return place.replaceChildren(frame);
  }
  if (kind === "application/json") {
    try { text = JSON.stringify(JSON.parse(text), null, 2); } catch { /* Shown as it came. */ }
  }
  place.replaceChildren(made("pre", text.slice(0, 20000) + (text.length > 20000 ? "\n\u2026" : "")));
}

// === Altering ===

const flipped = (bytes) => {
  const other = bytes.slice(), place = Math.floor(Math.random() * other.length);
  other[place] ^= 1 << Math.floor(Math.random() * 8);
  return other;
};

/** The call with one bit of one byte changed where the user said. */
function altered({ papers, answer }, part) {
  const { order } = answer;
  switch (part) {
    case "receipt": return [{ ...papers, receipt: flipped(papers.receipt) }, answer];
    case "run":
      return papers.run instanceof Uint8Array
        ? [{ ...papers, run: flipped(papers.run) }, answer]
        : [{ ...papers, run: { ...papers.run, p: flipped(papers.run.p) } }, answer];
    case "price": {
      const receipt = decode("receipt", papers.receipt), { price } = receipt;
      return [{ ...papers, receipt: encode("receipt", { ...receipt, price: { ...price, rate: price.rate + 1n } }) }, answer];
    }
    case "body": return [papers, { ...answer, body: flipped(answer.body.length > 0 ? answer.body : new Uint8Array(1)) }];
    case "sent":
      return [papers, { ...answer, order: order.given.length > 0
        ? { ...order, given: flipped(order.given) } : { ...order, input: flipped(order.input) } }];
    default: {
      const proof = decode("proof", papers.proof), [signed] = proof.batch.s;
      const batch = part === "signature"
        ? { ...proof.batch, s: [{ ...signed, g: flipped(signed.g) }] }
        : { ...proof.batch, p: flipped(proof.batch.p) };
      return [{ ...papers, proof: encode("proof", { ...proof, batch }) }, answer];
    }
  }
}

async function alter() {
  at("restore").hidden = false;
  await check(...altered(now.shown, at("part").value));
}

// === Keeping ===

function table() {
  const list = kept(), body = at("kept").tBodies[0];
  body.replaceChildren();
  for (const entry of list) {
    const line = body.insertRow();
    const cell = (content, className) => {
      const td = line.insertCell();
      if (className) td.className = className;
      td.append(content);
    };
    cell(new Date(entry.at).toLocaleString([], { dateStyle: "short", timeStyle: "short" }));
    cell(entry.name);
    const id = made("code", short(entry.receipt));
    id.title = entry.receipt;
    cell(id);
    cell(made("span", entry.outcome, `pill ${entry.outcome === "ok" ? "good" : ""}`));
    cell(grouped(BigInt(entry.fuel)), "n");
    cell(grouped(BigInt(entry.bill)), "n");
    cell(made("span", entry.holds ? "holds" : "false", `pill ${entry.holds ? "good" : "bad"}`));
    const again = made("button", "Show"), away = made("button", "Forget", "quiet");
    again.addEventListener("click", guarded(async () => {
      await show(revived(entry.receipt), false);
      at("tally").scrollIntoView({ block: "nearest" });
    }));
    away.addEventListener("click", () => { forget(entry.receipt); table(); });
    const both = made("span");
    both.append(again, away);
    cell(both);
  }
  at("kept").hidden = list.length === 0;
  at("kept-note").hidden = list.length > 0;
}

async function save() {
  const { papers, answer, from } = now.shown;
  // With the function's bytes the file is all that a re-run needs; without them it still proves the bill.
  const module = await new Node(from).module(answer.order.fn.id).catch(() => undefined);
  const link = made("a");
  link.href = URL.createObjectURL(new Blob([bundle(papers, answer, module)]));
  link.download = `${answer.receipt}.talea`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// === The page itself ===

function showKey() {
  say("key", now.wallet.key.did);
  say("fund", `talea ledger transfer ${now.wallet.key.did} 2M`);
}

/** A deed of the wallet, with the form held back meanwhile. */
const deed = (button, saying, work) => guarded(async () => {
  fault(null);
  const said = at(button).textContent;
  at(button).disabled = true; at("call").disabled = true; say(button, saying);
  try { await work(); } finally {
    say(button, said);
    at("call").disabled = !now.node;
    await account();
  }
});

const guarded = (work) => async (event) => {
  event?.preventDefault();
  try { await work(); } catch (broken) { fault(words(broken)); }
};

async function start() {
  draw(at("stick"), null, CHECKS.length);
  at("checks").replaceChildren(...CHECKS.map(([, title]) => row(title).item));
  methodChosen();
  table();
  at("connect").addEventListener("click", guarded(connect));
  at("address").addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); guarded(connect)(); }
  });
  at("order").addEventListener("submit", guarded(() => (now.node ? call() : connect())));
  at("body").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("order").requestSubmit();
  });
  at("known").addEventListener("change", choose);
  at("named").addEventListener("input", () => { at("known").value = ""; });
  at("method").addEventListener("change", methodChosen);
  at("file").addEventListener("change", fileChosen);
  at("no-file").addEventListener("click", dropFile);
  at("alter").addEventListener("click", guarded(alter));
  at("restore").addEventListener("click", guarded(async () => {
    at("restore").hidden = true;
    await check(now.shown.papers, now.shown.answer);
  }));
  at("save").addEventListener("click", guarded(save));
  at("copy").addEventListener("click", guarded(() => navigator.clipboard.writeText(at("fund").textContent)));
  at("close").addEventListener("click", deed("close", "Closing\u2026", async () => {
    const back = await now.wallet.close(now.node, now.terms);
    say("channel-note", `${grouped(back)} tal are back.`);
  }));
  at("more").addEventListener("click", deed("more", "Asking the wallet\u2026",
    () => now.wallet.topUp(now.node, now.terms, 1000000n)));
  at("revoke").addEventListener("click", deed("revoke", "Asking the wallet\u2026",
    () => now.wallet.revoke(now.node, now.terms)));
  at("renew").addEventListener("click", guarded(async () => {
    if (!confirm("What its open channels hold comes back to the key that is forgotten. Close them first. Go on?")) return;
    now.wallet = await now.wallet.renew();
    showKey();
    await account();
  }));
  await ensureSupported();
  now.wallet = await Wallet.open();
  showKey();
  const asked = new URLSearchParams(location.search).get("node");
  at("address").value = asked ?? localStorage.getItem("talea.address") ?? at("address").value;
  await connect();
}

guarded(start)();
