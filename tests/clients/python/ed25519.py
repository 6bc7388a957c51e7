"""Ed25519 verification from RFC 8032, with the strictness that DOCUMENTS.md, "Signing", asks for.

Invariants: keys and R are canonical, on the curve and not of small order; S is below the group's order;
S B - h A = R holds without the cofactor. Absent: signing, and constant time: nothing here is secret.
"""

import functools
import hashlib

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_OF_MINUS_1 = pow(2, (P - 1) // 4, P)

# Points are (X, Y, Z, T) with x = X/Z, y = Y/Z, x y = T/Z (RFC 8032, 5.1.4).
NEUTRAL = (0, 1, 1, 0)


class NotAKey(ValueError):
    """Bytes that are no acceptable point."""


def add(p, q):
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * p[3] * q[3] * D % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def times(scalar, point):
    found = NEUTRAL
    while scalar:
        if scalar & 1:
            found = add(found, point)
        point = add(point, point)
        scalar >>= 1
    return found


def is_neutral(point):
    return point[0] % P == 0 and (point[1] - point[2]) % P == 0


def is_small(point):
    return is_neutral(times(8, point))


def encoded(point):
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def decoded(data):
    """The point of 32 bytes; None if no point of the curve has that y. Refuses a y that is not reduced."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & (1 << 255) - 1
    if len(data) != 32 or y >= P:
        raise NotAKey("its coordinate is not below the prime")
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if v * x * x % P == P - u and u != 0:
        x = x * SQRT_OF_MINUS_1 % P
    if v * x * x % P != u:
        return None
    if x & 1 != sign:
        x = (P - x) % P
    return (x, y, 1, x * y % P)


BASE = decoded((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


# The same keys and signatures come again and again, and these functions know nothing but their arguments.
@functools.lru_cache(4096)
def check_key(data):
    """What a decoder refuses of a key. That it is a point shows at its first signature."""
    point = decoded(data)
    if point is not None and is_small(point):
        raise NotAKey("it is of small order")


@functools.lru_cache(4096)
def holds(key, message, signature):
    """Whether `signature`, 64 bytes, is `key`'s, 32 bytes, over `message`."""
    try:
        a, r = decoded(key), decoded(signature[:32])
    except NotAKey:
        return False
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or is_small(a) or is_small(r) or s >= ORDER or len(signature) != 64:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % ORDER
    minus_a = (P - a[0], a[1], a[2], P - a[3])
    return encoded(add(times(s, BASE), times(h, minus_a))) == signature[:32]
