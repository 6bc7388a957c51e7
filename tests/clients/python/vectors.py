#!/usr/bin/env python3
"""Runs the verifier over tests/conformance/documents: every golden document, every refused one, trees,
bills, signatures and keys; then over bundles with one byte altered, none of which may hold.
"""

import sys
from pathlib import Path

import ed25519
import verify
from documents import DOC, Refused, SHAPES, decode, key, link_of

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
    """`receipt-paid` is a receipt, `sealed-run` an envelope."""
    return name.removesuffix(".hex").split("-")[0]


def documents():
    for line in lines("index.txt"):
        name, cid, media_type = line.split(" ")
        if kind_of(name) not in SHAPES: continue
        data = golden(name)
        try:
            document = decode(kind_of(name), data)
        except Refused as fault:
            check("documents that decode", False, f"{name}: {fault}")
            continue
        check("documents that decode", True, name)
        if cid != "-":
            found = str(link_of(DOC, data))
            check("CIDs", found == cid, f"{name}: {found}")
            wanted = f"application/vnd.talea.{kind_of(name)}.v1+dag-cbor"
            check("media types", media_type == wanted, f"{name}: {media_type}")
        if kind_of(name) == "bundle":
            altered(name, data, document)
        elif kind_of(name) == "sealed":
            verify.opened(document, name.removesuffix(".hex").split("-")[1])
            check("envelopes", True, name)


def altered(name, data, document):
    network = decode("receipt", document["receipt"])["net"]
    try:
        verify.check_bundle(data, network)
        check("bundles that hold", True, name)
    except (Refused, verify.Contradicted) as fault:
        check("bundles that hold", False, f"{name}: {fault}")
    # A step that shares no factor with the lengths of fields; all bytes would take minutes.
    for at in range(0, len(data), 7):
        other = bytearray(data)
        other[at] ^= 1 << at % 8
        try:
            verify.check_bundle(bytes(other), network)
        except (Refused, verify.Contradicted):
            check("altered bundles refused", True, name)
        else:
            check("altered bundles refused", False, f"{name}: byte {at} altered, and it holds")
    try:
        verify.check_bundle(data, bytes(32))
        check("foreign networks refused", False, name)
    except verify.Contradicted:
        check("foreign networks refused", True, name)


def refused():
    for line in lines("bad.txt"):
        name, data, why = line.split(" ", 2)
        if kind_of(name) not in SHAPES: continue
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
        check("trees", verify.root(leaves) == root, f"{count} leaves")
        for index, leaf in enumerate(leaves):
            path = verify.path(leaves, index)
            leads = verify.leads_to(root, index, count, leaf, path)
            check("paths", leads, f"{index} of {count}")
            wrong = [
                verify.leads_to(root, index, count, leaf, path + [root]),
                verify.leads_to(root, index, count, leaf + b"x", path),
                verify.leads_to(root, index + 1, count, leaf, path),
                bool(path) and verify.leads_to(root, index, count, leaf, path[1:]),
            ]
            check("wrong paths refused", not any(wrong), f"{index} of {count}: {wrong}")


def bills():
    for line in lines("bills.txt"):
        kib, call, rate, fuel, body_bytes, cap, due = map(int, line.split(" "))
        price = {"kib": kib, "call": call, "rate": rate}
        check("bills", verify.bill(price, fuel, body_bytes, cap) == due, line)


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
    for part in (documents, refused, trees, bills, signatures):
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
