"""Documents, from DOCUMENTS.md, "Encoding" and "Types": strict bytes in, plain values out.

A decoded document is a dict with the names of the CDDL; numbers are int, links are `Link`. What does not
follow the page to the letter is `Refused`. The types of the ledger are in `ledger.py`.
"""

import base64
import hashlib
import re
from typing import NamedTuple

import ed25519

RAW, DOC = 0x55, 0x71
NESTED_MAX = 16  # The deepest document, a bundle, has 6 levels.


class Refused(ValueError):
    """Bytes that are not a document of the wanted type."""


class Link(NamedTuple):
    """A CID: its codec and the sha2-256 digest."""

    codec: int
    digest: bytes

    def __str__(self):
        data = bytes([1, self.codec, 0x12, 0x20]) + self.digest
        return "b" + base64.b32encode(data).decode().rstrip("=").lower()


def link_of(codec, data):
    return Link(codec, hashlib.sha256(data).digest())


# --- CBOR -------------------------------------------------------------------------------------------


class Reader:
    """The subset, item by item. No length is believed beyond the bytes that are there."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if count > len(self.data) - self.at:
            raise Refused(f"{count} bytes wanted at {self.at}, {len(self.data) - self.at} are there")
        self.at += count
        return self.data[self.at - count : self.at]

    def head(self):
        first = self.take(1)[0]
        major, low = first >> 5, first & 31
        if low < 24:
            return major, low
        if low > 27:
            raise Refused(f"indefinite or reserved length at {self.at - 1}")
        size = 1 << (low - 24)
        value = int.from_bytes(self.take(size), "big")
        if value < (24, 1 << 8, 1 << 16, 1 << 32)[low - 24]:
            raise Refused(f"{value} is not in its shortest form at {self.at}")
        return major, value

    def item(self, depth=0):
        if depth > NESTED_MAX:
            raise Refused("nested too deeply")
        start = self.at
        major, value = self.head()
        if major == 0:
            return value
        if major == 2:
            return self.take(value)
        if major == 3:
            return self.text(value)
        if major == 4:
            return [self.item(depth + 1) for _ in range(self.possible(value))]
        if major == 5:
            return self.map(self.possible(value), depth + 1)
        if major == 6 and value == 42:
            return self.link()
        raise Refused(f"an item that documents do not have at {start}")

    def possible(self, count):
        # Each item has at least one byte.
        if count > len(self.data) - self.at:
            raise Refused(f"{count} items declared at {self.at}")
        return count

    def text(self, length):
        data = self.take(length)
        if not data.isascii():
            raise Refused("text that is not ASCII")
        return data.decode("ascii")

    def map(self, count, depth):
        found, last = {}, None
        for _ in range(count):
            major, length = self.head()
            if major != 3:
                raise Refused("a key that is not text")
            key = self.text(length)
            if last is not None and (len(last), last) >= (len(key), key):
                raise Refused(f"the key {key!r} is out of order or there twice")
            found[key] = self.item(depth)
            last = key
        return found

    def link(self):
        major, length = self.head()
        if major != 2 or length != 37:
            raise Refused("a link without its 37 bytes")
        data = self.take(37)
        if data[:2] != b"\0\1" or data[2] not in (RAW, DOC) or data[3:5] != b"\x12\x20":
            raise Refused("a link in another form")
        return Link(data[2], data[5:])


def whole(data):
    """The one item that all of `data` is."""
    reader = Reader(data)
    item = reader.item()
    if reader.at != len(data):
        raise Refused(f"{len(data) - reader.at} bytes too many")
    return item


def encode(value):
    """The bytes of a value: what a record of the state or its key is hashed as."""
    if isinstance(value, Link):
        cid = bytes([0, 1, value.codec, 0x12, 0x20]) + value.digest
        return head_of(6, 42) + head_of(2, len(cid)) + cid
    if isinstance(value, int):
        return head_of(0, value)
    if isinstance(value, bytes):
        return head_of(2, len(value)) + value
    if isinstance(value, str):
        return head_of(3, len(value)) + value.encode("ascii")
    if isinstance(value, (list, tuple)):
        return head_of(4, len(value)) + b"".join(map(encode, value))
    fields = sorted(value.items(), key=lambda field: (len(field[0]), field[0]))
    return head_of(5, len(fields)) + b"".join(encode(part) for field in fields for part in field)


def head_of(major, value):
    if value < 24:
        return bytes([major << 5 | value])
    size = next(size for size in (1, 2, 4, 8) if value < 1 << 8 * size)
    return bytes([major << 5 | 24 + size.bit_length() - 1]) + value.to_bytes(size, "big")


# --- Shapes: each takes a value and gives it back, or refuses it ------------------------------------


def uint(most=2**64 - 1, least=0):
    def shape(value):
        if type(value) is not int or not least <= value <= most:
            raise Refused(f"{value!r} is no number from {least} to {most}")
        return value

    return shape


def blob(most=None, exactly=None):
    def shape(value):
        if type(value) is not bytes:
            raise Refused(f"{value!r} is not bytes")
        if (exactly is not None and len(value) != exactly) or (most is not None and len(value) > most):
            raise Refused(f"{len(value)} bytes")
        return value

    return shape


def text(pattern, most):
    form = re.compile(pattern)

    def shape(value):
        if type(value) is not str or len(value) > most or not form.fullmatch(value):
            raise Refused(f"{value!r} has another form")
        return value

    return shape


def link(codec):
    def shape(value):
        if type(value) is not Link or value.codec != codec:
            raise Refused(f"{value!r} is no link of codec {codec:#x}")
        return value

    return shape


def array_of(shape_of_one, most, least=0):
    def shape(value):
        if type(value) is not list or not least <= len(value) <= most:
            raise Refused(f"{value!r} is no array of {least} to {most}")
        return [shape_of_one(item) for item in value]

    return shape


def record(**shapes):
    """A map with exactly these keys; those that end in `_opt` may be absent."""
    known = {name.removesuffix("_opt"): shape for name, shape in shapes.items()}
    needed = {name for name in shapes if not name.endswith("_opt")}

    def shape(value):
        if type(value) is not dict or value.keys() - known.keys() or needed - value.keys():
            raise Refused(f"a map with other keys than {sorted(known)}")
        return {name: known[name](field) for name, field in value.items()}

    return shape


def one_of(**shapes):
    """A map with exactly one key, which says which."""

    def shape(value):
        if type(value) is not dict or len(value) != 1 or not value.keys() <= shapes.keys():
            raise Refused(f"not one of {sorted(shapes)}")
        ((which, content),) = value.items()
        return {which: shapes[which](content)}

    return shape


def either(*shapes):
    def shape(value):
        faults = []
        for one in shapes:
            try:
                return one(value)
            except Refused as fault:
                faults.append(str(fault))
        raise Refused(" and ".join(faults))

    return shape


def key(value):
    value = blob(exactly=34)(value)
    if value[:2] != b"\xed\x01":
        raise Refused("a key of another curve")
    try:
        ed25519.check_key(value[2:])
    except ed25519.NotAKey as fault:
        raise Refused(f"a key that is refused: {fault}") from fault
    return value


def argument(value):
    value = blob(most=1024)(value)
    try:
        value.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise Refused("an argument that is not UTF-8") from fault
    if 0 in value:
        raise Refused("an argument with a NUL")
    return value


def outcome(value):
    kind, code = array_of(uint(), 2, 2)(value)
    most = {0: 0, 1: 2**32 - 1, 2: 8, 3: 0, 4: 4}.get(kind)
    least = 0 if kind in (0, 3) else 1
    if most is None or not least <= code <= most:
        raise Refused(f"no outcome is {value}")
    return (kind, code)


TOKEN = r"[0-9A-Za-z!#$%&'*+\-.^_`|~]+"
LOWER_TOKEN = r"[0-9a-z!#$%&'*+\-.^_`|~]+"
header_name = text(LOWER_TOKEN, 128)
header_value = text(r"|[!-~]|[!-~][\t -~]*[!-~]", 4096)


def header(value):
    name, content = array_of(lambda item: item, 2, 2)(value)
    return (header_name(name), header_value(content))


def headers(value):
    found = array_of(header, 64)(value)
    if sum(len(name) + len(content) for name, content in found) > 16_384:
        raise Refused("headers of more than 16,384 bytes")
    return found


LABEL = r"[a-z0-9]([a-z0-9_-]{0,62}[a-z0-9])?"
MIB_64 = 64 * 1024 * 1024
number, small, digest, yesno = uint(), uint(2**32 - 1), blob(exactly=32), uint(1)
price = record(kib=number, call=number, rate=number)
limits = record(log=number, mem=small, out=number, fuel=number)

message_in = record(
    len=number,
    args=array_of(argument, 64),
    body=link(RAW),
    path=text(r"|/[!-\"$->@-~]*", 4096),
    salt_opt=blob(exactly=16),
    query=text(r"[!-\"$-~]*", 8192),
    method=text(TOKEN, 32),
    headers=headers,
)
message_out = record(len=number, body=link(RAW), status=uint(599, 200), headers=headers)

payment = record(
    cap=number, exp=number, ppm=uint(1_000_000), seq=number, chan=digest, host_opt=key
)
run = record(
    fn=link(RAW), **{"in": link(DOC)}, cgi=yesno, clk=number, inn=number, net=digest, pay_opt=payment,
    prof=link(DOC), seed=digest, price=price, logmax=number, memmax=small, outmax=number,
    fuelmax=number,
)  # fmt: skip
receipt = record(
    at=number, by=key, fn=link(RAW), **{"in": link(DOC)}, inn=number, mem=small, net=digest,
    out=link(DOC), pay_opt=record(seq=number, chan=digest, owed=number, payer=key), run=link(DOC),
    via_opt=record(draw=link(DOC), receipt=link(DOC)), bill=number, fuel=number, outn=number, prof=link(DOC), hfuel=number, price=price, outcome=outcome,
)  # fmt: skip
batch = record(
    at=number, by=key, net=digest, num=number, root=digest, count=uint(4096, 1)
)
registration = record(
    at=number, fn=link(RAW), cgi=yesno, max=limits, net=digest, kind=text("command|handler", 7),
    name_opt=text(f"{LABEL}/{LABEL}", 129), owner=key, headers=array_of(header_name, 64),
)  # fmt: skip
request = record(
    at=number, net=digest, body=link(RAW), path=text(r"/[!-\"$-~]*", 12_289), method=text(TOKEN, 32)
)

SIGNED = (
    "run", "receipt", "batch", "registration", "request", "transaction", "voucher", "session", "block", "vote",
    "offer", "draw",
)  # fmt: skip
MEDIA_TYPES = {name: f"application/vnd.talea.{name}.v1+dag-cbor" for name in SIGNED}
envelope = record(
    p=blob(),
    s=array_of(record(g=blob(exactly=64), k=key), 1, 1),
    t=text("|".join(re.escape(media) for media in MEDIA_TYPES.values()), 64),
)


def sealed(value):
    value = envelope(value)
    most = 61_440 if value["t"] == MEDIA_TYPES["transaction"] else 16_384
    if len(value["p"]) > most:
        raise Refused(f"a payload of {len(value['p'])} bytes in an envelope")
    return value


proof = record(path=array_of(digest, 12), batch=sealed, index=uint(4095))
offer = record(
    by=key, max=limits, net=digest, price=price, issued=number, expires=number,
    profiles=array_of(link(DOC), 8), endpoints=array_of(text("[!-~]+", 256), 8),
)  # fmt: skip
candidate = record(host=key, load=small, offer=link(DOC))
draw = record(
    at=number, by=key, net=digest, run=link(DOC), block=link(DOC), drawn=small, inner=link(DOC), height=number,
    offers=array_of(candidate, 64),
)  # fmt: skip
forward = record(
    run=either(blob(), sealed), draw=sealed, head_opt=sealed, proof=proof, offers=array_of(sealed, 64), receipt=blob()
)
bundle = record(
    fn_opt=blob(most=MIB_64), **{"in_opt": blob()}, out_opt=blob(), run=either(blob(), sealed), via_opt=forward,
    proof=proof,
    inbody_opt=blob(most=MIB_64), outbody_opt=blob(most=MIB_64), receipt=blob(),
)  # fmt: skip

SHAPES = {
    "input": message_in, "output": message_out, "run": run, "receipt": receipt, "batch": batch,
    "proof": proof, "bundle": bundle, "registration": registration, "request": request, "sealed": sealed,
    "offer": offer, "draw": draw,
}  # fmt: skip


def decode(kind, data):
    """The document of type `kind` that `data` is."""
    return SHAPES[kind](whole(data))
