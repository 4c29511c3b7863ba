"""The byte layouts, hashes, ids and tokens of AITBC, written from docs/formats.md alone: nothing here is shared with the
Rust code. Used by ledger.py, vectors.py and client.py."""

import base64
import hashlib
import json
import struct

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

# name: (struct code or number of bytes)
JOB_SPEC = [
    ("version", "B"), ("type", "B"), ("flags", "H"), ("chain_id", 32), ("owner", 32), ("salt", 32),
    ("model_name_hash", 32), ("model_digest", 32), ("input_len", "Q"), ("input_hash", 32), ("requirements_hash", 32),
    ("max_rate", "Q"), ("deadline_ms", "Q"),
]
ASSIGNMENT = [
    ("version", "B"), ("flags", "B"), ("attempt", "H"), ("chain_id", 32), ("job_id", 16), ("job_ref", 32),
    ("miner_key", 32), ("payee", 20), ("rate", "Q"), ("fee_bps", "H"), ("locked", "Q"), ("budget_ms", "Q"),
    ("prompt_speed", "I"), ("output_speed", "I"), ("issued_ms", "Q"), ("locks_hash", 32),
]
STREAM_CHECKPOINT = [
    ("version", "B"), ("flags", "B"), ("attempt", "H"), ("chain_id", 32), ("job_id", 16), ("job_ref", 32),
    ("offset", "Q"), ("hash", 32), ("tokens_out", "I"), ("work_ms", "Q"),
]
RECEIPT = [
    ("version", "B"), ("outcome", "B"), ("attempt", "H"), ("chain_id", 32), ("job_id", 16), ("job_ref", 32),
    ("assignment_hash", 32), ("miner_key", 32), ("payee", 20), ("model_name_hash", 32), ("model_digest", 32),
    ("engine_hash", 32), ("output_len", "Q"), ("output_hash", 32), ("result_hash", 32), ("tokens_in", "I"),
    ("tokens_out", "I"), ("work_ms", "Q"), ("seen_size", "Q"), ("seen_root", 32),
]
SESSION_PROOF = [("chain_id", 32), ("challenge", 32), ("miner_id", 16)]

# Values that a layout defines; every other field takes any value.
DEFINED = {
    "job spec v1": {"version": {1}, "type": {1, 2, 3}, "flags": {0, 1}},
    "assignment v1": {"version": {1}, "flags": {0, 1}},
    "stream checkpoint v1": {"version": {1}, "flags": {0}},
    "receipt v1": {"version": {1}, "outcome": {1, 2, 3, 4}},
    "session proof": {},
}


def length(layout):
    return sum(kind if isinstance(kind, int) else struct.calcsize(kind) for _, kind in layout)


def encode(layout, fields):
    """The bytes of a layout from its field values: numbers, or bytes as hexadecimal text."""
    assert set(fields) == {name for name, _ in layout}, "fields do not fit the layout"
    out = b""
    for name, kind in layout:
        if isinstance(kind, int):
            value = fields[name] if isinstance(fields[name], bytes) else bytes.fromhex(fields[name])
            assert len(value) == kind, f"{name} has {len(value)} bytes instead of {kind}"
            out += value
        else:
            out += struct.pack(">" + kind, int(fields[name]))
    return out


def decode(name, layout, data):
    """Field values from bytes: numbers and bytes. Refuses wrong lengths and undefined values with ValueError."""
    if len(data) != length(layout):
        raise ValueError(f"{name} has {len(data)} bytes instead of {length(layout)}")
    fields, at = {}, 0
    for field, kind in layout:
        size = kind if isinstance(kind, int) else struct.calcsize(kind)
        part = data[at:at + size]
        fields[field] = part if isinstance(kind, int) else struct.unpack(">" + kind, part)[0]
        at += size
    for field, values in DEFINED[name].items():
        if fields[field] not in values:
            raise ValueError(f"{name}: {field} has the undefined value {fields[field]}")
    return fields


def sha256(data):
    return hashlib.sha256(data).digest()


def tagged(tag, data):
    prefix = sha256(tag.encode())
    return sha256(prefix + prefix + data)


def requirements_hash(**wanted):
    return sha256("".join(f"{key}={value}\n" for key, value in sorted(wanted.items()) if value).encode())


def public_key(seed):
    key = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def sign(seed, message):
    return ed25519.Ed25519PrivateKey.from_private_bytes(seed).sign(message)


# The encodings of the points of small order, without the sign: who has such a key, or R, can have signed anything.
SMALL_ORDER = {
    bytes(32), b"\1" + bytes(31), *(bytes([first]) + b"\xff" * 30 + b"\x7f" for first in (0xEC, 0xED, 0xEE)),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
}


def verify(key, message, signature):
    if len(key) != 32 or len(signature) != 64:
        return False
    for point in (key, signature[:32]):
        if point[:31] + bytes([point[31] & 0x7F]) in SMALL_ORDER:
            return False
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
        return True
    except (InvalidSignature, ValueError):
        return False


# Ids: a prefix, "_", and 16 bytes as 26 digits of Crockford's base 32 in lower case.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def id_text(prefix, data):
    number = int.from_bytes(data, "big")
    digits = [ALPHABET[number >> (5 * place) & 31] for place in range(25, -1, -1)]
    return prefix + "_" + "".join(digits)


def id_bytes(prefix, text):
    head, separator, digits = text.rpartition("_")
    if not separator or head != prefix or len(digits) != 26 or any(digit not in ALPHABET for digit in digits):
        raise ValueError(f"{text!r} is not a {prefix} id")
    number = 0
    for digit in digits:
        number = number << 5 | ALPHABET.index(digit)
    if number >> 128:
        raise ValueError(f"{text!r} is over 128 bits")
    return number.to_bytes(16, "big")


def shard_of(owner_key):
    return sha256(owner_key)[0] >> 2


# Keccak-256 (the padding of Ethereum, not of SHA-3), from the definition of Keccak-f[1600].
def keccak256(data):
    mask = (1 << 64) - 1
    rate = 136

    def rotate(value, by):
        by %= 64
        return (value << by | value >> (64 - by)) & mask if by else value

    offsets = [[0] * 5 for _ in range(5)]
    x, y = 1, 0
    for step in range(24):
        offsets[x][y] = (step + 1) * (step + 2) // 2
        x, y = y, (2 * x + 3 * y) % 5
    constants, register = [], 1
    for _ in range(24):
        constant = 0
        for bit in range(7):
            if register & 1:
                constant |= 1 << ((1 << bit) - 1)
            register = (register << 1) ^ (0x171 if register & 0x80 else 0)
        constants.append(constant)

    padded = bytearray(data) + b"\x01"
    padded += b"\x00" * (-len(padded) % rate)
    padded[-1] |= 0x80
    state = [[0] * 5 for _ in range(5)]
    for block in range(0, len(padded), rate):
        for lane in range(rate // 8):
            word = int.from_bytes(padded[block + 8 * lane:block + 8 * lane + 8], "little")
            state[lane % 5][lane // 5] ^= word
        for constant in constants:
            columns = [state[x][0] ^ state[x][1] ^ state[x][2] ^ state[x][3] ^ state[x][4] for x in range(5)]
            mixed = [columns[x - 1] ^ rotate(columns[(x + 1) % 5], 1) for x in range(5)]
            moved = [[0] * 5 for _ in range(5)]
            for x in range(5):
                for y in range(5):
                    moved[y][(2 * x + 3 * y) % 5] = rotate(state[x][y] ^ mixed[x], offsets[x][y])
            state = [
                [moved[x][y] ^ (~moved[(x + 1) % 5][y] & moved[(x + 2) % 5][y] & mask) for y in range(5)]
                for x in range(5)
            ]
            state[0][0] ^= constant
    return b"".join(state[lane % 5][lane // 5].to_bytes(8, "little") for lane in range(4))


SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def dev_payee(seed):
    for counter in range(256):
        secret = int.from_bytes(tagged("aitbc/dev-payee/v1", seed + bytes([counter])), "big")
        if 0 < secret < SECP256K1_ORDER:
            public = ec.derive_private_key(secret, ec.SECP256K1()).public_key()
            point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
            return keccak256(point[1:])[12:]
    raise AssertionError("no valid key")


def address_text(address):
    digits = address.hex()
    checksum = keccak256(digits.encode()).hex()
    return "0x" + "".join(d.upper() if int(c, 16) >= 8 else d for d, c in zip(digits, checksum))


def is_address(text):
    digits = text[2:]
    if not text.startswith("0x") or len(digits) != 40 or any(d not in "0123456789abcdefABCDEF" for d in digits):
        return False
    mixed = digits != digits.lower() and digits != digits.upper()
    return not mixed or address_text(bytes.fromhex(digits)) == text


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def base64url_bytes(text):
    if any(c not in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" for c in text):
        raise ValueError("not base64url")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def token(seed, chain_id, scope, now_s, lifetime_s, jti):
    claims = {
        "iss": base64url(public_key(seed)), "aud": "aitbc:" + chain_id.hex(), "scope": scope,
        "iat": now_s, "exp": now_s + lifetime_s, "jti": jti,
    }
    parts = [{"alg": "EdDSA", "typ": "JWT"}, claims]
    signed = ".".join(base64url(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
    return signed + "." + base64url(sign(seed, signed.encode()))


def token_problem(text, chain_id, now_s):
    """None for a token that is accepted, else why it is not."""
    if len(text.encode()) > 1024:
        return "too long"
    parts = text.split(".")
    if len(parts) != 3:
        return "not three parts"
    try:
        header, claims = (json.loads(base64url_bytes(part)) for part in parts[:2])
        signature = base64url_bytes(parts[2])
    except ValueError:
        return "malformed"
    if header != {"alg": "EdDSA", "typ": "JWT"}:
        return "header"
    if not isinstance(claims, dict) or set(claims) != {"iss", "aud", "scope", "iat", "exp", "jti"}:
        return "claims"
    key = base64url_bytes(claims["iss"])
    if len(key) != 32 or claims["scope"] not in ("read", "client", "miner") or not 1 <= len(claims["jti"]) <= 64:
        return "claims"
    if not 0 <= claims["exp"] - claims["iat"] <= 900:
        return "lifetime"
    if claims["aud"] != "aitbc:" + chain_id.hex():
        return "chain"
    if claims["iat"] > now_s + 60:
        return "future"
    if claims["exp"] + 60 < now_s:
        return "expired"
    if not verify(key, ".".join(parts[:2]).encode(), signature):
        return "signature"
    return None


def canonical_model(name):
    """The canonical form of a model name; ValueError for what names no model."""
    allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."
    parts = name.split("/")
    pieces = []
    for index, part in enumerate(parts):
        split = part.split(":")
        # A colon separates the tag in the last part, a port in the first.
        if len(split) > (2 if index in (0, len(parts) - 1) else 1):
            raise ValueError(f"{name!r} has a colon where none may be")
        pieces += split
    for piece in pieces:
        if not piece or piece[0] in "-." or any(c not in allowed for c in piece):
            raise ValueError(f"{name!r} is no model name")
    canonical = name if ":" in parts[-1] else name + ":latest"
    if len(canonical) > 200:
        raise ValueError(f"{name!r} is too long")
    return canonical
