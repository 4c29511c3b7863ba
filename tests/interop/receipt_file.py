"""Checks a receipt file without AITBC, as docs/formats.md describes it: receipt_file.py FILE. Prints what it found as JSON."""

import base64
import json
import sys

import layouts
import ledger
import merkle
from ledger import require


def tlog_proof(text):
    """(index, hashes, checkpoint) of a c2sp.org/tlog-proof@v1."""
    head, blank, checkpoint = text.partition("\n\n")
    lines = head.split("\n")
    require(blank and lines[0] == "c2sp.org/tlog-proof@v1", "no tlog-proof")
    require(lines[1].startswith("index ") and lines[1][6:] == str(int(lines[1][6:])), "no index")
    return int(lines[1][6:]), [base64.b64decode(line, validate=True) for line in lines[2:]], checkpoint


def cap_ms(assignment, receipt, input_len):
    tokens_in, tokens_out = min(receipt["tokens_in"], input_len + 1024), min(receipt["tokens_out"], receipt["output_len"])
    return 1000 + sum(
        -(-10**6 * tokens // (speed or 1000))
        for tokens, speed in ((tokens_in, assignment["prompt_speed"]), (tokens_out, assignment["output_speed"]))
    )


def check_record(kind, body, spec, assignment, receipt, receipt_id):
    require(kind in (3, 7), "a record of another kind")
    require(body["evidence_id" if kind == 3 else "receipt_id"] == receipt_id, "another receipt")
    for field, wanted in (("job_ref", "job_ref"), ("attempt", "attempt"), ("miner", "miner_key")):
        require(body[field] == receipt[wanted], f"another {field}")
    if kind == 7:
        return
    require(body["outcome"] == receipt["outcome"] and body["work_ms"] == receipt["work_ms"], "another work")
    require(body["payee"] == assignment["payee"] and body["rate"] == assignment["rate"], "other terms")
    billed = min(body["observed_ms"], receipt["work_ms"], cap_ms(assignment, receipt, spec["input_len"]))
    require(body["billed_ms"] == billed, "another time billed")
    require(body["posted"] <= ledger.price(body["rate"], billed), "over its price")


def check(file):
    binary = {name: base64.b64decode(file[name], validate=True) for name in file if name != "ledger"}
    spec = layouts.decode("job spec v1", layouts.JOB_SPEC, binary["spec"])
    assignment = layouts.decode("assignment v1", layouts.ASSIGNMENT, binary["assignment"])
    receipt = layouts.decode("receipt v1", layouts.RECEIPT, binary["receipt"])

    def signed(name, tag, key):
        return layouts.verify(key, layouts.tagged(tag, binary[name]), binary[f"{name}_sig"])

    job_ref = layouts.tagged("aitbc/spec/v1", binary["spec"])
    require(signed("assignment", "aitbc/assign/v1", binary["service_key"]), "the assignment's signature")
    require(assignment["job_ref"] == job_ref and assignment["chain_id"] == spec["chain_id"], "another assignment")
    require(signed("receipt", "aitbc/receipt/v1", assignment["miner_key"]), "the receipt's signature")
    named = layouts.tagged("aitbc/assign-id/v1", binary["assignment"] + binary["assignment_sig"])
    require(receipt["assignment_hash"] == named, "the receipt names another assignment")
    for field in ("chain_id", "job_id", "job_ref", "attempt", "miner_key", "payee"):
        require(receipt[field] == assignment[field], f"another {field}")
    receipt_id = layouts.tagged("aitbc/receipt-id/v1", binary["receipt"] + binary["receipt_sig"])
    found = {"job_id": layouts.id_text("job", receipt["job_id"]), "leaf": None, "verdict": None}
    if "acknowledgement" in file:
        said = layouts.decode("acknowledgement", ledger.ACKNOWLEDGEMENT, binary["acknowledgement"])
        require(said["receipt_id"] == receipt_id and said["owner"] == spec["owner"], "another acknowledgement")
        require(said["chain_id"] == spec["chain_id"], "an acknowledgement on another chain")
        require(signed("acknowledgement", "aitbc/ack/v1", spec["owner"]), "the acknowledgement's signature")
        found["verdict"] = said["verdict"]
    if file["ledger"]:
        leaf, key = (base64.b64decode(file["ledger"][name], validate=True) for name in ("leaf", "log_key"))
        index, hashes, checkpoint = tlog_proof(file["ledger"]["proof"])
        size, root = merkle.open_checkpoint("aitbc/" + spec["chain_id"].hex(), key, checkpoint)
        merkle.verify_inclusion(hashes, index, layouts.sha256(b"\0" + leaf), size, root)
        header, body = ledger.decode_record(leaf)
        require(header["index"] == index, "another place")
        check_record(header["type"], body, spec, assignment, receipt, receipt_id)
        found.update(leaf=index, tree_size=size, type=header["type"])
    return found


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as opened:
        print(json.dumps(check(json.load(opened))))
