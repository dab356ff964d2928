#!/usr/bin/python3
"""A lone runner under pressure: bounded places, a drain, answers that say when to come back."""

import base64
import sys
import tempfile
import threading
import time
from pathlib import Path

from harness import bundle
from harness.server import Algad, fixture
from harness.tap import eventually, expect, expect_equal, expect_in, main, test

TENANT, EXTENSION, TOKEN = "acme", "0b6b6f5e-6c9e-4c7e-9d0a-2f6f9f8a1c11", "service-token-of-a-test"


class World:
    def __init__(self, folder):
        self.folder = folder
        bundles = folder / "bundles"
        bundles.mkdir()
        token = folder / "service-token"
        token.write_text(TOKEN)
        packed = folder / "echo.tar.zst"
        self.hash = bundle.pack(fixture("js-echo.wasm"), bundle.manifest(), packed)
        for tenant in (TENANT, "umbrella"):
            bundle.place(bundles, tenant, EXTENSION, packed, self.hash)
        config = f"""
[server]
drain_time = "20s"
[runner]
trust = "service-token"
service_token = "file:{token}"
[bundles]
path = "{bundles}"
[engine]
cold_wait = "2m"
[log]
execution_sample = 0
[limits]
executions = 2
executions_per_tenant = 1
queue_wait = "200ms"
request_body = "12MiB"
response_body = "12MiB"
"""
        self.server = Algad("runner", folder / "runner", config=config).start()

    def body(self, path, query=None, payload=None, tenant=TENANT, **more):
        http = {"method": "POST" if payload is not None else "GET", "path": path, "query": query or {}, "headers": {}}
        if payload is not None:
            http["body_b64"] = base64.b64encode(payload).decode()
        context = {"request_id": "r", "tenant_id": tenant, "extension_id": EXTENSION, "install_id": "i", "content_hash": self.hash}
        return {"context": context, "http": http, "limits": {"timeout_ms": 15000}, **more}

    def execute(self, *arguments, headers=None, tenant=TENANT, **more):
        sent = {"x-alga-tenant": tenant, "x-alga-extension": EXTENSION, "x-runner-service-token": TOKEN, **(headers or {})}
        return self.server.client(sent).post("/v1/execute", self.body(*arguments, tenant=tenant, **more))

    def aside(self, *arguments, **more):
        """Executes on a thread; the list gets the answer."""
        answers = []
        thread = threading.Thread(target=lambda: answers.append(self.execute(*arguments, **more)))
        thread.start()
        return thread, answers


@test("bodies as large as the configured limit travel both ways, larger ones are refused with their limit's code")
def bodies(world):
    payload = b"x" * (12 << 20)
    result = world.execute("/bytes", payload=payload)
    expect_equal((result.status, result.json()["error"]), (200, None), "twelve mebibytes")
    expect_equal(len(base64.b64decode(result.json()["body_b64"])), len(payload), "what came back")
    over = world.execute("/bytes", payload=payload + b"x")
    expect_equal((over.status, over.json()["code"]), (413, "limit.request_body"), "one byte more")
    flat = over.json()
    expect_equal((flat["status"], flat["error"], flat["end_class"]), (413, "execute_failed: limit.request_body", "platform"), "its shape: an execution that was refused")
    expect_equal((flat["request_id"], over.header("content-type"), over.header("cache-control")), ("r", "application/json", "no-store"), "beside it")
    expect_in('alga_limit_hits_total{limit="request_body"}', world.server.client().get("/metrics").text(), "the hit in the metrics")
    huge = world.server.client({"x-runner-service-token": TOKEN}).post("/v1/execute", b"x" * (40 << 20), headers={"content-type": "application/json"})
    shape = huge.json()["error"]
    expect_equal((huge.status, shape["code"], sorted(shape)), (413, "http.body_too_large", ["code", "message", "request_id"]), "what was never read as an execution")
    large = world.execute("/body", {"size": str((12 << 20) + 1)})
    expect(large.json()["error"].startswith("execute_failed: "), f"a larger answer: {large.text()[:200]}")
    line = eventually(lambda: [one for one in world.server.log_lines("execution") if one["limits"] == "limit.response_body"], 10, "the limit in the log")
    expect_equal(line[0]["end_class"], "hostcall_limit", "class")


@test("too many headers, and too large ones, are refused with their limit's code")
def headers(world):
    for sent, code in (({f"x-{i}": "1" for i in range(101)}, "limit.header_count"), ({"x": "1" * 70_000}, "limit.header_bytes")):
        body = world.body("/echo")
        body["http"]["headers"] = sent
        known = {"x-alga-tenant": TENANT, "x-alga-extension": EXTENSION, "x-runner-service-token": TOKEN}
        answer = world.server.client(known).post("/v1/execute", body)
        expect_equal((answer.status, answer.json()["code"]), (413, code), f"{answer.text()[:200]}")


@test("a tenant with no place left is told 429, a full server 503, both when to come back")
def admission(world):
    running = [world.aside("/sleep", {"ms": "3000"}), world.aside("/sleep", {"ms": "3000"}, tenant="umbrella")]
    ready = world.server.client()
    eventually(lambda: ready.get("/readyz").json()["running"] == 2, 10, "two executions that run")
    refused = world.execute("/echo")
    expect_in(refused.status, (429, 503), f"{refused.text()[:200]}")
    expect(int(refused.header("retry-after")) >= 1, "advice")
    expect_equal(refused.json()["end_class"], "overload", "class")
    for thread, answers in running:
        thread.join()
        expect_equal(answers[0].json()["status"], 200, "those that ran")
    expect_equal(world.execute("/echo").json()["status"], 200, "afterwards")


@test("two requests with one idempotency key at once run once")
def single_flight(world):
    key = {"x-idempotency-key": "once"}
    thread, answers = world.aside("/sleep", {"ms": "1500"}, headers=key)
    eventually(lambda: world.server.client().get("/readyz").json()["running"] == 1, 10, "the first one runs")
    second = world.execute("/sleep", {"ms": "1500"}, headers=key)
    expect_equal((second.status, second.json()["code"]), (409, "idempotency.in_progress"), "the second one")
    expect(second.header("retry-after") is not None, "advice")
    thread.join()
    expect_equal(world.execute("/sleep", {"ms": "1500"}, headers=key).json()["body_b64"], answers[0].json()["body_b64"], "a repetition")


@test("a caller that leaves cancels its guest")
def cancelled(world):
    connection_seconds = 0.5
    sent = {"x-alga-tenant": TENANT, "x-alga-extension": EXTENSION, "x-runner-service-token": TOKEN}
    try:
        world.server.client(sent, timeout=connection_seconds).post("/v1/execute", world.body("/sleep", {"ms": "14000"}))
        raise AssertionError("the guest answered")
    except TimeoutError:
        pass
    eventually(lambda: world.server.client().get("/readyz").json()["running"] == 0, 5, "the guest is gone")


@test("executions that end well are logged as often as the sample says, failures always")
def sampling(world):
    expect_equal(world.execute("/echo").json()["status"], 200, "a good one")
    expect_equal(world.execute("/throw").json()["status"], 500, "a bad one")
    lines = eventually(lambda: world.server.log_lines("execution"), 10, "a line")
    expect(all(line["end_class"] != "ok" for line in lines), f"a line of a good one: {lines[-1]}")


@test("the record of an execution carries the id that the gateway gave it")
def execution_id(world):
    given = "018f5c7e-0000-7000-8000-00000000abcd"
    expect_equal(world.execute("/echo", headers={"x-alga-execution": given}).json()["status"], 200, "execution")
    spool = world.folder / "runner" / "data"
    eventually(lambda: any(given.encode() in path.read_bytes() for path in spool.rglob("*") if path.is_file()), 15, "the id in the spool")


@test("a runner that is told to stop finishes what runs and takes nothing more")
def drain(world):
    thread, answers = world.aside("/sleep", {"ms": "4000"})
    eventually(lambda: world.server.client().get("/readyz").json()["running"] == 1, 10, "an execution that runs")
    stopping = threading.Thread(target=world.server.stop)
    began = time.monotonic()
    stopping.start()
    thread.join()
    expect_equal(answers[0].json()["status"], 200, "the execution that ran")
    expect(time.monotonic() - began < 15, "the drain was late")
    stopping.join()
    try:
        world.server.client(timeout=2).get("/readyz")
        raise AssertionError("it still listens")
    except OSError:
        pass


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder:
        world = World(Path(folder))
        try:
            return main(world)
        finally:
            world.server.stop()


if __name__ == "__main__":
    sys.exit(run())
