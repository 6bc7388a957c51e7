#!/usr/bin/env python3
"""Runs the verifier over tests/conformance/documents: every golden document, every refused one, trees,
states, bills, signatures and keys; then over bundles, blocks and evidence with one byte altered, none of which may
hold.
"""

import sys
from pathlib import Path

import checks
import ed25519
import ledger
from checks import Contradicted
from documents import DOC, Refused, decode, encode, key, link_of, whole

FOLDER = Path(__file__).resolve().parents[2] / "conformance" / "documents"
faults, done = [], {}


def check(what, holds, detail):
    done[what] = done.get(what, 0) + 1
    if not holds:
        faults.append(f"{what}: {detail}")


def lines(name):
    for line in (FOLDER / name).read_text().splitlines():
        if line and not line.startswith("#"):
            yield line


def golden(name):
    return bytes.fromhex((FOLDER / name).read_text())


def kind_of(name):
    """`receipt-paid` is a receipt, `sealed-run` an envelope; a whole block is a kind of its own."""
    name = name.removesuffix(".hex")
    return name if name == "block-whole" else name.split("-")[0]


NETWORK = ledger.Network(golden("params.hex"))


def documents():
    for line in lines("index.txt"):
        name, cid, media_type = line.split(" ")
        data = golden(name)
        try:
            document = decode(kind_of(name), data)
        except Refused as fault:
            check("documents that decode", False, f"{name}: {fault}")
            continue
        check("documents that decode", True, name)
        check("documents that encode to themselves", encode(whole(data)) == data, name)
        if cid != "-":
            found = str(link_of(DOC, data))
            check("CIDs", found == cid, f"{name}: {found}")
            wanted = f"application/vnd.talea.{kind_of(name)}.v1+dag-cbor"
            check("media types", media_type == wanted, f"{name}: {media_type}")
        if kind_of(name) == "bundle":
            network = decode("receipt", document["receipt"])["net"]
            altered("bundles", name, data, lambda data, network=network: checks.check_bundle(data, network))
            foreign(lambda: checks.check_bundle(data, bytes(32)), name)
        elif kind_of(name) in ("block-whole", "evidence"):
            altered("blocks and evidence", name, data, lambda data: ledger.check_any(data, NETWORK))
            foreign(lambda: ledger.check_any(data, ledger.Network(golden("params-least.hex"))), name)
        elif kind_of(name) == "sealed":
            checks.opened(document, name.removesuffix(".hex").split("-")[1])
            check("envelopes", True, name)


def holds(attempt):
    try:
        attempt()
        return None
    except (Refused, Contradicted) as fault:
        return fault


def altered(what, name, data, verify):
    fault = holds(lambda: verify(data))
    check(f"{what} that hold", fault is None, f"{name}: {fault}")
    # A step that shares no factor with the lengths of fields; all bytes would take minutes.
    for at in range(0, len(data), 7):
        other = bytearray(data)
        other[at] ^= 1 << at % 8
        fault = holds(lambda: verify(bytes(other)))
        check(f"altered {what} refused", fault is not None, f"{name}: byte {at} altered, and it holds")


def foreign(attempt, name):
    check("foreign networks refused", holds(attempt) is not None, name)


def blocks():
    """What the golden block does not show: a body out of order, and one that lacks a transaction."""
    block = decode("block-whole", golden("block-whole.hex"))
    read = [NETWORK.transaction(envelope) for envelope in block["body"]]
    check("canonical orders", holds(lambda: ledger.ordered(read)) is None, "the golden block's")
    check("other orders refused", holds(lambda: ledger.ordered(read[::-1])) is not None, "the golden block's")
    for body in (block["body"][::-1], block["body"][:1], block["body"] * 2, []):
        other = encode({"body": body, "head": block["head"]})
        check("other bodies refused", holds(lambda: ledger.check_block(other, NETWORK)) is not None, len(body))
    first = (read[0][0], bytes(32))
    later = ({**read[0][0], "nonce": 1}, bytes([0] * 31 + [1]))
    check("canonical orders", holds(lambda: ledger.ordered([first, later])) is None, "nonces")
    check("other orders refused", holds(lambda: ledger.ordered([later, first])) is not None, "nonces")
    opens = ({**read[1][0], "act": {"open": {}}}, b"\xff" * 32)
    channel = ledger.made(*opens)[0]
    closes = ({**read[0][0], "act": {"close": {"chan": channel}}}, bytes(32))
    check("canonical orders", holds(lambda: ledger.ordered([opens, closes])) is None, "a channel's")
    check("other orders refused", holds(lambda: ledger.ordered([closes, opens])) is not None, "a channel's")
    builds = ({**read[1][0], "builds": opens[1]}, bytes(32))
    check("canonical orders", holds(lambda: ledger.ordered([opens, builds])) is None, "`builds`")
    check("other orders refused", holds(lambda: ledger.ordered([builds, opens])) is not None, "`builds`")


def state():
    *records, last = lines("state.txt")
    leaves = {}
    for line in records:
        name, key_bytes, path = line.split(" ")
        key_bytes = bytes.fromhex(key_bytes)
        ledger.key_of_record(whole(key_bytes))
        check("paths of records", ledger.sha256(key_bytes).hex() == path, name)
        leaves[bytes.fromhex(path)] = ledger.sha256(golden(name))
    root = bytes.fromhex(last.split(" ")[-1])
    check("roots of a state", ledger.state_root(leaves) == root, last)


def draws():
    for line in lines("draws.txt"):
        block, run, loads, two, one = line.split(" ")
        found = checks.drawn(bytes.fromhex(block), bytes.fromhex(run), [int(load) for load in loads.split(",")])
        check("draws", found == (*map(int, two.split(",")), int(one)), line)


def refused():
    for line in lines("bad.txt"):
        name, data, why = line.split(" ", 2)
        try:
            decode(kind_of(name), bytes.fromhex(data))
        except Refused:
            check("bad documents refused", True, why)
        else:
            check("bad documents refused", False, f"{name}: {why}")


def trees():
    for line in lines("trees.txt"):
        count, root = line.split(" ")
        count, root = int(count), bytes.fromhex(root)
        leaves = [str(number).encode() for number in range(count)]
        check("trees", checks.root(leaves) == root, f"{count} leaves")
        # All paths of small trees, the edges of large ones.
        for index in range(count) if count <= 40 else (0, 1, count // 2, count - 2, count - 1):
            leaf = leaves[index]
            path = checks.path(leaves, index)
            leads = checks.leads_to(root, index, count, leaf, path)
            check("paths", leads, f"{index} of {count}")
            wrong = [
                checks.leads_to(root, index, count, leaf, path + [root]),
                checks.leads_to(root, index, count, leaf + b"x", path),
                checks.leads_to(root, index + 1, count, leaf, path),
                bool(path) and checks.leads_to(root, index, count, leaf, path[1:]),
            ]
            check("wrong paths refused", not any(wrong), f"{index} of {count}: {wrong}")


def bills():
    for line in lines("bills.txt"):
        kib, call, rate, fuel, body_bytes, cap, due = map(int, line.split(" "))
        price = {"kib": kib, "call": call, "rate": rate}
        check("bills", checks.bill(price, fuel, body_bytes, cap) == due, line)


def signatures():
    for line in lines("signatures.txt"):
        verdict, public, message, signature, why = line.split(" ", 4)
        message = b"" if message == "-" else bytes.fromhex(message)
        held = ed25519.holds(bytes.fromhex(public), message, bytes.fromhex(signature))
        check("signatures", held == (verdict == "holds"), why)
    for line in lines("keys-refused.txt"):
        public, why = line.split(" ", 1)
        data = bytes.fromhex(public)
        try:
            key(b"\xed\x01" + data)
            # Its point is looked for at its first signature.
            is_refused = ed25519.decoded(data) is None
            check("keys refused", is_refused and why.startswith("not a point"), why)
        except Refused:
            check("keys refused", True, why)


def main():
    for part in (documents, blocks, state, draws, refused, trees, bills, signatures):
        part()
    for what, count in done.items():
        print(f"   {count:>5} {what}")
    for fault in faults:
        print(f"   FAULT {fault}")
    if faults:
        print(f"   {len(faults)} fault(s): the node, DOCUMENTS.md and this verifier do not agree")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
