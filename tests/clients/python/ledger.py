"""Blocks, state and evidence, from DOCUMENTS.md, "Types of the ledger" and "Network, blocks and state".

A block holds here when its header does, the body is the one that was signed, every transaction is signed by its
sender, and they stand in the canonical order. Absent: the rules. Whether transactions apply, and whether `state`
is the root that comes out, takes the state before; whether a block is final, the votes.
"""

import hashlib

from checks import Contradicted, ensure, leads_to, opened, proven, root
from documents import (
    DOC, LABEL, RAW, SHAPES, TOKEN, Refused, array_of, blob, decode, digest, encode, header_name, key, limits, link,
    number, one_of, price, proof, record, sealed, small, text, uint, whole, yesno,
)  # fmt: skip

# --- Types ------------------------------------------------------------------------------------------

ppm = uint(1_000_000)
namespace, name = text(LABEL, 64), text(f"{LABEL}/{LABEL}", 129)
endpoint, method = text("[!-~]+", 256), text(TOKEN, 32)
kind = text("command|handler", 7)
header_names, methods = array_of(header_name, 64), array_of(method, 16)
profiles, endpoints = array_of(link(DOC), 8), array_of(endpoint, 8)
path, index = array_of(digest, 12), uint(4095)

params = record(
    fee=number, name=namespace, slot=uint(least=1), close=number, start=number, answer=number, margin=number,
    dispute=number, unstake=number, balances=array_of(record(key=key, amount=number), 1024),
    blocklen=uint(4194304, 65536), blocktxs=uint(4096, 1), retention=number, authorities=array_of(key, 64, 1),
)  # fmt: skip
part = record(fn=link(RAW), ppm=ppm, amount=number)
bill = record(run=sealed, path=path, batch=small, index=index, receipt=blob())
receipt_proven = record(proof=proof, receipt=blob())
action = one_of(**{
    "transfer": record(to=key, amount=number),
    "function": record(fn=link(RAW), cgi=yesno, max=limits, kind=kind, prof=link(DOC), headers=header_names),
    "function-update": record(
        fn=link(RAW), cgi_opt=yesno, max_opt=limits, prof_opt=link(DOC), owner_opt=key, headers_opt=header_names
    ),
    "name": record(fn=link(RAW), ppm=ppm, name=name, private=yesno),
    "name-update": record(fn_opt=link(RAW), ppm_opt=ppm, name=name, owner_opt=key, private_opt=yesno),
    "grant": record(key=key, name=name, methods_opt=methods),
    "revoke": record(key=key, name=name),
    "offer": record(price=price, until=number, profiles=profiles, endpoints=endpoints),
    "open": record(host=key, escrow=number, expires=number, batchcap=number, watermark=number),
    "topup": record(chan=digest, amount=number, expires_opt=number),
    "close": record(chan=digest),
    "revoke-session": record(chan=digest, session=link(DOC)),
    "settle": record(of=one_of(claim=digest, stake=key, channel=digest)),
    "redeem": record(grant_opt=sealed, split=array_of(part, 64), voucher=sealed),
    "redeem-batch": record(
        chan=digest, bills=array_of(bill, 64), grants=array_of(sealed, 8), batches=array_of(sealed, 32)
    ),
    "challenge": record(seq=number, claim=digest),
    "answer": record(**{"in": blob()}, seq=number, body_opt=blob(), claim=digest, receipt=blob()),
    "stake": record(amount=number),
    "unstake": record(amount=number),
    "anchor": record(last=number, root=digest, count=uint(4096, 1), first=number),
    "fraud": record(first=receipt_proven, second=receipt_proven),
    **dict.fromkeys(("trigger", "audit", "verdict", "authority", "deposit", "withdraw"), blob(most=1024)),
})  # fmt: skip
transaction = record(act=action, net=digest, **{"from": key}, nonce=number, builds_opt=digest)
voucher = record(net=digest, chan=digest, owed=number, settled=number)
session = record(
    key=key, net=digest, hosts_opt=array_of(key, 32), payer=key, total=number, expires=number,
    functions_opt=array_of(link(RAW), 64),
)  # fmt: skip
header = record(
    by=key, len=small, net=digest, body=digest, slot=number, count=small, state=digest, height=number,
    parent=link(DOC),
)  # fmt: skip
round_number = uint(2**64 - 1, 1)
vote = record(
    by=key, net=digest, block=link(DOC), phase=uint(1), round=round_number, height=number
)
commit = record(
    net=digest, block=link(DOC), round=round_number, votes=array_of(sealed, 128), height=number
)
equivocation = record(first=sealed, second=sealed)
block_whole = record(body=array_of(blob(), 4096), head=sealed)

key_of_record = one_of(
    totals=uint(0), account=key, function=link(RAW), namespace=namespace, name=name,
    grant=record(key=key, name=name), offer=key, channel=digest, claim=digest, session=record(chan=digest, session=link(DOC)), stake=key,
    anchor=key, fraud=record(chan=digest, host=key),
)  # fmt: skip
claimed = record(
    fn=link(RAW), ppm=ppm, seq=number, grant_opt=link(DOC), until_opt=number, amount=number, receipt=link(DOC),
    answered=yesno,
)  # fmt: skip
kept = one_of(
    totals=record(fees=number, burned=number, genesis=number, deposits=number, withdrawn=number),
    account=record(last_opt=digest, nonce=number, balance=number),
    function=record(
        cgi=yesno, max=limits, kind=kind, last=digest, prof=link(DOC), owner=key, headers=header_names
    ),
    namespace=record(last=digest, owner=key),
    name=record(ppm=ppm, count=number, owner=key, private=yesno, versions=array_of(link(RAW), 32)),
    grant=record(methods_opt=methods),
    offer=record(last=digest, price=price, until=number, profiles=profiles, endpoints=endpoints),
    channel=record(
        host=key, last=digest, used=blob(exactly=128), payer=key, escrow=number, opened=number, batched=number,
        closing_opt=number, expires=number, settled=number, vouched=number, batchcap=number, redeemed=number,
        watermark=number,
    ),
    claim=record(due=number, chan=digest, host=key, last=digest, bills=array_of(claimed, 64), payer=key),
    session=record(spent=number, until_opt=number),
    stake=record(last=digest, until=number, amount=number, leaving=number),
    anchor=record(tx=digest, last=number, root=digest, slot=number, count=uint(4096, 1), first=number),
    fraud=record(
        by=key, tx=digest, kind=text("sequence|owed", 8), slot=number, first=link(DOC), second=link(DOC),
        slashed=number,
    ),
)  # fmt: skip
in_block = record(tx=blob(), path=path, index=index)
way = record(
    bits=blob(most=256), leaf_opt=record(path=digest, record=digest), sides=array_of(digest, 256)
)
evidence = record(
    of=one_of(
        state=record(key=key_of_record, path=way, record_opt=kept),
        receipt=record(path=path, index=index, proof=proof, anchor=in_block, receipt=blob()),
        transaction=in_block,
    ),
    head=sealed,
)
SHAPES.update(
    {
        "params": params, "transaction": transaction, "voucher": voucher, "session": session, "block": header,
        "block-whole": block_whole, "record": kept, "evidence": evidence, "vote": vote, "commit": commit,
        "equivocation": equivocation,
    }
)  # fmt: skip


# --- Checks -----------------------------------------------------------------------------------------


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


class Network:
    """A network by its parameters' bytes."""

    def __init__(self, data):
        self.params, self.id = decode("params", data), sha256(data)

    def header(self, envelope):
        """The header in an envelope, which its slot's owner has signed."""
        found, _ = opened(envelope, "block", "by")
        ensure(found["net"] == self.id, "the block is of another network")
        ensure(found["height"] > 0 and found["slot"] > 0, "height and slot 0 are the genesis'")
        owners = self.params["authorities"]
        ensure(found["by"] == owners[found["slot"] % len(owners)], "the slot belongs to another authority")
        fits = found["count"] <= self.params["blocktxs"] and found["len"] <= self.params["blocklen"]
        ensure(fits, "more than a block of this network may hold")
        return found

    def transaction(self, data):
        """The transaction in an envelope's bytes, and its id."""
        envelope = decode("sealed", data)
        found, _ = opened(envelope, "transaction", "from")
        ensure(found["net"] == self.id, "a transaction of another network")
        return found, sha256(envelope["p"])


def check_block(data, network):
    """The header of a block that holds."""
    block = decode("block-whole", data)
    head, body = network.header(block["head"]), block["body"]
    ensure(head["count"] == len(body) and head["len"] == sum(map(len, body)), "count or length of the body")
    ensure(head["body"] == (root(body) if body else sha256()), "the body is not the one that was signed")
    ordered([network.transaction(envelope) for envelope in body])
    return head


def ordered(transactions):
    """Whether these stand as they must: each after what it needs, and of all that could come next the lowest id."""
    needs = {id_: set() for _, id_ in transactions}
    makers = {thing: id_ for tx, id_ in transactions for thing in made(tx, id_)}
    for tx, id_ in transactions:
        earlier = (other for one, other in transactions if one["from"] == tx["from"] and one["nonce"] < tx["nonce"])
        needs[id_].update(earlier, [tx["builds"]] if "builds" in tx else [])
        needs[id_].update(makers[thing] for thing in used(tx) if thing in makers)
        needs[id_] = {need for need in needs[id_] if need in needs and need != id_}
    left = set(needs)
    for _, id_ in transactions:
        ready = [other for other in left if not needs[other] & left]
        ensure(ready and id_ == min(ready), "the transactions are not in canonical order")
        left.discard(id_)


def made(tx, id_):
    """What a transaction makes that others of its block may use."""
    ((what, content),) = tx["act"].items()
    if what == "open":
        return [sha256(b"talea channel v1\0", id_)]
    if what == "redeem-batch":
        return [id_]
    return [content["fn"]] if what == "function" else []


def used(tx):
    """The channel, claim or function that a transaction uses."""
    ((what, content),) = tx["act"].items()
    if what == "redeem":
        return [decode("voucher", content["voucher"]["p"])["chan"]]
    if what == "settle":
        ((_, thing),) = content["of"].items()
        return [thing]
    if what in ("name", "name-update"):
        return [content["fn"]] if "fn" in content else []
    if isinstance(content, bytes):
        return []
    return [content[field] for field in ("chan", "claim") if field in content]


def at(root_, path_, found):
    """sha256 of the record at a path of the state's tree; None when there is none."""
    bits, sides, leaf = found["bits"], found["sides"], found.get("leaf")
    ascending = all(a < b for a, b in zip(bits, bits[1:]))
    ensure(len(bits) == len(sides) and ascending, "a way that no tree has")
    if leaf is None:
        ensure(not bits and root_ == bytes(32), "a way without an end")
        return None
    node = sha256(b"\0", leaf["path"], leaf["record"])
    for bit, side in zip(reversed(bits), reversed(sides)):
        right = path_[bit // 8] >> (7 - bit % 8) & 1
        node = sha256(b"\1", bytes([bit]), *((side, node) if right else (node, side)))
    ensure(node == root_, "the way does not lead to the state's root")
    return leaf["record"] if leaf["path"] == path_ else None


def state_root(leaves):
    """The root over `{path: sha256 of the record}`."""
    if not leaves:
        return bytes(32)
    paths = sorted(leaves)
    if len(paths) == 1:
        return sha256(b"\0", paths[0], leaves[paths[0]])
    # Of sorted paths the first and the last share what all share.
    different = int.from_bytes(paths[0], "big") ^ int.from_bytes(paths[-1], "big")
    bit = 256 - different.bit_length()
    sides = [{}, {}]
    for path_ in paths:
        sides[path_[bit // 8] >> (7 - bit % 8) & 1][path_] = leaves[path_]
    return sha256(b"\1", bytes([bit]), state_root(sides[0]), state_root(sides[1]))


def check_evidence(data, network):
    """What evidence shows, in words, and the header that it leads to."""
    found = decode("evidence", data)
    head = network.header(found["head"])
    ((what, of),) = found["of"].items()
    if what == "state":
        there = at(head["state"], sha256(encode(of["key"])), of["path"])
        wanted = sha256(encode(of["record"])) if "record" in of else None
        ensure(there == wanted, "the state holds something else there")
        return ("presence" if wanted else "absence"), head
    if what == "transaction":
        in_its_block(of, head, network)
        return what, head
    anchor, _ = in_its_block(of["anchor"], head, network)
    ensure("anchor" in anchor["act"], "the transaction is no anchor")
    batch, _ = opened(of["proof"]["batch"], "batch", "by")
    ensure(anchor["from"] == batch["by"], "another host's anchor")
    anchor = anchor["act"]["anchor"]
    ensure(anchor["first"] <= batch["num"] <= anchor["last"], "the anchor does not span the batch")
    carried = of["proof"]["batch"]["p"]
    leads = leads_to(anchor["root"], of["index"], anchor["count"], carried, of["path"])
    ensure(leads, "the path does not lead from the batch to the anchor")
    proven(of["receipt"], of["proof"], network.id)
    return what, head


def in_its_block(of, head, network):
    leads = leads_to(head["body"], of["index"], head["count"], of["tx"], of["path"])
    ensure(leads, "the path does not lead from the transaction to the block")
    return network.transaction(of["tx"])


def check_any(data, network):
    """What a file with a block or with evidence shows."""
    if isinstance(found := whole(data), dict) and "body" in found:
        head = check_block(data, network)
        return f"a block of {head['count']} transactions", head
    what, head = check_evidence(data, network)
    return {"presence": "a record of the state", "absence": "that a record is not there"}.get(what, f"a {what}"), head


__all__ = ["Contradicted", "Network", "Refused", "check_any", "check_block", "check_evidence", "ordered"]
