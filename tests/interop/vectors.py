"""Checks proto/vectors/*.json with an implementation of its own (layouts.py): python vectors.py FOLDER"""

import json
import pathlib
import sys

import layouts
import ledger_vectors
import merkle

FOLDER = pathlib.Path(sys.argv[1])
checks = 0


def check(condition, what):
    global checks
    checks += 1
    if not condition:
        raise SystemExit(f"error: {what}")


def load(name):
    return json.loads((FOLDER / name).read_text())


def refused(call, what):
    try:
        call()
    except ValueError:
        check(True, what)
        return
    check(False, f"{what}: accepted")


def check_layout(file, layout, sign_tag, id_tag=None, id_field=None):
    stored = load(file)
    name = stored["layout"]
    check(stored["length"] == layouts.length(layout), f"{file}: length")
    for vector in stored["vectors"]:
        what = f"{file}, {vector['name']}"
        body = layouts.encode(layout, vector["fields"])
        check(body.hex() == vector["bytes"], f"{what}: bytes")
        fields = layouts.decode(name, layout, body)
        check(layouts.encode(layout, fields) == body, f"{what}: does not survive decoding")
        if sign_tag is not None:
            seed, key = bytes.fromhex(stored["signer_seed"]), bytes.fromhex(stored["signer_key"])
            check(layouts.public_key(seed) == key, f"{what}: key")
            message = layouts.tagged(sign_tag, body)
            signature = bytes.fromhex(vector["signature"])
            check(layouts.sign(seed, message) == signature, f"{what}: signature")
            check(layouts.verify(key, message, signature), f"{what}: signature does not verify")
            check(not layouts.verify(key, layouts.tagged(sign_tag, body + b"\0"), signature), f"{what}: any message")
        if id_tag is not None:
            signature = bytes.fromhex(vector.get("signature", ""))
            check(layouts.tagged(id_tag, body + signature).hex() == vector[id_field], f"{what}: {id_field}")
    for case in stored["invalid"]:
        data = bytes.fromhex(case["bytes"])
        refused(lambda: layouts.decode(name, layout, data), f"{file}, {case['name']}")


check_layout("job_spec.json", layouts.JOB_SPEC, None, "aitbc/spec/v1", "job_ref")
check_layout("assignment.json", layouts.ASSIGNMENT, "aitbc/assign/v1", "aitbc/assign-id/v1", "assignment_hash")
check_layout("stream_checkpoint.json", layouts.STREAM_CHECKPOINT, "aitbc/stream/v1")
check_layout("receipt.json", layouts.RECEIPT, "aitbc/receipt/v1", "aitbc/receipt-id/v1", "receipt_id")
check_layout("session_proof.json", layouts.SESSION_PROOF, "aitbc/session/v1")

for vector in load("tagged_hash.json")["vectors"]:
    data = bytes.fromhex(vector["bytes"])
    check("sha256:" + layouts.sha256(data).hex() == vector["sha256"], "tagged_hash.json: sha256")
    check(layouts.tagged(vector["tag"], data).hex() == vector["hash"], f"tagged_hash.json: {vector['tag']}")

ids = load("ids.json")
check(layouts.shard_of(bytes.fromhex(ids["owner_key"])) == ids["owner_shard"], "ids.json: shard of the owner")
for vector in ids["vectors"]:
    data = bytes.fromhex(vector["bytes"])
    for prefix in ("job", "miner"):
        text = vector[f"{prefix}_id"]
        check(layouts.id_text(prefix, data) == text, f"ids.json: {text}")
        check(layouts.id_bytes(prefix, text) == data, f"ids.json: {text} back")
    check(int.from_bytes(data[:6], "big") == int(vector["created_ms"]), "ids.json: created_ms")
    check((data[6] & 15) << 2 | data[7] >> 6 == vector["shard"], "ids.json: shard")
    check(data[6] >> 4 == 7 and data[8] >> 6 == 2, "ids.json: not a UUIDv7")
for text in ids["invalid_job_ids"]:
    refused(lambda: layouts.id_bytes("job", text), f"ids.json: {text!r}")

for vector in load("requirements.json")["vectors"]:
    expected = vector.pop("requirements_hash")
    check(layouts.requirements_hash(**vector).hex() == expected, f"requirements.json: {vector}")

names = load("model_name.json")
for vector in names["vectors"]:
    canonical = layouts.canonical_model(vector["name"])
    check(canonical == vector["canonical"], f"model_name.json: {vector['name']}")
    check(layouts.sha256(canonical.encode()).hex() == vector["model_name_hash"], f"model_name.json: {canonical}")
for name in names["invalid"]:
    refused(lambda: layouts.canonical_model(name), f"model_name.json: {name!r}")

tokens = load("token.json")
chain, seed = bytes.fromhex(tokens["chain_id"]), bytes.fromhex(tokens["seed"])
for vector in tokens["vectors"]:
    own = layouts.token(seed, chain, vector["scope"], tokens["now_s"], vector["lifetime_s"], vector["jti"])
    check(own == vector["token"], f"token.json: {vector['scope']}")
    check(layouts.token_problem(own, chain, tokens["now_s"]) is None, f"token.json: {vector['scope']} refused")
for case in tokens["invalid"]:
    problem = layouts.token_problem(case["token"], chain, tokens["now_s"])
    check(problem is not None, f"token.json: {case['name']} accepted")

genesis = load("genesis.json")
file = json.dumps(genesis["fields"], sort_keys=True, separators=(",", ":"))
check(file == genesis["file"], "genesis.json: file")
check(layouts.tagged("aitbc/genesis/v1", file.encode()).hex() == genesis["chain_id"], "genesis.json: chain id")

check(
    layouts.keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470", "keccak256 of nothing"
)
payees = load("dev_payee.json")
for vector in payees["vectors"]:
    address = layouts.dev_payee(bytes.fromhex(vector["seed"]))
    check(address.hex() == vector["bytes"], "dev_payee.json: bytes")
    check(layouts.address_text(address) == vector["address"], "dev_payee.json: checksum")
    check(layouts.is_address(vector["address"]), "dev_payee.json: address")
for text in payees["invalid_addresses"]:
    check(not layouts.is_address(text), f"dev_payee.json: {text!r} accepted")

ledger_vectors.check_all(load, check, refused)
def hashes(texts):
    return [bytes.fromhex(text) for text in texts]


def head_of(fields):
    return int(fields["size"]), bytes.fromhex(fields["root"])


state = load("state_tree.json")
for vector in state["keys"]:
    key = layouts.tagged("aitbc/state/v1", bytes.fromhex(vector["entry"]))
    check(key.hex() == vector["key"], f"state_tree.json: key of {vector['entry']}")
for tree in state["trees"]:
    what = f"state_tree.json, {tree['name']}"
    entries = {bytes.fromhex(entry["key"]): bytes.fromhex(entry["value"]) for entry in tree["entries"]}
    root = merkle.state_root(entries)
    check(root.hex() == tree["root"], f"{what}: root")
    for vector in tree["proofs"]:
        key, proof = bytes.fromhex(vector["key"]), bytes.fromhex(vector["proof"])
        check(merkle.prove_state(entries, key) == proof, f"{what}: proof of {vector['key']}")
        value = merkle.verify_state(root, key, proof)
        check(value == entries.get(key), f"{what}: value of {vector['key']}")
        check((value and value.hex()) == vector["value"], f"{what}: stored value of {vector['key']}")
for case in state["invalid"]:
    parts = hashes([case["root"], case["key"], case["proof"]])
    refused(lambda: merkle.verify_state(*parts), f"state_tree.json, {case['name']}")

log = load("log.json")
leaves = [merkle.sha256(b"\0", record) for record in hashes(log["records"])]
check(hashes(log["rows"]) == [merkle.log_row(index, leaves) for index in range(len(leaves))], "log.json: rows")
heads = [head_of(fields) for fields in log["heads"]]
check(heads == [(size, merkle.log_root(leaves[:size])) for size in range(len(leaves) + 1)], "log.json: heads")
for vector in log["inclusion"]:
    index, size, proof = int(vector["index"]), int(vector["size"]), hashes(vector["proof"])
    check(merkle.inclusion_proof(index, leaves[:size]) == proof, f"log.json: {index} of {size}")
    merkle.verify_inclusion(proof, index, leaves[index], *heads[size])
for vector in log["consistency"]:
    old, new, proof = int(vector["old"]), int(vector["new"]), hashes(vector["proof"])
    check(merkle.consistency_proof(old, leaves[:new]) == proof, f"log.json: {old} to {new}")
    merkle.verify_consistency(proof, *heads[old], *heads[new])
for case in log["invalid_inclusion"]:
    proof, leaf = hashes(case["proof"]), bytes.fromhex(case["leaf"])
    refused(
        lambda: merkle.verify_inclusion(proof, int(case["index"]), leaf, *head_of(case["head"])),
        f"log.json, inclusion, {case['name']}",
    )
for case in log["invalid_consistency"]:
    proof = hashes(case["proof"])
    refused(
        lambda: merkle.verify_consistency(proof, *head_of(case["old"]), *head_of(case["new"])),
        f"log.json, consistency, {case['name']}",
    )

checkpoints = load("checkpoint.json")
origin, seed, key = checkpoints["origin"], *hashes([checkpoints["log_seed"], checkpoints["log_key"]])
check(origin == "aitbc/" + checkpoints["chain_id"], "checkpoint.json: origin")
check(layouts.public_key(seed) == key, "checkpoint.json: key")
for vector in checkpoints["vectors"]:
    head = head_of(vector["head"])
    check(merkle.sign_checkpoint(seed, origin, *head) == vector["text"], f"checkpoint.json: size {head[0]}")
for vector in checkpoints["vectors"] + [checkpoints["witnessed"]]:
    found = merkle.open_checkpoint(origin, key, vector["text"])
    check(found == head_of(vector["head"]), f"checkpoint.json: size {vector['head']['size']} opened")
for case in checkpoints["invalid"]:
    refused(lambda: merkle.open_checkpoint(origin, key, case["text"]), f"checkpoint.json, {case['name']}")
for vector in checkpoints["advances"]:
    found = merkle.advance(origin, key, head_of(vector["pinned"]), vector["checkpoint"], hashes(vector["proof"]))
    check(found == vector["result"], f"checkpoint.json, {vector['name']}: {found}")

print(f"{checks} checks passed")
