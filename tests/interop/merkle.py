"""The state root, the log and its checkpoints, written from docs/formats.md, RFC 6962 and the C2SP's pages alone: nothing
here is shared with the Rust code. Used by vectors.py."""

import base64
import hashlib

import layouts

EMPTY = bytes(32)
MAX_VALUE_BYTES = 1024
MAX_LOG_SIZE = 1 << 62
MAX_PROOF_HASHES = 63
MAX_CHECKPOINT_BYTES = 4096


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


# The state root.

def bit(key, depth):
    return key[depth // 8] >> (7 - depth % 8) & 1


def state_root(entries, depth=0):
    """The root of a dictionary of entries."""
    if not entries:
        return EMPTY
    if len(entries) == 1:
        [(key, value)] = entries.items()
        return sha256(b"\0", key, value)
    halves = [{key: value for key, value in entries.items() if bit(key, depth) == side} for side in (0, 1)]
    return sha256(b"\1", *(state_root(half, depth + 1) for half in halves))


def prove_state(entries, key):
    """The bytes of the proof of one key, from the definition of the tree."""
    siblings, depth = [], 0
    while len(entries) > 1:
        siblings.append(state_root({k: v for k, v in entries.items() if bit(k, depth) != bit(key, depth)}, depth + 1))
        entries = {k: v for k, v in entries.items() if bit(k, depth) == bit(key, depth)}
        depth += 1
    end = 0 if not entries else 1 if key in entries else 2
    bitmap = bytearray((depth + 7) // 8)
    for at, sibling in enumerate(siblings):
        if sibling != EMPTY:
            bitmap[at // 8] |= 0x80 >> at % 8
    out = bytes([1, end]) + depth.to_bytes(2, "big") + bytes(bitmap)
    out += b"".join(sibling for sibling in siblings if sibling != EMPTY)
    for other, value in entries.items():
        out += (other if end == 2 else b"") + len(value).to_bytes(2, "big") + value
    return out


def verify_state(root, key, proof):
    """The value under a key, or None where it is absent; ValueError for a proof that does not hold."""
    at = 0

    def take(count):
        nonlocal at
        part = proof[at:at + count]
        at += count
        if len(part) != count:
            raise ValueError("the proof ends too soon")
        return part

    version, end = take(2)
    count = int.from_bytes(take(2), "big")
    if version != 1 or end > 2 or count > 256:
        raise ValueError("not a proof")
    bitmap = take((count + 7) // 8)
    bits = [bool(bit(bitmap, place)) for place in range(8 * len(bitmap))]
    if any(bits[count:]) or count and not bits[count - 1]:
        raise ValueError("a bitmap that no proof has")
    siblings = [take(32) if is_set else EMPTY for is_set in bits[:count]]
    if any(is_set and sibling == EMPTY for is_set, sibling in zip(bits, siblings)):
        raise ValueError("an empty sibling is never written")
    found, value = EMPTY, None
    if end:
        other = take(32) if end == 2 else key
        length = int.from_bytes(take(2), "big")
        if not 1 <= length <= MAX_VALUE_BYTES:
            raise ValueError("no entry is as long")
        value = take(length)
        if end == 2 and (other == key or any(bit(other, depth) != bit(key, depth) for depth in range(count))):
            raise ValueError("the other entry is not on the path")
        found = sha256(b"\0", other, value)
    if at != len(proof):
        raise ValueError("the proof goes on")
    for depth in reversed(range(count)):
        pair = (siblings[depth], found) if bit(key, depth) else (found, siblings[depth])
        found = sha256(b"\1", *pair)
    if found != root:
        raise ValueError("another root")
    return value if end == 1 else None


# The log (RFC 6962, section 2.1; the checks are those of RFC 9162, sections 2.1.3.2 and 2.1.4.2).

def split(size):
    return 1 << (size - 1).bit_length() - 1


def log_root(leaves):
    if not leaves:
        return sha256()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return sha256(b"\1", log_root(leaves[:k]), log_root(leaves[k:]))


def inclusion_proof(index, leaves):
    if len(leaves) <= 1:
        return []
    k = split(len(leaves))
    if index < k:
        return inclusion_proof(index, leaves[:k]) + [log_root(leaves[k:])]
    return inclusion_proof(index - k, leaves[k:]) + [log_root(leaves[:k])]


def consistency_proof(old, leaves):
    def part(old, leaves, is_whole):
        if old == len(leaves):
            return [] if is_whole else [log_root(leaves)]
        k = split(len(leaves))
        if old <= k:
            return part(old, leaves[:k], is_whole) + [log_root(leaves[k:])]
        return part(old - k, leaves[k:], False) + [log_root(leaves[:k])]

    return part(old, leaves, True) if 0 < old < len(leaves) else []


def log_row(index, leaves):
    """What is stored for a record: its leaf's hash and the subtrees that it completes."""
    row, width = b"", 1
    while (index + 1) % width == 0 and width <= index + 1:
        row += log_root(leaves[index + 1 - width:index + 1])
        width *= 2
    return row


def verify_inclusion(proof, index, leaf, size, root):
    if len(proof) > MAX_PROOF_HASHES or size > MAX_LOG_SIZE or index >= size:
        raise ValueError("out of bounds")
    fn, sn, r = index, size - 1, leaf
    for hash in proof:
        if sn == 0:
            raise ValueError("too many hashes")
        if fn & 1 or fn == sn:
            r = sha256(b"\1", hash, r)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = sha256(b"\1", r, hash)
        fn, sn = fn >> 1, sn >> 1
    if sn or r != root:
        raise ValueError("another root")


def verify_consistency(proof, old, old_root, new, new_root):
    if len(proof) > MAX_PROOF_HASHES or new > MAX_LOG_SIZE or new < old:
        raise ValueError("out of bounds")
    if old in (0, new):
        if proof or old == 0 and old_root != sha256() or old == new and old_root != new_root:
            raise ValueError("another root")
        return
    if not proof:
        raise ValueError("no proof")
    hashes = ([old_root] if old & (old - 1) == 0 else []) + proof
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = hashes[0]
    for hash in hashes[1:]:
        if sn == 0:
            raise ValueError("too many hashes")
        if fn & 1 or fn == sn:
            fr, sr = sha256(b"\1", hash, fr), sha256(b"\1", hash, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = sha256(b"\1", sr, hash)
        fn, sn = fn >> 1, sn >> 1
    if sn or fr != old_root or sr != new_root:
        raise ValueError("another root")


# Checkpoints.

def checkpoint_key(origin, key):
    return sha256(origin.encode(), b"\n\1", key)[:4]


def sign_checkpoint(seed, origin, size, root):
    text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"
    signature = checkpoint_key(origin, layouts.public_key(seed)) + layouts.sign(seed, text.encode())
    return f"{text}\n— {origin} {base64.b64encode(signature).decode()}\n"


def open_checkpoint(origin, key, checkpoint):
    """Size and root of a checkpoint; ValueError unless the log's own key signed it."""
    if len(checkpoint.encode()) > MAX_CHECKPOINT_BYTES:
        raise ValueError("too long")
    text, blank, signatures = checkpoint.rpartition("\n\n")
    text += "\n"
    if not blank or not signatures.endswith("\n"):
        raise ValueError("not a note")
    parsed = []
    for line in signatures[:-1].split("\n"):
        dash, name, encoded = line.split(" ") if line.count(" ") == 2 else ("", "", "")
        data = base64.b64decode(encoded, validate=True)
        if dash != "—" or not name or "+" in name or len(data) < 5:
            raise ValueError("not a signature")
        parsed.append((name, data[:4], data[4:]))
    lines = text[:-1].split("\n")
    if len(lines) != 3 or lines[0] != origin:
        raise ValueError("another log's")
    size, root = int(lines[1]), base64.b64decode(lines[2], validate=True)
    if str(size) != lines[1] or len(root) != 32 or base64.b64encode(root).decode() != lines[2]:
        raise ValueError("not a checkpoint")
    if not 0 <= size <= MAX_LOG_SIZE or (size == 0) != (root == sha256()):
        raise ValueError("no log has this size and root")
    own = [data for name, key_id, data in parsed if name == origin and key_id == checkpoint_key(origin, key)]
    if not own or not layouts.verify(key, text.encode(), own[0]):
        raise ValueError("not signed by the log")
    return size, root


def advance(origin, key, pinned, checkpoint, proof):
    """What a checkpoint is to a client that pinned an older size and root."""
    size, root = open_checkpoint(origin, key, checkpoint)
    if size < pinned[0]:
        return "rollback"
    if size == pinned[0]:
        return "same" if root == pinned[1] else "fork"
    try:
        verify_consistency(proof, *pinned, size, root)
    except ValueError:
        return "inconsistent"
    return "newer"
