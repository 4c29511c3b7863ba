"""Builds and signs transactions with nothing of AITBC's own, written from docs/formats.md: python transaction.py FILE

The file has one JSON object a line: kind, chain_id, nonce, valid_until, amount, target; `secret` of a wallet, or `seed` of an identity
and the `account` that gave it an allowance; `memo` (hexadecimal digits) or the `terms` of the kind. Writes one a line:
tx_id and the stored bytes."""

import json
import sys

import layouts
import ledger

TERMS = {ledger.LOCK: ledger.LOCK_TERMS, ledger.BIND: ledger.CONSENT, ledger.ALLOW: ledger.ALLOW_TERMS}


def build(order):
    kind = order["kind"]
    payload = layouts.encode(TERMS[kind], order["terms"]) if kind in TERMS else bytes.fromhex(order.get("memo", ""))
    fields = {
        "version": 1, "kind": kind, "flags": 0, "max_fee": 0, "payload_hash": ledger.payload_hash(payload),
        **{name: order[name] for name in ("chain_id", "nonce", "valid_until", "amount", "target")},
    }
    if "seed" in order:
        seed = bytes.fromhex(order["seed"])
        fields |= {"sign_mode": 1, "public_key": b"\0" + layouts.public_key(seed), "account": order["account"]}
        body = layouts.encode(ledger.TRANSACTION, fields)
        signature = layouts.sign(seed, layouts.tagged("aitbc/tx-sign/v1", body))
    else:
        secret = bytes.fromhex(order["secret"])
        key = ledger.wallet_public_key(secret)
        fields |= {"sign_mode": 0, "public_key": key, "account": ledger.wallet_address(key)}
        body = layouts.encode(ledger.TRANSACTION, fields)
        signature = ledger.wallet_sign(secret, layouts.tagged("aitbc/tx-sign/v1", body))
    stored = ledger.encode_stored(body, signature, payload)
    return {"tx_id": layouts.tagged("aitbc/tx-id/v1", body).hex(), "stored": stored.hex()}


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as lines:
        for line in lines:
            print(json.dumps(build(json.loads(line))))
