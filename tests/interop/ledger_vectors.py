"""Checks the vectors of transactions, records and a whole ledger: called by vectors.py."""

import copy

import layouts
import ledger
from replay import Ledger
from transaction import build


def check_all(load, check, refused):
    check_transactions(load("transaction.json"), check, refused)
    check_records(load("record.json"), check, refused)
    check_ledger(load("ledger.json"), check, refused)


def check_transactions(stored, check, refused):
    chain = bytes.fromhex(stored["chain_id"])
    check(stored["length"] == layouts.length(ledger.TRANSACTION), "transaction.json: length")
    secrets = {}
    for wallet in stored["keys"]["wallets"]:
        key = ledger.wallet_public_key(bytes.fromhex(wallet["secret"]))
        check(key.hex() == wallet["public_key"], "transaction.json: key")
        check(layouts.address_text(ledger.wallet_address(key)) == wallet["address"], "transaction.json: address")
        secrets[wallet["public_key"]] = {"secret": wallet["secret"]}
    for identity in stored["keys"]["identities"]:
        secrets["00" + identity["public_key"]] = {"seed": identity["seed"]}
    for vector in stored["vectors"]:
        what, fields = f"transaction.json, {vector['name']}", vector["fields"]
        parsed = ledger.decode_stored(bytes.fromhex(vector["stored"]))
        check(layouts.encode(ledger.TRANSACTION, fields).hex() == vector["bytes"], f"{what}: bytes")
        check(layouts.encode(ledger.TRANSACTION, parsed[0]) == parsed[1], f"{what}: does not survive decoding")
        check(parsed[1].hex() + vector["signature"] in vector["stored"], f"{what}: stored")
        check(parsed[3].hex() == vector["payload"], f"{what}: payload")
        check(layouts.tagged("aitbc/tx-sign/v1", parsed[1]).hex() == vector["signed_hash"], f"{what}: signed hash")
        ledger.check_transaction(*parsed, chain)
        order = {**fields, **secrets[fields["public_key"]], "memo": vector["payload"], "terms": vector["terms"]}
        check(build(order) == {"tx_id": vector["tx_id"], "stored": vector["stored"]}, f"{what}: built and signed anew")
    for case in stored["invalid"]:
        data = bytes.fromhex(case["bytes"])
        refused(lambda: layouts.decode("transaction v1", ledger.TRANSACTION, data), f"transaction.json, {case['name']}")
    for case in stored["invalid_stored"]:
        data = bytes.fromhex(case["bytes"])
        refused(lambda: ledger.decode_stored(data), f"transaction.json, {case['name']}")
    for case in stored["refused"]:
        parsed = ledger.decode_stored(bytes.fromhex(case["stored"]))
        refused(lambda: ledger.check_transaction(*parsed, chain), f"transaction.json, {case['name']}")


def body_bytes(kind, fields):
    if kind == 1:
        return fields["file"].encode()
    if kind == 2:
        return bytes.fromhex(fields["stored"])
    if kind == 9:
        statements = bytes.fromhex("".join(fields["statements"]))
        return bytes.fromhex(fields["miner"]) + int(fields["amount"]).to_bytes(8, "big") + statements
    if kind == 10:
        fields = dict(fields)
        signature = bytes.fromhex(fields.pop("signature"))
        return layouts.encode(ledger.ACKNOWLEDGEMENT, fields) + signature
    if kind == 12:
        wide = {name: int(fields[name]).to_bytes(16, "big") for name in ("minted", "burned")}
        return layouts.encode(ledger.SEAL, {**fields, **wide})
    return layouts.encode(ledger.BODIES[kind][1], fields)


def check_records(stored, check, refused):
    for vector in stored["vectors"]:
        header = vector["header"]
        data = layouts.encode(ledger.HEADER, header) + body_bytes(header["type"], vector["body"])
        check(data.hex() == vector["bytes"], f"record.json, {vector['name']}: bytes")
        decoded, _ = ledger.decode_record(data)
        check(decoded["index"] == int(header["index"]), f"record.json, {vector['name']}: index")
    for case in stored["invalid"]:
        data = bytes.fromhex(case["bytes"])
        refused(lambda: ledger.decode_record(data), f"record.json, {case['name']}")


def check_ledger(stored, check, refused):
    replayed = Ledger()
    seals = {seal["size"]: seal for seal in stored["seals"]}
    for size in range(len(stored["records"]) + 1):
        for case in stored["refused"]:
            if case["after"] == size:
                leaf = bytes.fromhex(case["leaf"])
                refused(lambda: copy.deepcopy(replayed).apply(leaf), f"ledger.json, {case['name']}")
        if size == len(stored["records"]):
            break
        record, before = stored["records"][size], replayed.entries()
        leaf = bytes.fromhex(record["leaf"])
        if leaf[1] == 12:
            wrong = leaf[:60] + bytes([leaf[60] ^ 1]) + leaf[61:]
            refused(lambda: copy.deepcopy(replayed).apply(wrong), "ledger.json: another state root")
        replayed.apply(leaf)
        for change in record["changed"]:
            key, value = bytes.fromhex(change["key"]), change["value"]
            if value is None:
                before.pop(key, None)
            else:
                before[key] = bytes.fromhex(value)
        check(replayed.entries() == before, f"ledger.json, record {size}: entries")
        seal = seals.pop(size + 1, None)
        check((seal is not None) == (leaf[1] == 12), f"ledger.json, record {size}: seal")
        if seal is not None:
            check(ledger.state_root(replayed.entries()).hex() == seal["state_root"], f"ledger.json, record {size}: state root")
            check(ledger.log_root(replayed.leaves).hex() == seal["log_root"], f"ledger.json, record {size}: log root")
    check(replayed.chain_id.hex() == stored["chain_id"], "ledger.json: chain id")
    check(not seals, "ledger.json: seals left over")
    state = {bytes.fromhex(entry["key"]): bytes.fromhex(entry["value"]) for entry in stored["state"]}
    check(replayed.entries() == state, "ledger.json: state")
    for entry in stored["state"]:
        place = layouts.tagged("aitbc/state/v1", bytes.fromhex(entry["key"]))
        check(place.hex() == entry["place"], "ledger.json: place")
