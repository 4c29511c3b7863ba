"""A client in another language, made from the .proto files: submits a job, follows its stream through a restart of the
coordinator, and checks the result with nothing but its own specification and the pinned keys.

    python client.py PROTO_FOLDER WORK_FOLDER ADDRESS IDENTITY_FILE MODEL INPUT_JSON

Prints `streaming BYTES` as output arrives, `reconnecting`, and at the end one JSON line.
"""

import hashlib
import json
import os
import pathlib
import sys
import time
import uuid

import grpc
import jwt
from cryptography.hazmat.primitives.asymmetric import ed25519
from grpc_tools import protoc

import layouts

DEADLINE_S = 120


def check(condition, what):
    if not condition:
        raise SystemExit(f"error: {what}")


def generate(protos, work):
    """Generates the stubs into a temporary folder and makes them importable."""
    files = sorted(str(path.relative_to(protos)) for path in protos.glob("aitbc/v1/*.proto"))
    well_known = pathlib.Path(protoc.__file__).parent / "_proto"
    arguments = ["protoc", f"-I{protos}", f"-I{well_known}", f"--python_out={work}", f"--grpc_python_out={work}"]
    check(protoc.main(arguments + files) == 0, "protoc failed")
    sys.path.insert(0, str(work))


def say(text):
    print(text, flush=True)


class Client:
    def __init__(self, address, seed):
        from aitbc.v1 import job_service_pb2_grpc, network_service_pb2, network_service_pb2_grpc

        self.seed = seed
        self.key = layouts.public_key(seed)
        self.channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", 4 << 20)])
        self.jobs = job_service_pb2_grpc.JobServiceStub(self.channel)
        info = network_service_pb2_grpc.NetworkServiceStub(self.channel).GetNetworkInfo(
            network_service_pb2.GetNetworkInfoRequest(), timeout=10
        )
        self.chain_id = layouts.tagged("aitbc/genesis/v1", info.genesis)
        check(self.chain_id == info.chain_id, "the genesis file does not hash to the chain id")
        self.service_key = bytes.fromhex(json.loads(info.genesis)["service_key"])
        check(self.service_key == info.service_key, "the genesis file names another service key")

    def metadata(self):
        """A token made by a library that knows nothing of the product."""
        now = int(time.time())
        claims = {
            "iss": layouts.base64url(self.key), "aud": "aitbc:" + self.chain_id.hex(), "scope": "client",
            "iat": now, "exp": now + 120, "jti": uuid.uuid4().hex,
        }
        key = ed25519.Ed25519PrivateKey.from_private_bytes(self.seed)
        return [("authorization", "Bearer " + jwt.encode(claims, key, algorithm="EdDSA"))]

    def submit(self, model, document):
        from aitbc.v1 import job_pb2, job_service_pb2

        salt = os.urandom(32)
        fields = {
            "version": 1, "type": 1, "flags": 0, "chain_id": self.chain_id, "owner": self.key, "salt": salt,
            "model_name_hash": layouts.sha256(layouts.canonical_model(model).encode()), "model_digest": bytes(32),
            "input_len": len(document), "input_hash": layouts.sha256(document),
            "requirements_hash": layouts.requirements_hash(), "max_rate": 2**64 - 1, "deadline_ms": 3_600_000,
        }
        spec = layouts.encode(layouts.JOB_SPEC, fields)
        request = job_service_pb2.SubmitJobRequest(
            request_id=uuid.uuid4().hex,
            spec=job_pb2.JobSpec(type=job_pb2.JOB_TYPE_INFERENCE, model=model, input=document, salt=salt),
        )
        answer = self.jobs.SubmitJob(request, metadata=self.metadata(), timeout=10)
        again = self.jobs.SubmitJob(request, metadata=self.metadata(), timeout=10)
        check(again.job_id == answer.job_id, "a repeated request made another job")
        check(answer.job_ref == layouts.tagged("aitbc/spec/v1", spec), "the coordinator understood another specification")
        return answer.job_id, spec

    def follow(self, job_id, spec):
        """The output and the last event, whatever happens to the connection meanwhile."""
        from aitbc.v1 import job_service_pb2

        attempt, output, reconnects, assignment = 0, bytearray(), 0, None
        checkpoints, end = 0, time.monotonic() + DEADLINE_S
        while True:
            check(time.monotonic() < end, "the job did not end in time")
            request = job_service_pb2.WatchJobRequest(job_id=job_id, attempt=attempt, offset=len(output))
            try:
                for batch in self.jobs.WatchJob(request, metadata=self.metadata(), timeout=DEADLINE_S):
                    for event in batch.events:
                        kind = event.WhichOneof("event")
                        if kind == "attempt_started":
                            started = event.attempt_started
                            if started.attempt != attempt:
                                check(started.attempt > attempt, "an earlier attempt came back")
                                attempt, output = started.attempt, bytearray()
                            assignment = self.check_assignment(started.assignment, started.assignment_signature, job_id, spec)
                        elif kind == "output":
                            check(event.output.attempt == attempt, "output of another attempt")
                            check(event.output.offset == len(output), "output does not continue where it ended")
                            output += event.output.data
                            say(f"streaming {len(output)}")
                        elif kind == "checkpoint":
                            self.check_checkpoint(event.checkpoint, assignment, output)
                            checkpoints += 1
                        elif kind == "finished":
                            return bytes(output), event.finished, reconnects, checkpoints
            except grpc.RpcError as error:
                check(error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED), f"the stream failed: {error}")
            reconnects += 1
            say("reconnecting")
            # Until the coordinator is back; the channel itself backs off.
            try:
                grpc.channel_ready_future(self.channel).result(timeout=30)
            except grpc.FutureTimeoutError:
                pass

    def check_assignment(self, layout, signature, job_id, spec):
        assignment = layouts.decode("assignment v1", layouts.ASSIGNMENT, layout)
        check(layouts.verify(self.service_key, layouts.tagged("aitbc/assign/v1", layout), signature), "assignment: signature")
        check(assignment["chain_id"] == self.chain_id, "assignment: chain")
        check(assignment["job_id"] == layouts.id_bytes("job", job_id), "assignment: job")
        check(assignment["job_ref"] == layouts.tagged("aitbc/spec/v1", spec), "assignment: specification")
        return assignment

    def check_checkpoint(self, event, assignment, output):
        checkpoint = layouts.decode("stream checkpoint v1", layouts.STREAM_CHECKPOINT, event.checkpoint)
        message = layouts.tagged("aitbc/stream/v1", event.checkpoint)
        check(layouts.verify(assignment["miner_key"], message, event.signature), "checkpoint: signature")
        for field in ("chain_id", "job_id", "job_ref", "attempt"):
            check(checkpoint[field] == assignment[field], f"checkpoint: {field}")
        check(checkpoint["offset"] <= len(output), "checkpoint: ahead of the output")
        covered = bytes(output[:checkpoint["offset"]])
        check(layouts.sha256(covered) == checkpoint["hash"], "checkpoint: hash")

    def check_proof(self, proof, job_id, spec, output, document):
        check(proof.spec == spec, "proof: specification")
        assignment = self.check_assignment(proof.assignment, proof.assignment_signature, job_id, spec)
        receipt = layouts.decode("receipt v1", layouts.RECEIPT, proof.receipt)
        message = layouts.tagged("aitbc/receipt/v1", proof.receipt)
        check(layouts.verify(assignment["miner_key"], message, proof.receipt_signature), "receipt: signature")
        for field in ("chain_id", "job_id", "job_ref", "attempt", "miner_key", "payee"):
            check(receipt[field] == assignment[field], f"receipt: {field}")
        identified = layouts.tagged("aitbc/assign-id/v1", proof.assignment + proof.assignment_signature)
        check(receipt["assignment_hash"] == identified, "receipt: assignment")
        wanted = layouts.decode("job spec v1", layouts.JOB_SPEC, spec)
        check(receipt["model_name_hash"] == wanted["model_name_hash"], "receipt: model")
        check(receipt["outcome"] == 1, "receipt: outcome")
        check(receipt["output_len"] == len(output), "receipt: output length")
        check(receipt["output_hash"] == layouts.sha256(output), "receipt: output")
        check(receipt["result_hash"] == layouts.sha256(document), "receipt: result")
        result = json.loads(document)
        check(result["content"].encode() == output, "result: content")
        check(result["usage"]["output_tokens"] == receipt["tokens_out"], "result: tokens")
        return receipt

    def fetch(self, job_id):
        from aitbc.v1 import job_service_pb2

        header, output, document = None, b"", b""
        request = job_service_pb2.GetResultRequest(job_id=job_id)
        for answer in self.jobs.GetResult(request, metadata=self.metadata(), timeout=30):
            kind = answer.WhichOneof("part")
            if kind == "header":
                header = answer.header
            elif kind == "output":
                output += answer.output
            else:
                document += answer.result
        check(header is not None, "a result without a header")
        check((header.output_bytes, header.result_bytes) == (len(output), len(document)), "a result of another length")
        return header.proof, output, document


def main():
    protos, work, address, identity, model, document = sys.argv[1:]
    generate(pathlib.Path(protos), pathlib.Path(work))
    client = Client(address, bytes.fromhex(pathlib.Path(identity).read_text().strip()))
    job_id, spec = client.submit(model, document.encode())
    say(f"submitted {job_id}")
    output, finished, reconnects, checkpoints = client.follow(job_id, spec)
    proof, fetched, result = client.fetch(job_id)
    check(fetched == output, "the result differs from what streamed")
    receipt = client.check_proof(proof, job_id, spec, output, result)
    check(finished.proof.receipt == proof.receipt, "two receipts for one job")
    say(json.dumps({
        "job_id": job_id, "output_sha256": hashlib.sha256(output).hexdigest(), "output_bytes": len(output),
        "tokens_out": receipt["tokens_out"], "reconnects": reconnects, "checkpoints": checkpoints,
        "attempt": receipt["attempt"],
    }))


if __name__ == "__main__":
    main()
