"""Pays somebody with nothing of AITBC's own: builds, signs and submits a TRANSFER, twice the same bytes.

    python submit.py PROTO_FOLDER WORK_FOLDER ADDRESS SECRET_FILE TO AMOUNT_MICRO_AIT

Prints one JSON line: the id that it computed, and where the coordinator says that it is recorded.
"""

import json
import pathlib
import sys
import time

import grpc

import client
import layouts
import ledger
import transaction


def main(protos, work, address, secret, to, amount):
    client.generate(pathlib.Path(protos), pathlib.Path(work))
    from aitbc.v1 import ledger_service_pb2, ledger_service_pb2_grpc, network_service_pb2, network_service_pb2_grpc

    channel = grpc.insecure_channel(address)
    info = network_service_pb2_grpc.NetworkServiceStub(channel).GetNetworkInfo(
        network_service_pb2.GetNetworkInfoRequest(), timeout=10
    )
    order = {
        "kind": ledger.TRANSFER,
        "chain_id": layouts.tagged("aitbc/genesis/v1", info.genesis).hex(),
        "nonce": 0,
        "valid_until": int(time.time() * 1000) + 60_000,
        "amount": int(amount),
        "target": to.removeprefix("0x").rjust(64, "0"),
        "secret": pathlib.Path(secret).read_text(encoding="ascii").strip().removeprefix("0x"),
    }
    made = transaction.build(order)
    service = ledger_service_pb2_grpc.LedgerServiceStub(channel)
    request = ledger_service_pb2.SubmitTransactionRequest(transaction=bytes.fromhex(made["stored"]))
    first, again = (service.SubmitTransaction(request, timeout=10) for _ in range(2))
    client.check(first == again, "the same bytes got another answer")
    client.check(first.transaction_id.hex() == made["tx_id"], "the coordinator calls it by another id")
    print(json.dumps({"tx_id": made["tx_id"], "index": first.index}))


if __name__ == "__main__":
    main(*sys.argv[1:])
