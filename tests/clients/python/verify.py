#!/usr/bin/env python3
"""Checks files offline, with nothing but Python's standard library:

    python3 verify.py FILE.talea [--network HEX]     a call: receipt, proof, run, bill
    python3 verify.py FILE --params PARAMS           a block, or evidence of a state, a transaction, a receipt

Written from runtime/ledger/DOCUMENTS.md alone: a second opinion on what the node and the `talea` command say.
"""

import argparse
import sys
from pathlib import Path

import ledger
from checks import Contradicted, check_bundle
from documents import DOC, Refused, decode, link_of

OUTCOMES = ("ok", "exit", "trap", "out_of_fuel", "limit")


def call(data, network):
    receipt = check_bundle(data, network)
    kind, code = receipt["outcome"]
    print(f"receipt   {link_of(DOC, decode('bundle', data)['receipt'])}")
    print(f"network   {receipt['net'].hex()}")
    print(f"function  {receipt['fn']}")
    print(f"outcome   {OUTCOMES[kind]}{f'({code})' if code else ''}")
    print(f"fuel      {receipt['fuel']}")
    print(f"bill      {receipt['bill']} tal")
    print("holds: proof, signature, run, bill and what else is in the file")


def of_ledger(data, params):
    shown, head = ledger.check_any(data, ledger.Network(params))
    print(f"shows     {shown}")
    print(f"height    {head['height']}, slot {head['slot']}")
    print(f"state     {head['state'].hex()}")
    print("holds: header, signature and what leads to it; whether the block is final is another question")


def main():
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("file", type=Path)
    reader.add_argument("--network", type=bytes.fromhex, help="the network that a call must be of, in hex")
    reader.add_argument("--params", type=Path, help="the bytes of the network's parameters")
    wishes = reader.parse_args()
    data = wishes.file.read_bytes()
    try:
        if wishes.params:
            of_ledger(data, wishes.params.read_bytes())
        else:
            call(data, wishes.network)
    except (Refused, Contradicted) as fault:
        print(f"false: {fault}")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
