// The golden and the refused bytes of tests/conformance/documents, read by the browser's client.
//
// `load(name)` gives a file's text; `report(name, holds, detail)` takes each finding.

import {
  Cid, DOC, Malformed, bill, decode, didOf, encode, hex, keyOf, leadsTo, leaf, mediaType, node, open, same, signatureHolds,
  unhex,
} from "../../../examples/dapp/documents.js";

const bytesOf = (text) => unhex(text.replace(/\s/g, ""));
const linesOf = (text) => text.split("\n").filter((line) => line && !line.startsWith("#"));
const typeOf = (name) => name.replace(".hex", "").split("-")[0];
// A browser's client makes and checks calls and its wallet's orders; the rest is for the verifier in Python.
const OTHERS = /^(params|block|evidence|record|vote|commit|equivocation|offer|draw|transaction-(function|name|grant|revoke\.|offer|redeem|challenge|answer|stake|unstake|anchor|deposit))(-|\.)?/;
const cut = (line, parts) => {
  const words = line.split(" ");
  return [...words.slice(0, parts - 1), words.slice(parts - 1).join(" ")];
};
/** Whether this is refused, and by a check of ours, not by an accident. */
async function isRefused(attempt) {
  try { await attempt(); } catch (fault) {
    if (!(fault instanceof Malformed)) throw fault;
    return true;
  }
  return false;
}

async function golden(load, report) {
  for (const line of linesOf(await load("index.txt"))) {
    const [name, cid, type] = cut(line, 3);
    if (OTHERS.test(name)) continue;
    const bytes = bytesOf(await load(name));
    const document = decode(typeOf(name), bytes);
    report("encodes to itself", same(encode(typeOf(name), document), bytes), name);
    if (cid === "-") {
      const { document: run, signer } = await open(document, "run");
      report("an envelope opens", run.pay.seq > 0n && keyOf(didOf(signer)).length === 34, name);
      const other = { ...document, p: document.p.with(20, document.p[20] ^ 1) };
      report("another payload is refused", await isRefused(() => open(other, "run")), name);
      continue;
    }
    const found = (await Cid.of(DOC, bytes)).toString();
    report("has its CID", found === cid && Cid.parse(cid).toString() === cid, `${name}: ${found}`);
    report("has its media type", mediaType(typeOf(name)) === type, name);
  }
}

async function refused(load, report) {
  for (const line of linesOf(await load("bad.txt"))) {
    const [name, bytes, why] = cut(line, 3);
    if (OTHERS.test(name)) continue;
    report("is refused", await isRefused(() => decode(typeOf(name), unhex(bytes))), `${name}: ${why}`);
  }
}

async function trees(load, report) {
  for (const line of linesOf(await load("trees.txt"))) {
    const [count, root] = [Number(line.split(" ")[0]), unhex(line.split(" ")[1])];
    const payloads = Array.from({ length: count }, (_, at) => new TextEncoder().encode(String(at)));
    const levels = [await Promise.all(payloads.map(leaf))];
    while (levels.at(-1).length > 1) {
      const below = levels.at(-1), pairs = [];
      for (let at = 0; at + 1 < below.length; at += 2) pairs.push(await node(below[at], below[at + 1]));
      levels.push(below.length % 2 ? [...pairs, below.at(-1)] : pairs);
    }
    report("is the root", hex(levels.at(-1)[0]) === hex(root), `${count} leaves`);
    // All paths of small trees, the edges of large ones.
    const some = count <= 40 ? payloads.keys() : [0, 1, count >> 1, count - 2, count - 1];
    for (const index of some) {
      const path = levels.slice(0, -1).map((level, height) => level[(index >> height) ^ 1]).filter(Boolean);
      const leads = (...asked) => leadsTo(root, ...asked);
      report("leads to the root", await leads(index, count, payloads[index], path), `${index} of ${count}`);
      const strays = await Promise.all([
        leads(index, count, payloads[index], [...path, root]), leads(index, count, root, path),
        leads(index + 1, count, payloads[index], path), path.length > 0 && leads(index, count, payloads[index], path.slice(1)),
      ]);
      report("does not lead there", !strays.includes(true), `${index} of ${count}: ${strays}`);
    }
  }
}

async function bills(load, report) {
  for (const line of linesOf(await load("bills.txt"))) {
    const [kib, call, rate, fuel, bytes, cap, due] = line.split(" ").map(BigInt);
    report("a bill", bill({ kib, call, rate }, fuel, bytes, cap) === due, line);
  }
}

async function signatures(load, report) {
  for (const line of linesOf(await load("signatures.txt"))) {
    const [verdict, key, message, signature, why] = cut(line, 5);
    const bytes = message === "-" ? new Uint8Array() : unhex(message);
    const holds = await signatureHolds(unhex(key), bytes, unhex(signature));
    report("a signature", holds === (verdict === "holds"), why);
  }
  for (const line of linesOf(await load("keys-refused.txt"))) {
    const [key, why] = cut(line, 2), tagged = unhex("ed01" + key);
    const notDecoded = await isRefused(() => keyOf(didOf(tagged)));
    // That a key is no point shows at its first signature.
    const unused = !await signatureHolds(unhex(key), new Uint8Array(), new Uint8Array(64));
    report("a key is refused", unused && notDecoded !== why.startsWith("not a point"), why);
  }
}

export async function vectors(load, report) {
  for (const part of [golden, refused, trees, bills, signatures]) await part(load, report);
}
