"""The ledger of AITBC, written from docs/formats.md and docs/ledger.md alone: transactions, records, and what they do to the state. Naive on
purpose: every root is computed from all entries. Used by replay.py, transaction.py and vectors.py."""

import json
import re

import layouts
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

TRANSACTION = [
    ("version", "B"), ("kind", "B"), ("sign_mode", "B"), ("flags", "B"), ("chain_id", 32), ("public_key", 33),
    ("account", 20), ("nonce", "Q"), ("valid_until", "Q"), ("amount", "Q"), ("max_fee", "Q"), ("target", 32),
    ("payload_hash", 32),
]
LOCK_TERMS = [
    ("version", "B"), ("purpose", "B"), ("expires_at", "Q"), ("max_rate", "Q"), ("max_fee_bps", "H"), ("miner_key", 32),
]
CONSENT = [("version", "B"), ("seq", "I"), ("valid_until", "Q"), ("consent", 64)]
ALLOW_TERMS = [("version", "B"), ("expires_at", "Q"), ("seq", "I")]
ACKNOWLEDGEMENT = [
    ("version", "B"), ("verdict", "B"), ("chain_id", 32), ("receipt_id", 32), ("owner", 32), ("time_ms", "Q"),
]
HEADER = [("version", "B"), ("type", "B"), ("index", "Q"), ("time_ms", "Q")]
POST = [
    ("lock", 32), ("job_ref", 32), ("attempt", "H"), ("outcome", "B"), ("miner", 32), ("payee", 20), ("evidence_id", 32),
    ("gpu", 32), ("rate", "Q"), ("observed_ms", "Q"), ("work_ms", "Q"), ("billed_ms", "Q"), ("posted", "Q"), ("fee", "Q"),
]
OF_LOCK = [("lock", 32), ("reason", "B")]
OUTCOME = [
    ("job_ref", 32), ("attempt", "H"), ("miner", 32), ("client", 20), ("reason", "B"), ("weight", "Q"), ("lock", 32),
]
RECEIPT_ENTRY = [("job_ref", 32), ("attempt", "H"), ("miner", 32), ("receipt_id", 32)]
MINT = [("account", 20), ("amount", "Q"), ("reason", "B")]
AUDIT_COMMIT = [("day", "I"), ("commitment", 32)]
AUDIT_REVEAL = [("day", "I"), ("seed", 32)]
SEAL = [("height", "Q"), ("first", "Q"), ("count", "I"), ("state_root", 32), ("minted", 16), ("burned", 16)]

layouts.DEFINED.update({
    "transaction v1": {
        "version": {1}, "kind": {1, 2, 3, 4, 5, 6}, "sign_mode": {0, 1}, "flags": {0}, "max_fee": {0},
    },
    "lock terms": {"version": {1}, "purpose": {1, 2}, "max_fee_bps": range(10_001)},
    "consent": {"version": {1}},
    "allowance terms": {"version": {1}},
    "acknowledgement": {"version": {1}, "verdict": {1, 2}},
    "header": {"version": {1}},
    "post": {"outcome": range(1, 7)},
    "outcome": {"reason": {1, 2, 3, 4}},
    "void": {"reason": range(1, 11)},
    "expire": {"reason": {1, 2, 3}},
    "receipt": {},
    "mint": {"reason": {1, 2}},
    "seal": {},
    "audit commit": {},
    "audit reveal": {},
})

TRANSFER, LOCK, STAKE, UNSTAKE, BIND, ALLOW = range(1, 7)
DAY_MS = 86_400_000
SETTLEMENT, FEES, ISSUANCE = b"\2", b"\3", b"\4"
NOBODY, ZERO = bytes(20), bytes(32)


def require(condition, why):
    if not condition:
        raise ValueError(why)


# Transactions.

def decode_stored(data):
    """(fields, layout, signature, payload) of a stored transaction."""
    size = layouts.length(TRANSACTION)
    require(len(data) >= size + 66, "the stored transaction is too short")
    body, signature, payload = data[:size], data[size:size + 64], data[size + 66:]
    length = int.from_bytes(data[size + 64:size + 66], "big")
    require(length <= 512 and length == len(payload), "the payload's length is wrong")
    return layouts.decode("transaction v1", TRANSACTION, body), body, signature, payload


def encode_stored(body, signature, payload):
    return body + signature + len(payload).to_bytes(2, "big") + payload


def payload_hash(payload):
    return layouts.sha256(payload) if payload else ZERO


def wallet_public_key(secret):
    key = ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256K1()).public_key()
    return key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)


def wallet_address(public_key):
    require(len(public_key) == 33 and public_key[0] in (2, 3), "not a compressed key")
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), public_key)
    return layouts.keccak256(key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:])[12:]


def wallet_sign(secret, message):
    key = ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256K1())
    method = ec.ECDSA(utils.Prehashed(hashes.SHA256()), deterministic_signing=True)
    r, s = utils.decode_dss_signature(key.sign(message, method))
    s = min(s, layouts.SECP256K1_ORDER - s)
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def wallet_verify(public_key, message, signature):
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if s > layouts.SECP256K1_ORDER // 2:
        return False
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), public_key)
    try:
        key.verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
        return True
    except (InvalidSignature, ValueError):
        return False


def check_transaction(fields, body, signature, payload, chain_id):
    """What can be told without the ledger; ValueError says what is wrong."""
    require(fields["chain_id"] == chain_id, "for another chain")
    require(fields["payload_hash"] == payload_hash(payload), "not the payload that was signed")
    message = layouts.tagged("aitbc/tx-sign/v1", body)
    if fields["sign_mode"] == 0:
        require(wallet_address(fields["public_key"]) == fields["account"], "the account is not the key's address")
        require(wallet_verify(fields["public_key"], message, signature), "the signature is not valid")
    else:
        require(fields["kind"] == LOCK, "an identity may sign nothing but a lock")
        require(fields["public_key"][0] == 0, "not an identity's key")
        require(layouts.verify(fields["public_key"][1:], message, signature), "the signature is not valid")


def consent_hash(chain_id, account, identity, seq, valid_until):
    message = chain_id + account + identity + seq.to_bytes(4, "big") + valid_until.to_bytes(8, "big")
    return layouts.tagged("aitbc/bind/v1", message)


# Genesis files.

def no_key_twice(pairs):
    found = dict(pairs)
    require(len(found) == len(pairs), "a key stands twice")
    return found


def number(value, below):
    require(type(value) is int and 0 <= value < below, f"{value!r} is not a number below {below}")
    return value


def parse_genesis(data):
    """(allocations in their order, total of the faucet, fee_bps, auditors)."""
    require(len(data) <= 1 << 20, "the genesis file is too long")
    file = json.loads(data.decode(), object_pairs_hook=no_key_twice)
    require(isinstance(file, dict), "not an object")
    needed = {"fee_bps", "log_key", "profile", "random", "service_key", "version"}
    require(needed <= set(file) <= needed | {"allocations", "auditors", "faucet", "previous"}, "not a genesis file's fields")
    previous = file.get("previous")
    if previous is None:
        previous = {"chain_id": "00" * 32, "root": "00" * 32, "size": 0}
    require(set(previous) == {"chain_id", "root", "size"}, "previous")
    number(previous["size"], 1 << 64)
    for text in [file["log_key"], file["random"], file["service_key"], previous["chain_id"], previous["root"]]:
        require(isinstance(text, str) and re.fullmatch("[0-9a-fA-F]{64}", text), f"{text!r} is not 32 bytes")
    require(number(file["version"], 256) == 1, "version")
    require(file["profile"] in ("dev", "standard"), "profile")
    fee_bps = number(file["fee_bps"], 10_001)
    faucet = file.get("faucet")
    if faucet is None:
        faucet = {"per_address": 10**9, "total": 10**15}
    require(set(faucet) == {"per_address", "total"}, "faucet")
    number(faucet["per_address"], 1 << 64)
    total = number(faucet["total"], 1 << 64) if file["profile"] == "dev" else 0
    allocations = {}
    for text, amount in file.get("allocations", {}).items():
        require(layouts.is_address(text), f"{text!r} is not an address")
        address = bytes.fromhex(text[2:])
        require(address not in allocations, f"{text} stands twice")
        allocations[address] = number(amount, 1 << 64)
    auditors = file.get("auditors", [])
    require(isinstance(auditors, list) and all(layouts.is_address(text) for text in auditors), "auditors")
    auditors = [bytes.fromhex(text[2:]) for text in auditors]
    require(len(auditors) <= 16 and auditors == sorted(set(auditors)), "auditors out of order, twice or too many")
    require(sum(allocations.values()) + total < 1 << 63, "too much money")
    return sorted(allocations.items()), total, fee_bps, auditors


# Records.

BODIES = {
    3: ("post", POST), 4: ("void", OF_LOCK), 5: ("expire", OF_LOCK), 6: ("outcome", OUTCOME), 7: ("receipt", RECEIPT_ENTRY), 8: ("mint", MINT),
    12: ("seal", SEAL), 13: ("audit commit", AUDIT_COMMIT), 14: ("audit reveal", AUDIT_REVEAL),
}


def decode_record(leaf):
    """(header, body): the body's fields, its bytes for a genesis file, or what decode_stored gives."""
    size = layouts.length(HEADER)
    header, body = layouts.decode("header", HEADER, leaf[:size]), leaf[size:]
    kind = header["type"]
    if kind == 1:
        require(len(body) <= 1 << 20, "the genesis file is too long")
        return header, body
    if kind == 2:
        return header, decode_stored(body)
    if kind == 9:
        return header, decode_slash(body)
    if kind == 10:
        size = layouts.length(ACKNOWLEDGEMENT)
        require(len(body) == size + 64, "the acknowledgement's length is wrong")
        return header, (layouts.decode("acknowledgement", ACKNOWLEDGEMENT, body[:size]), body[:size], body[size:])
    require(kind in BODIES, f"type {kind} is not defined")
    return header, layouts.decode(*BODIES[kind], body)


STATEMENTS = {
    1: ("stream checkpoint v1", layouts.STREAM_CHECKPOINT, "aitbc/stream/v1", "offset", "hash"),
    2: ("receipt v1", layouts.RECEIPT, "aitbc/receipt/v1", "output_len", "output_hash"),
}


def decode_slash(body):
    """Miner, amount, and both statements as (bytes, kind, fields, layout, signature)."""
    require(len(body) > 40, "the slash is too short")
    rest, statements = body[40:], []
    while rest:
        require(rest[0] in STATEMENTS and len(statements) < 2, "not two signed statements")
        name, layout, *_ = STATEMENTS[rest[0]]
        size = 1 + layouts.length(layout) + 64
        require(len(rest) >= size, "a statement is too short")
        own, rest = rest[:size], rest[size:]
        statements.append((own, own[0], layouts.decode(name, layout, own[1:-64]), own[1:-64], own[-64:]))
    require(len(statements) == 2, "not two signed statements")
    return {"miner": body[:32], "amount": int.from_bytes(body[32:40], "big"), "statements": statements}


def price(rate, ms):
    return min(-(-rate * ms // 3_600_000), (1 << 64) - 1)


def fee_of(posted, fee_bps):
    return -(-posted * fee_bps // 10_000)


def state_root(entries):
    """Of a dict of key bytes to value bytes."""
    placed = [(layouts.tagged("aitbc/state/v1", key), value) for key, value in entries.items()]

    def root(part, depth):
        if not part:
            return ZERO
        if len(part) == 1:
            return layouts.sha256(b"\0" + part[0][0] + part[0][1])
        halves = [[], []]
        for place, value in part:
            halves[place[depth // 8] >> 7 - depth % 8 & 1].append((place, value))
        return layouts.sha256(b"\1" + root(halves[0], depth + 1) + root(halves[1], depth + 1))

    return root(placed, 0)


def log_root(leaves):
    """The Merkle tree hash of RFC 6962, from its definition."""
    if not leaves:
        return layouts.sha256(b"")
    if len(leaves) == 1:
        return layouts.sha256(b"\0" + leaves[0])
    split = 1
    while 2 * split < len(leaves):
        split *= 2
    return layouts.sha256(b"\1" + log_root(leaves[:split]) + log_root(leaves[split:]))
