#!/usr/bin/python3
"""`POST /v1/execute` of a runner that stands alone behind somebody else's gateway (drop-in use)."""

import base64
import json
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

from harness import bundle
from harness.lone_runner import KNOWN, ROUTED, SERVICE_TOKEN, TENANT, UNPROTECTED, LoneRunner, execution
from harness.memory import memory_of
from harness.platform import loopback_rules
from harness.server import fixture
from harness.tap import Skip, expect, expect_equal, expect_in, main, test
from harness.upstream import Upstream

SECRET = "canary-41c7d2-inline"
ALL = ["cap:config.read", "cap:secrets.get", "cap:http.fetch", "cap:storage.kv"]


class World:
    def __init__(self, server, upstream):
        self.server, self.upstream = server, upstream
        self.hashes = {name: server.place(fixture(f"{name}.wasm"), bundle.manifest(capabilities=ALL)) for name in ("js-echo", "js-compat-echo")}

    def body(self, path, component="js-echo", providers=ALL, secret_envelope=None, **more):
        body = execution(self.hashes[component], path, timeout_ms=10000, **more)
        body["http"]["headers"] = {"x-from": "test"}
        body["context"]["config"] = {"key": "value"}
        body["providers"] = list(providers)
        if secret_envelope is not None:
            body["secret_envelope"] = secret_envelope
        return body

    def execute(self, body, headers=None):
        return self.server.execute(body, headers)

    def opened(self):
        """How often the runner looked at an envelope."""
        lines = self.server.client().get("/metrics").text().splitlines()
        return [line for line in lines if line.startswith("alga_secret_")]

    def answer(self, path, **more):
        """The result of an execution that must have reached its guest: its status and JSON body."""
        response = self.execute(self.body(path, **more))
        expect_equal(response.status, 200, f"HTTP status ({response.text()[:500]})")
        result = response.json()
        expect_equal(result.get("error"), None, f"error of {path} ({response.text()[:500]})")
        return result["status"], json.loads(base64.b64decode(result["body_b64"]))


def part_of(envelope):
    """A part of it that no other one has."""
    return envelope["ciphertext_b64"][12:52]


def inline_envelope(secrets):
    return {"ciphertext_b64": base64.b64encode(json.dumps(secrets).encode()).decode(), "algorithm": "inline/base64", "version": "1"}


@test("the handler sees context, method, URL with query, headers and body")
def echo(world):
    status, seen = world.answer("/echo", method="POST", query={"a": "b c"}, payload=b"hello")
    expect_equal((status, seen["method"], seen["body"]), (200, "POST", "hello"), "what the guest saw")
    expect_equal(seen["url"], "/echo?a=b+c", "URL")
    expect_equal(seen["context"]["tenantId"], TENANT, "tenant")
    expect_in({"name": "x-from", "value": "test"}, seen["headers"], "headers")


@test("configuration, a secret and an allowed API call reach the handler")
def capabilities(world):
    expect_equal(world.answer("/config")[1]["value"], {"ok": "value"}, "config")
    envelope = inline_envelope({"key": SECRET})
    expect_equal(world.answer("/secret", secret_envelope=envelope)[1]["value"], {"ok": SECRET}, "secret")
    _, fetched = world.answer("/fetch", query={"url": f"{world.upstream.origin}/status/204"})
    expect_equal(fetched["ok"]["status"], 204, "status of the API")


@test("a capability that is not among the providers is denied")
def denied(world):
    few = ["cap:config.read"]
    expect_equal(world.answer("/secret", providers=few, secret_envelope=inline_envelope({"key": SECRET}))[1]["value"], {"err": "denied"}, "secret")
    _, fetched = world.answer("/fetch", providers=few, query={"url": world.upstream.origin})
    expect_equal(fetched, {"err": "not-allowed"}, "fetch")


@test("a handler that gives up on an address that is denied ends as egress_denied, one that goes on does not")
def egress_denied(world):
    query = {"key": "key", "url": "https://not-allowed.example.test/"}
    refused = world.execute(world.body("/main-job", query=query, secret_envelope=inline_envelope({"key": SECRET}))).json()
    expect_equal((refused["status"], refused["code"], refused["end_class"]), (500, "engine.egress_denied", "egress_denied"), f"{refused}")
    expect_equal(refused["error"], "execute_failed: engine.egress_denied", "what the earlier system's callers read")
    _, caught = world.answer("/fetch", query={"url": query["url"]})
    expect_equal(caught, {"err": "not-allowed"}, "a handler that catches it answers")
    thrown = world.execute(world.body("/throw")).json()
    expect_equal(thrown["end_class"], "guest_error", "another failure")


@test("a component of the unversioned package runs beside it")
def compat(world):
    response = world.execute(world.body("/echo", component="js-compat-echo"))
    expect_equal((response.status, response.json()["error"]), (200, None), f"result ({response.text()[:300]})")


@test("bodies travel both ways as they are")
def bytes_through(world):
    payload = bytes(range(256)) * 4096
    result = world.execute(world.body("/bytes", method="POST", payload=payload)).json()
    expect_equal(base64.b64decode(result["body_b64"]), payload, "a megabyte of every byte")


@test("the error strings of the reference come with a stable code, HTTP status 200")
def reference_errors(world):
    unknown = world.execute(world.body("/echo", providers=["cap:fly"]))
    missing = world.body("/echo")
    missing["context"]["content_hash"] = "sha256:" + "0" * 64
    cases = [
        (unknown, 400, "unknown_capabilities: cap:fly"),
        (world.execute(missing), 502, "bundle_fetch_failed"),
        (world.execute(world.body("/throw")), 500, "execute_failed"),
        (world.execute(world.body("/echo", secret_envelope={"ciphertext_b64": "e30=", "algorithm": "rot13"})), 500, "secret_decrypt_failed"),
    ]
    for response, status, prefix in cases:
        expect_equal(response.status, 200, f"HTTP status of {prefix} ({response.text()[:300]})")
        result = response.json()
        expect_equal(result["status"], status, prefix)
        expect(result["error"].startswith(prefix), f"{result['error']!r} does not start with {prefix!r}")
        expect(result.get("code"), f"{prefix} has no code")


@test("an envelope without an install that it could belong to is not opened")
def nobodys_secrets(world):
    body = world.body("/secret", secret_envelope=inline_envelope({"key": SECRET}))
    del body["context"]["install_id"]
    result = world.execute(body).json()
    expect_equal((result["status"], result["error"], result["code"]), (500, "secret_decrypt_failed", "runner.no_secrets"), "result")


@test("missing routing headers are refused first")
def routing_headers(world):
    response = world.server.client(KNOWN).post("/v1/execute", world.body("/echo"))
    expect_equal((response.json()["status"], response.json()["error"]), (400, "missing_routing_headers"), "result")


@test("a caller without the service token, or with another one, is refused with 401")
def service_token(world):
    for token in (None, "other", SERVICE_TOKEN + "x", SERVICE_TOKEN[:-1]):
        expect_equal(world.execute(world.body("/echo"), {"x-runner-service-token": token}).status, 401, f"token {token!r}")


@test("headers that contradict the body are refused")
def mismatch(world):
    for header in ({"x-alga-tenant": "other"}, {"x-alga-extension": "11111111-1111-4111-8111-111111111111"}):
        response = world.execute(world.body("/echo"), headers=header)
        expect_equal((response.status, response.json()["code"]), (403, "runner.identity_mismatch"), f"{header}")


@test("what is not JSON, or not of the right shape, is refused with 400")
def malformed(world):
    for body in (b"", b"{", b"[]", b'{"context":{}}', b'{"a":1,"a":2}'):
        response = world.server.client({**ROUTED, **KNOWN}).post("/v1/execute", body, headers={"content-type": "application/json"})
        expect_equal(response.status, 400, f"{body!r}")


@test("a request with an idempotency key runs once, and its answer is repeated")
def idempotency(world):
    key = {"x-idempotency-key": "key-1"}
    first = world.execute(world.body("/random", method="POST"), headers=key).json()
    second = world.execute(world.body("/random", method="POST"), headers=key).json()
    expect_equal(second["body_b64"], first["body_b64"], "the answer of the repetition")
    other = world.execute(world.body("/echo", method="POST"), headers=key)
    expect_equal((other.status, other.json()["code"]), (422, "idempotency.mismatch"), "the same key for another request")


@test("an answer is repeated for the same request with another envelope, or one that does not open, and none is opened for it")
def idempotent_secrets(world):
    def run(secret, key="with-secrets", **more):
        envelope = {**inline_envelope({"key": secret}), **more}
        result = world.execute(world.body("/secret", method="POST", secret_envelope=envelope), headers={"x-idempotency-key": key}).json()
        return result["error"] or json.loads(base64.b64decode(result["body_b64"]))["value"]

    expect_equal(run("one"), {"ok": "one"}, "the first request")
    opened = world.opened()
    for again in (run("another"), run("one", expires_at="2020-01-01T00:00:00Z"), run("one", algorithm="rot13")):
        expect_equal(again, {"ok": "one"}, "a repetition")
    expect_equal(world.opened(), opened, "envelopes that were looked at")
    expect_equal(run("another", key="another"), {"ok": "another"}, "another key")
    expect_equal(run("another", key="a third", expires_at="2020-01-01T00:00:00Z"), "secret_decrypt_failed", "an old envelope without an answer")


@test("an envelope that came with an idempotency key is neither kept in memory nor written; the answer is")
def nothing_of_envelopes(world):
    if os.geteuid() != 0:
        raise Skip("only root may look into the memory of a process that is not dumpable")
    count = 60
    secrets = [f"{os.urandom(16).hex()}" for _ in range(count)]
    answers = [os.urandom(16).hex() for _ in range(count)]
    envelopes = [inline_envelope({"key": secret, "padding": "x" * 3000}) for secret in secrets]
    for number, (envelope, answer) in enumerate(zip(envelopes, answers)):
        body = world.body("/bytes", method="POST", payload=answer.encode(), secret_envelope=envelope)
        key = {"x-idempotency-key": f"kept-{number}"}
        for _ in range(2):
            result = world.execute(body, headers=key).json()
            expect_equal(base64.b64decode(result["body_b64"]).decode(), answer, "the answer, and the same again")
            expect(part_of(envelope) not in json.dumps(result), "the envelope in an answer")
    for _ in range(count):  # what was freed is used again
        world.execute(world.body("/bytes", method="POST", payload=b"y" * 32, secret_envelope=inline_envelope({"key": "y", "padding": "y" * 3000})))
    found = Counter()
    for piece in memory_of(world.server.process.pid):
        for number in range(count):
            found["answers"] += answers[number].encode() in piece
            found["envelopes"] += part_of(envelopes[number]).encode() in piece
    expect(found["answers"] >= count, f"the search finds what is kept: {found}")
    # Some stand in buffers that were freed and are not in use again.
    expect(found["envelopes"] <= count // 3, f"envelopes that are kept: {found}")
    written = [path for path in world.server.folder.rglob("*") if path.is_file()]
    expect_equal([str(path) for path in written if any(part_of(envelope).encode() in path.read_bytes() for envelope in envelopes)], [], "files with an envelope")


@test("liveness, readiness and metrics answer")
def health(world):
    client = world.server.client()
    for path in ("/healthz", "/readyz", "/metrics"):
        expect_equal(client.get(path).status, 200, path)


@test("metrics tell how long the start took and what the process holds")
def process_metrics(world):
    lines = world.server.client().get("/metrics").text().splitlines()
    metrics = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    pid = world.server.process.pid
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    resident = int(status["VmRSS"].split()[0]) * 1024
    expect(0.5 < float(metrics["process_resident_memory_bytes"]) / resident < 2, f"{metrics['process_resident_memory_bytes']} of {resident}")
    expect(0 < float(metrics["alga_startup_seconds"]) < 600, f"start-up time {metrics['alga_startup_seconds']}")
    expect(float(metrics["process_open_fds"]) <= float(metrics["process_max_fds"]), "descriptors")
    expect(abs(float(metrics["process_start_time_seconds"]) - Path(f"/proc/{pid}").stat().st_mtime) < 3600, "start time")


@test("the secret is in no file below the runner's folder, its log included")
def canary(world):
    wanted = SECRET.encode()
    holding = [str(path) for path in world.server.folder.rglob("*") if path.is_file() and wanted in path.read_bytes()]
    expect_equal(holding, [], "files that hold the secret")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder, Upstream() as upstream:
        settings = f"{UNPROTECTED}[egress]\nrules = {json.dumps(loopback_rules(upstream))}\n"
        with LoneRunner(folder, settings) as server:
            return main(World(server, upstream))


sys.exit(run())
