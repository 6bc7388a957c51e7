// Calls that this browser keeps, with all that it takes to verify them again.
//
// Invariants: at most 20 calls, and none above 64 KiB of text, so that all of them fit into the 5 MiB that
// browsers give to a page; the oldest go first. Absent: secrets.

import { Cid, base64url, unbase64url } from "./talea.js";

const KEPT_MAX = 20, TEXT_LEN_MAX = 64 * 1024;
const LIST = "talea.kept", ONE = "talea.kept.";

// Types that JSON does not have, as an object with one key that no document uses.
const written = (_, value) => {
  if (typeof value === "bigint") return { $number: value.toString() };
  if (value instanceof Uint8Array) return { $bytes: base64url(value) };
  if (value instanceof Cid) return { $cid: value.toString() };
  return value;
};
const read = (_, value) => {
  if (typeof value?.$number === "string") return BigInt(value.$number);
  if (typeof value?.$bytes === "string") return unbase64url(value.$bytes);
  if (typeof value?.$cid === "string") return Cid.parse(value.$cid);
  return value;
};

/** What a list shows of each, newest first. */
export function kept() {
  try { return JSON.parse(localStorage.getItem(LIST)) ?? []; } catch { return []; }
}

/** Keeps a call; false if it is too long. */
export function keep(call) {
  const { answer } = call;
  const text = JSON.stringify(call, written);
  if (text.length > TEXT_LEN_MAX) return false;
  const { receipt, outcome } = answer;
  const entry = {
    receipt, outcome, at: call.at, name: call.name, holds: call.holds, fuel: String(answer.fuel), bill: String(answer.bill),
  };
  const list = [entry, ...kept().filter((other) => other.receipt !== receipt)];
  for (const old of list.splice(KEPT_MAX)) localStorage.removeItem(ONE + old.receipt);
  localStorage.setItem(ONE + receipt, text);
  localStorage.setItem(LIST, JSON.stringify(list));
  return true;
}

export const revived = (receipt) => JSON.parse(localStorage.getItem(ONE + receipt), read);

export function forget(receipt) {
  localStorage.removeItem(ONE + receipt);
  localStorage.setItem(LIST, JSON.stringify(kept().filter((entry) => entry.receipt !== receipt)));
}
