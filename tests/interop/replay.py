"""Replays an exported ledger, written from docs/ledger.md alone: python replay.py FILE

The file has one record a line, {"index":0,"leaf":"hexadecimal digits","hash":"of the leaf"}, and may end with the checkpoint that signs them,
{"checkpoint":"…"}. Prints a summary as JSON; at the first record that
breaks a rule it says which and why, and ends with exit code 1."""

import json
import sys

import layouts
import merkle
from ledger import (
    ALLOW, ALLOW_TERMS, BIND, CONSENT, DAY_MS, FEES, ISSUANCE, LOCK, LOCK_TERMS, NOBODY, SETTLEMENT, STAKE, STATEMENTS, TRANSFER, UNSTAKE,
    ZERO, check_transaction, consent_hash, decode_record, fee_of, log_root, parse_genesis, price, require, state_root,
)

COUNTERS = ("debits_posted", "credits_posted", "debits_pending", "credits_pending")


def wallet(address):
    return b"\0" + address


def stake(miner):
    return b"\1" + miner


def until(now, end, longest, what):
    require(now <= end <= now + longest, f"{what} has ended or is too far ahead")


class Ledger:
    """The state after the records so far."""

    def __init__(self):
        self.chain_id = None
        self.leaves, self.time, self.seals, self.unsealed = [], 0, 0, 0
        self.allocations, self.chain = [], None
        self.accounts, self.locks, self.bindings, self.allowances, self.unstakings, self.stakers = {}, {}, {}, {}, {}, {}
        self.forfeits, self.slashed = {}, {}
        self.paid, self.seeds, self.found_wrong = set(), {}, {}

    def apply(self, leaf):
        """ValueError says which rule a record breaks; the ledger is of no use then."""
        header, body = decode_record(leaf)
        require(header["index"] == len(self.leaves), f"index {header['index']} where {len(self.leaves)} comes next")
        require(header["time_ms"] >= self.time, "ledger time goes back")
        kind, self.now = header["type"], header["time_ms"]
        require((kind == 1) == (not self.leaves), "a genesis record stands first, and only there")
        if kind != 3:
            self.chain = None
        if self.allocations:
            require(kind == 8 and body["reason"] == 1, "an allocation of the genesis file comes next")
        {
            1: self.genesis, 2: self.transaction, 3: self.post, 4: self.void, 5: self.expire, 6: self.fault,
            7: lambda _: None, 8: self.mint, 9: self.slash, 10: self.acknowledgement, 12: self.seal, 13: self.audit_commit,
            14: self.audit_reveal,
        }[kind](body)
        self.leaves.append(leaf)
        self.time = self.now

    # The state.

    def account(self, key):
        return self.accounts.get(key) or dict.fromkeys((*COUNTERS, "nonce"), 0)

    def add(self, key, counter, amount):
        account = self.account(key)
        account[counter] += amount
        require(0 <= account[counter] < 1 << (64 if counter == "nonce" else 128), f"{counter} leaves its range")
        self.accounts[key] = account

    def move(self, source, target, amount):
        self.add(source, "debits_posted", amount)
        self.add(target, "credits_posted", amount)

    def available(self, key):
        account = self.account(key)
        return account["credits_posted"] - account["debits_posted"] - account["debits_pending"]

    def entries(self):
        found = {}
        for key, account in self.accounts.items():
            if any(account.values()):
                value = b"".join(account[counter].to_bytes(16, "big") for counter in COUNTERS)
                found[b"\1" + key] = value + account["nonce"].to_bytes(8, "big")
        tables = (self.locks, self.bindings, self.allowances, self.unstakings, self.stakers, self.forfeits, self.slashed)
        for kind, table in enumerate(tables, 2):
            for key, fields in table.items():
                found[bytes([kind]) + key] = b"".join(
                    value if isinstance(value, bytes) else value.to_bytes(SIZES[kind][field], "big")
                    for field, value in fields.items()
                )
        for day, value in self.seeds.items():
            found[b"\x09\1" + day.to_bytes(4, "big")] = b"".join(value)
        for job_ref, evidence in self.found_wrong.items():
            found[b"\x09\2" + job_ref] = evidence
        return found

    # What records do.

    def genesis(self, file):
        self.allocations, faucet, self.fee_bps, self.auditors = parse_genesis(file)
        self.most = sum(amount for _, amount in self.allocations) + faucet
        self.chain_id = layouts.tagged("aitbc/genesis/v1", file)
        self.log_key = bytes.fromhex(json.loads(file)["log_key"])

    def mint(self, body):
        if body["reason"] == 1:
            require(self.allocations and self.allocations[0] == (body["account"], body["amount"]), "not allocated next")
            self.allocations = self.allocations[1:]
        else:
            minted = self.account(ISSUANCE)["debits_posted"]
            require(body["amount"] >= 1 and minted + body["amount"] <= self.most, "more than the faucet may give")
        self.move(ISSUANCE, wallet(body["account"]), body["amount"])

    def transaction(self, body):
        fields, layout, signature, payload = body
        check_transaction(fields, layout, signature, payload, self.chain_id)
        until(self.now, fields["valid_until"], DAY_MS, "the transaction")
        account, kind, amount, target = (fields[name] for name in ("account", "kind", "amount", "target"))
        least = {TRANSFER: 1, LOCK: 1_000, STAKE: 1, UNSTAKE: 1, BIND: 0, ALLOW: 0}[kind]
        require(least <= amount < 1 << 63 and (kind != BIND or amount == 0), "the amount is out of bounds")
        if fields["sign_mode"] == 0:
            expected = self.account(wallet(account))["nonce"]
            require(fields["nonce"] == expected, f"nonce {fields['nonce']} where {expected} comes next")
            self.add(wallet(account), "nonce", 1)
        tx_id = layouts.tagged("aitbc/tx-id/v1", layout)
        if kind == TRANSFER:
            require(target[:12] == bytes(12), "the target is not an address")
            require(self.available(wallet(account)) >= amount, "insufficient funds")
            self.move(wallet(account), wallet(target[12:]), amount)
        elif kind == LOCK:
            self.lock(tx_id, fields, layouts.decode("lock terms", LOCK_TERMS, payload))
        elif kind in (STAKE, UNSTAKE):
            require(not payload, "it takes no payload")
            (self.stake if kind == STAKE else self.unstake)(tx_id, account, amount, target)
        elif kind == BIND:
            self.bind(account, target, layouts.decode("consent", CONSENT, payload))
        else:
            self.allow(account, amount, target, layouts.decode("allowance terms", ALLOW_TERMS, payload))

    def lock(self, tx_id, fields, terms):
        account, amount = fields["account"], fields["amount"]
        until(self.now, terms["expires_at"], 400 * DAY_MS, "the lock")
        signer, seq = ZERO, 0
        if fields["sign_mode"] == 1:
            signer = fields["public_key"][1:]
            allowance = self.allowances.get(account + signer)
            require(allowance is not None, "no allowance")
            require(fields["nonce"] == allowance["nonce"], f"nonce {fields['nonce']} where {allowance['nonce']} comes next")
            require(allowance["amount"] and self.now <= allowance["expires_at"], "the allowance has ended")
            require(amount <= allowance["amount"] - allowance["used"], "more than the allowance leaves")
            allowance["used"] += amount
            allowance["nonce"] += 1
            seq = allowance["seq"]
        require(self.available(wallet(account)) >= amount, "insufficient funds")
        self.add(wallet(account), "debits_pending", amount)
        self.add(SETTLEMENT, "credits_pending", amount)
        self.locks[tx_id] = {
            "payer": account, "signer": signer, "seq": seq, "target": fields["target"], "purpose": terms["purpose"],
            "amount": amount, "expires_at": terms["expires_at"], "max_rate": terms["max_rate"],
            "max_fee_bps": terms["max_fee_bps"], "miner_key": terms["miner_key"], "log_index": len(self.leaves),
            "newest": 0,
        }

    def stake(self, _, account, amount, miner):
        require(self.bindings.get(miner, {"account": NOBODY})["account"] == account, "the miner is not bound to this wallet")
        require(self.stakers.get(miner, {"account": account})["account"] == account, "another wallet staked")
        require(self.available(wallet(account)) >= amount, "insufficient funds")
        self.move(wallet(account), stake(miner), amount)
        self.stakers[miner] = {"account": account}

    def unstake(self, tx_id, account, amount, miner):
        require(self.stakers.get(miner) == {"account": account}, "this wallet has no stake there")
        require(self.available(stake(miner)) >= amount, "insufficient stake")
        self.add(stake(miner), "debits_pending", amount)
        self.unstakings[tx_id] = {"account": account, "miner": miner, "amount": amount, "matures_at": max(self.now + 7 * DAY_MS, self.forfeits.get(miner, {"until": 0})["until"] + 1)}

    def bind(self, account, identity, consent):
        binding = self.bindings.get(identity, {"account": NOBODY, "seq": 0})
        bound = binding["account"] != NOBODY
        require(not bound or binding["account"] == account, "bound to another wallet")
        require(consent["seq"] == binding["seq"] + 1, "its number is not the next one")
        if bound and consent["consent"] == bytes(64):
            account = NOBODY
        else:
            message = consent_hash(self.chain_id, account, identity, consent["seq"], consent["valid_until"])
            require(self.now <= consent["valid_until"], "the consent has ended")
            require(layouts.verify(identity, message, consent["consent"]), "the identity has not consented")
        self.bindings[identity] = {"account": account, "seq": consent["seq"]}

    def allow(self, account, amount, identity, terms):
        before = self.allowances.get(account + identity, {"seq": 0, "nonce": 0})
        require(terms["seq"] > before["seq"], "its number does not rise")
        if amount:
            until(self.now, terms["expires_at"], 400 * DAY_MS, "the allowance")
        self.allowances[account + identity] = {
            "seq": terms["seq"], "expires_at": terms["expires_at"], "amount": amount, "used": 0, "nonce": before["nonce"],
        }

    def resolve(self, tx_id, posted):
        lock = self.locks.pop(tx_id)
        self.add(wallet(lock["payer"]), "debits_pending", -lock["amount"])
        self.add(SETTLEMENT, "credits_pending", -lock["amount"])
        allowance = self.allowances.get(lock["payer"] + lock["signer"])
        if allowance is not None and allowance["seq"] == lock["seq"]:
            allowance["used"] -= lock["amount"] - posted

    def void(self, body):
        require(body["lock"] in self.locks, "the lock is not open")
        self.resolve(body["lock"], 0)

    def expire(self, body):
        if body["reason"] == 1:
            require(body["lock"] in self.locks, "the lock is not open")
            require(self.now >= self.locks[body["lock"]]["expires_at"], "too early")
            self.resolve(body["lock"], 0)
            return
        require(body["lock"] in self.unstakings, "no such unstaking")
        unstaking = self.unstakings.pop(body["lock"])
        require(self.now >= unstaking["matures_at"], "too early")
        key = stake(unstaking["miner"])
        forfeit = self.forfeits.get(unstaking["miner"])
        forfeited = forfeit is not None and unstaking["matures_at"] <= forfeit["until"]
        require(forfeited == (body["reason"] == 3), "slashed or not")
        if forfeited:
            forfeit["amount"] -= unstaking["amount"]
            if not forfeit["amount"]:
                del self.forfeits[unstaking["miner"]]
            return
        self.add(key, "debits_pending", -unstaking["amount"])
        self.move(key, wallet(unstaking["account"]), unstaking["amount"])
        if self.account(key)["credits_posted"] == self.account(key)["debits_posted"]:
            del self.stakers[unstaking["miner"]]

    def post(self, body):
        lock = self.locks.get(body["lock"])
        require(lock is not None, "the lock is not open")
        work = {name: value for name, value in body.items() if name not in ("lock", "posted", "fee")}
        if body["outcome"] > 4:
            return self.rental(lock, body)
        paid = 0
        if self.chain is None or self.chain["work"]["job_ref"] != body["job_ref"]:
            require(body["job_ref"] not in self.paid, "the job was paid before")
        else:
            require(self.chain["work"] == work, "two payments of one job differ")
            require(self.chain["log_index"] < lock["log_index"], "not in the order of the locks")
            paid = self.chain["paid"]
        require(lock["purpose"] == 1 and lock["target"] == body["job_ref"], "the lock is not for this job")
        require(body["rate"] <= lock["max_rate"], "over the lock's rate")
        require(self.fee_bps <= lock["max_fee_bps"], "over the lock's fee")
        require(lock["miner_key"] in (ZERO, body["miner"]), "not the lock's miner")
        require(body["billed_ms"] <= min(body["observed_ms"], body["work_ms"]), "billed for more than the work")
        posted = min(lock["amount"], price(body["rate"], body["billed_ms"]) - paid)
        fee = fee_of(paid + posted, self.fee_bps) - fee_of(paid, self.fee_bps)
        require(body["posted"] == posted, f"posted {body['posted']} where {posted} follows")
        require(body["fee"] == fee, f"fee {body['fee']} where {fee} follows")
        self.paid.add(body["job_ref"])
        self.chain = {"work": work, "paid": paid + posted, "log_index": lock["log_index"]}
        self.resolve(body["lock"], posted)
        self.pay(lock, body, posted, fee)

    def pay(self, lock, body, posted, fee):
        self.move(wallet(lock["payer"]), SETTLEMENT, posted)
        self.move(SETTLEMENT, wallet(body["payee"]), posted - fee)
        self.move(SETTLEMENT, FEES, fee)

    def rental(self, lock, body):
        require(lock["purpose"] == 2 and lock["target"] == body["job_ref"], "the lock is not for this rental")
        require(body["rate"] <= lock["max_rate"], "over the lock's rate")
        require(self.fee_bps <= lock["max_fee_bps"], "over the lock's fee")
        require(lock["miner_key"] in (ZERO, body["miner"]), "not the lock's miner")
        require(body["evidence_id"] == ZERO, "a rental's payment with evidence")
        require(body["attempt"] == lock["newest"] + 1, "not the next payment")
        require(body["work_ms"] % 10_000 == 0 and body["work_ms"] <= body["observed_ms"], "more beats than time")
        least = body["outcome"] == 6 and body["work_ms"] < body["billed_ms"] <= 60_000
        require(body["billed_ms"] == body["work_ms"] or least, "billed for another time")
        posted = min(lock["amount"], price(body["rate"], body["billed_ms"]))
        fee = fee_of(posted, self.fee_bps)
        require(body["posted"] == posted, f"posted {body['posted']} where {posted} follows")
        require(body["fee"] == fee, f"fee {body['fee']} where {fee} follows")
        self.chain = None
        if body["outcome"] == 6:
            self.resolve(body["lock"], posted)
        else:
            lock["amount"], lock["newest"] = lock["amount"] - posted, body["attempt"]
            self.add(wallet(lock["payer"]), "debits_pending", -posted)
            self.add(SETTLEMENT, "credits_pending", -posted)
        self.pay(lock, body, posted, fee)

    def audit_commit(self, body):
        require(self.auditors, "no auditors")
        require(body["day"] - self.now // DAY_MS in (0, 1), "neither of today nor of tomorrow")
        require(body["day"] not in self.seeds, "the day has its seed")
        self.seeds[body["day"]] = (body["commitment"], ZERO)

    def audit_reveal(self, body):
        day, seed = body["day"], body["seed"]
        commitment, told = self.seeds.get(day, (None, None))
        require(told == ZERO, "no seed to tell")
        require(self.now >= (day + 2) * DAY_MS, "too early")
        message = self.chain_id + day.to_bytes(4, "big") + seed
        require(seed != ZERO and layouts.tagged("aitbc/audit-seed/v1", message) == commitment, "not the seed committed to")
        self.seeds[day] = (commitment, seed)

    def fault(self, body):
        if body["reason"] == 4:
            require(body["client"] in self.auditors, "not an auditor")
            require(body["weight"] == 50_000, "the weight does not follow")
            require(body["job_ref"] not in self.found_wrong, "found wrong before")
            self.found_wrong[body["job_ref"]] = body["lock"]
            return
        lock = self.locks.get(body["lock"])
        require(lock is not None, "the lock is not open")
        require(lock["purpose"] == 1 and lock["target"] == body["job_ref"], "the lock is not for this job")
        require(lock["payer"] == body["client"], "not the lock's payer")
        require(lock["miner_key"] in (ZERO, body["miner"]), "not the lock's miner")
        require(body["attempt"] > lock["newest"], "an attempt that was named before")
        require(body["weight"] == fee_of(lock["amount"], self.fee_bps), "the weight does not follow")
        lock["newest"] = body["attempt"]

    def slash(self, body):
        miner, (one, other) = body["miner"], body["statements"]
        require(one[0] < other[0], "the statements are not in order")
        claims = []
        for _, kind, fields, layout, signature in (one, other):
            _, _, tag, size, digest = STATEMENTS[kind]
            require(fields["chain_id"] == self.chain_id, "for another chain")
            require(fields.get("miner_key", miner) == miner, "another miner's receipt")
            require(layouts.verify(miner, layouts.tagged(tag, layout), signature), "the signature is not valid")
            claims.append(([fields[name] for name in ("job_id", "job_ref", "attempt")] + [fields[size]], fields[digest]))
        require(claims[0][0] == claims[1][0] and claims[0][1] != claims[1][1], "no contradiction")
        key = miner + one[2]["job_ref"] + one[2]["attempt"].to_bytes(2, "big")
        require(key not in self.slashed, "slashed before")
        account = self.account(stake(miner))
        staked, pending = account["credits_posted"] - account["debits_posted"], account["debits_pending"]
        require(staked > 0 and body["amount"] == staked, f"amount {body['amount']} where {staked} is staked")
        if pending:
            before = self.forfeits.get(miner, {"until": 0, "amount": 0})
            self.forfeits[miner] = {
                "until": max(self.now + 7 * DAY_MS, before["until"] + 1), "amount": before["amount"] + pending,
            }
            self.add(stake(miner), "debits_pending", -pending)
        self.move(stake(miner), ISSUANCE, staked)
        del self.stakers[miner]
        self.slashed[key] = {"amount": staked}

    def acknowledgement(self, body):
        fields, layout, signature = body
        require(fields["chain_id"] == self.chain_id, "for another chain")
        valid = layouts.verify(fields["owner"], layouts.tagged("aitbc/ack/v1", layout), signature)
        require(valid, "the signature is not valid")

    def seal(self, body):
        issuance = self.account(ISSUANCE)
        expected = {
            "height": self.seals, "first": self.unsealed, "count": len(self.leaves) - self.unsealed,
            "minted": issuance["debits_posted"].to_bytes(16, "big"), "burned": issuance["credits_posted"].to_bytes(16, "big"),
            "state_root": state_root(self.entries()),
        }
        for name, value in expected.items():
            require(body[name] == value, f"{name} does not follow from the records")
        require(body["count"] > 0, "a seal of nothing")
        self.seals, self.unsealed = self.seals + 1, len(self.leaves) + 1


# Bytes of the numbers in the state's values, by type of entry.
SIZES = {
    2: {
        "seq": 4, "purpose": 1, "amount": 8, "expires_at": 8, "max_rate": 8, "max_fee_bps": 2, "log_index": 8,
        "newest": 2,
    },
    3: {"seq": 4},
    4: {"seq": 4, "expires_at": 8, "amount": 8, "used": 8, "nonce": 8},
    5: {"amount": 8, "matures_at": 8},
    6: {},
    7: {"until": 8, "amount": 16},
    8: {"amount": 8},
}


def balances(ledger):
    """Micro-AIT of each wallet: what it has, and what of that is not set aside."""
    found = {}
    for key in sorted(ledger.accounts):
        if key[0] == 0:
            account = ledger.account(key)
            found[layouts.address_text(key[1:])] = {
                "balance": str(account["credits_posted"] - account["debits_posted"]), "available": str(ledger.available(key)),
            }
    return found


def main(file):
    ledger, signed = Ledger(), None
    with open(file, encoding="utf-8") as lines:
        for place, line in enumerate(lines):
            try:
                record = json.loads(line)
                require(signed is None, "it stands after the checkpoint")
                if "checkpoint" in record:
                    origin = "aitbc/" + ledger.chain_id.hex()
                    signed = merkle.open_checkpoint(origin, ledger.log_key, record["checkpoint"])
                    continue
                require(record["index"] == place, f"line {place + 1} has index {record['index']}")
                require(record.get("hash") in (None, log_root([bytes.fromhex(record["leaf"])]).hex()), "its hash is not that of its leaf")
                ledger.apply(bytes.fromhex(record["leaf"]))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise SystemExit(f"error: record {place}: {error}")
    require(ledger.leaves and not ledger.allocations, "the log ends before the genesis file's allocations")
    root = log_root(ledger.leaves)
    require(signed in (None, (len(ledger.leaves), root)), "the records are not those that the checkpoint signs")
    require(signed is None or ledger.unsealed == len(ledger.leaves), "the last record that the checkpoint covers is no seal")
    print(json.dumps({
        "chain_id": ledger.chain_id.hex(), "size": len(ledger.leaves), "seals": ledger.seals,
        "log_root": root.hex(), "state_root": state_root(ledger.entries()).hex(),
        "signed": signed is not None, "balances": balances(ledger),
    }))


if __name__ == "__main__":
    main(sys.argv[1])
