"""Signatures, trees, bills and bundles, from DOCUMENTS.md, "Signing" to "Checking a bundle".

Every check either returns what it found true or raises: `Refused` for bytes that are no document, `Contradicted`
for well-formed papers that do not hold. Absent: running the function again.
"""

import hashlib

import ed25519
from documents import DOC, MEDIA_TYPES, RAW, decode, link_of


class Contradicted(Exception):
    """Well-formed papers that do not hold."""


def ensure(holds, why):
    if not holds:
        raise Contradicted(why)


# --- Signing ----------------------------------------------------------------------------------------


def pae(media_type, payload):
    kind = media_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def opened(envelope, kind, signer_field=None):
    """The document in an envelope, and its signer."""
    ensure(envelope["t"] == MEDIA_TYPES[kind], f"the envelope holds a {envelope['t']}")
    document = decode(kind, envelope["p"])
    (signature,) = envelope["s"]
    signed = pae(envelope["t"], envelope["p"])
    ensure(ed25519.holds(signature["k"][2:], signed, signature["g"]), f"the {kind}'s signature")
    if signer_field:
        ensure(signature["k"] == document[signer_field], f"the {kind} is signed by another key")
    return document, signature["k"]


# --- Trees ------------------------------------------------------------------------------------------


def leaf(payload):
    return hashlib.sha256(b"\0" + payload).digest()


def node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def raised(level):
    """The level above: pairs from the left, an odd last node unchanged."""
    pairs = [node(a, b) for a, b in zip(level[::2], level[1::2])]
    return pairs + level[len(level) & ~1 :]


def root(payloads):
    level = [leaf(payload) for payload in payloads]
    while len(level) > 1:
        level = raised(level)
    return level[0]


def path(payloads, index):
    """The siblings of one leaf, from the leaf up."""
    level, found = [leaf(payload) for payload in payloads], []
    while len(level) > 1:
        if index ^ 1 < len(level):
            found.append(level[index ^ 1])
        level, index = raised(level), index // 2
    return found


def leads_to(wanted, index, count, payload, path):
    if index >= count:
        return False
    found, path = leaf(payload), list(path)
    while count > 1:
        if index % 2 == 1 or index + 1 < count:
            if not path:
                return False
            sibling = path.pop(0)
            found = node(sibling, found) if index % 2 == 1 else node(found, sibling)
        index, count = index // 2, (count + 1) // 2
    return not path and found == wanted


# --- Money ------------------------------------------------------------------------------------------


def bill(price, fuel, body_bytes, cap):
    body_bytes = min(body_bytes, 2**64 - 1)
    cost = price["call"] - (-fuel * price["rate"] // 10**6) - (-body_bytes * price["kib"] // 1024)
    return min(cap, cost)


# --- Papers -----------------------------------------------------------------------------------------


def proven(payload, proof, network):
    """The receipt of these bytes, signed by its host through a batch."""
    receipt = decode("receipt", payload)
    batch, _ = opened(proof["batch"], "batch", "by")
    ensure(batch["net"] == network, "the batch is of another network")
    path_leads = leads_to(batch["root"], proof["index"], batch["count"], payload, proof["path"])
    ensure(path_leads, "the path does not lead from the receipt to the batch's root")
    ensure(receipt["by"] == batch["by"], "receipt and batch name different hosts")
    ensure(receipt["net"] == batch["net"], "receipt and batch name different networks")
    return receipt


def ordered(carried, receipt, network):
    """The run that a receipt answers."""
    if isinstance(carried, bytes):
        payload = carried
        run = decode("run", payload)
        ensure("pay" not in run and "pay" not in receipt, "a run without an envelope is a free one")
    else:
        payload = carried["p"]
        run, signer = opened(carried, "run")
        ensure("pay" in run and "pay" in receipt, "a signed run is a paid one")
        ensure(signer == receipt["pay"]["payer"], "another key than the payer's signed the run")
        for field in ("chan", "seq"):
            ensure(run["pay"][field] == receipt["pay"][field], f"`{field}` is not the run's")
        host = run["pay"].get("host", receipt["by"])
        ensure(host == receipt["by"], "the run is for another host")
    for field in ("net", "fn", "in", "inn", "prof", "price"):
        ensure(receipt[field] == run[field], f"`{field}` is not the run's")
    ensure(run["net"] == network, "the run is for another network")
    ensure(receipt["run"] == link_of(DOC, payload), "the receipt is for another run")
    return run


def check_bundle(data, network=None):
    """The receipt of a bundle that holds, of this network or of the one it names throughout. Raises `Refused` or
    `Contradicted` with the reason otherwise."""
    bundle = decode("bundle", data)
    network = decode("receipt", bundle["receipt"])["net"] if network is None else network
    receipt = proven(bundle["receipt"], bundle["proof"], network)
    run = ordered(bundle["run"], receipt, network)
    cap = run["pay"]["cap"] if "pay" in run else 0
    due = bill(receipt["price"], receipt["fuel"], receipt["inn"] + receipt["outn"], cap)
    ensure(receipt["bill"] == due, f"the bill is {due}, not {receipt['bill']}")
    ensure(receipt.get("pay", {}).get("owed", due) >= due, "`owed` is less than the bill")
    for name, kind, length in (("in", "input", "inn"), ("out", "output", "outn")):
        body = bundle.get(name + "body")
        if name not in bundle:
            ensure(body is None, f"a body without its {kind}")
            continue
        message = decode(kind, bundle[name])
        ensure(receipt[name] == link_of(DOC, bundle[name]), f"another {kind} than the receipt's")
        ensure(message["len"] == receipt[length], f"`len` of the {kind} is not `{length}`")
        if body is not None:
            ensure(message["body"] == link_of(RAW, body), f"another body than the {kind}'s")
            ensure(message["len"] == len(body), f"a body of another length than the {kind}'s")
    if "fn" in bundle:
        ensure(receipt["fn"] == link_of(RAW, bundle["fn"]), "another function than the receipt's")
    if "via" in bundle:
        check_forward(bundle["via"], run, receipt, network)
    return receipt


# --- Forwards ---------------------------------------------------------------------------------------


def drawn(block, run, loads):
    """The two that block and run draw of so many loads, and the one of them that takes the run."""
    seed = hashlib.sha256(b"talea draw v1\0" + block + run).digest()
    first = second = int.from_bytes(seed[:8], "little") % len(loads)
    if len(loads) > 1:
        second = int.from_bytes(seed[8:16], "little") % (len(loads) - 1)
        second += second >= first
    return first, second, second if loads[second] < loads[first] else first


def covers(offer, run, at):
    """Whether an offer takes on a run that arrives then."""
    life = offer["expires"] - offer["issued"]
    ensure(offer["profiles"] and offer["endpoints"] and 0 < life <= 3600 * 10**9, "an offer that is none")
    ensure(offer["issued"] <= at + 300 * 10**9 and at < offer["expires"], "an offer that does not stand then")
    ensure(offer["net"] == run["net"], "an offer of another network")
    ensure(run["prof"] in offer["profiles"], "an offer without the run's profile")
    ensure(all(offer["price"][part] <= run["price"][part] for part in offer["price"]), "an offer that costs more")
    ensure(all(run[part + "max"] <= offer["max"][part] for part in offer["max"]), "an offer that takes on less")


def check_forward(via, run, receipt, network):
    """How the gateway that gave `receipt` for `run` chose the host that ran it, and what that host said."""
    ensure("via" in receipt, "papers of a forward that the receipt does not name")
    draw, _ = opened(via["draw"], "draw", "by")
    ensure(receipt["via"]["draw"] == link_of(DOC, via["draw"]["p"]), "another draw than the receipt's")
    hosts = [candidate["host"] for candidate in draw["offers"]]
    ensure(hosts and all(a < b for a, b in zip(hosts, hosts[1:])), "candidates out of order")
    loads = [candidate["load"] for candidate in draw["offers"]]
    index = drawn(draw["block"].digest, draw["run"].digest, loads)[2]
    ensure(draw["drawn"] == index, "another host than the one that is drawn")
    ensure(draw["run"] == receipt["run"] and draw["by"] == receipt["by"], "a draw for another run or gateway")
    ensure(draw["net"] == network, "a draw of another network")
    inner = proven(via["receipt"], via["proof"], network)
    ensure(receipt["via"]["receipt"] == link_of(DOC, via["receipt"]), "another inner receipt than the one named")
    ensure(inner["by"] == hosts[index], "another host than the one drawn executed the run")
    inner_run = ordered(via["run"], inner, network)
    ensure(draw["inner"] == inner["run"], "the draw is for another inner run")
    for field in ("fn", "in", "cgi", "clk", "inn", "net", "prof", "seed", "logmax", "memmax", "outmax", "fuelmax"):
        ensure(inner_run[field] == run[field], f"the inner run's `{field}` is not the caller's")
    if "pay" in inner_run:
        ensure(inner_run["pay"].get("host") == hosts[index], "an inner run for another host")
    for field in ("outcome", "fuel", "hfuel", "mem", "out", "outn"):
        ensure(inner[field] == receipt[field], f"the gateway's `{field}` is not the inner receipt's")
    if "head" in via:
        header, _ = opened(via["head"], "block", "by")
        ensure(draw["block"] == link_of(DOC, via["head"]["p"]), "another block than the draw's")
        ensure(header["height"] == draw["height"] and header["net"] == network, "another height than the block's")
    for envelope in via["offers"]:
        offer, host = opened(envelope, "offer", "by")
        named = {"host": host, "offer": link_of(DOC, envelope["p"])}
        ensure(any(named.items() <= one.items() for one in draw["offers"]), "an offer of no candidate")
        covers(offer, run, draw["at"])
