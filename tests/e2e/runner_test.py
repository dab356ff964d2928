#!/usr/bin/python3
"""A lone runner under pressure: bounded places, a drain, answers that say when to come back."""

import base64
import contextlib
import json
import sys
import tempfile
import threading
from pathlib import Path

from harness.lone_runner import INSTALL, KNOWN, OTHER_TENANT, TENANT, LoneRunner, execution
from harness.platform import loopback_rules
from harness.server import fixture
from harness.tap import eventually, expect, expect_equal, expect_in, main, test
from harness.upstream import Upstream

#: Compiles in no time.
PLAIN = Path(__file__).resolve().parents[1] / "guests" / "text" / "echo.wasm"
TENANTS = (TENANT, OTHER_TENANT)
MORE_TENANTS = ("initech", "globex", "hooli")
OTHER_INSTALL = "5e3a1f52-90a4-4b6c-8d6d-0d5b6f1c2a77"
DRAIN_SECONDS = 20


class World:
    """A runner with a place for one execution of each tenant; who finds none waits for a moment."""

    def __init__(self, folder, upstream):
        self.upstream = upstream
        settings = f"""
[egress]
rules = {json.dumps(loopback_rules(upstream))}
[server]
drain_time = "{DRAIN_SECONDS}s"
[log]
execution_sample = 0
[limits]
executions = 2
executions_per_tenant = 1
queue_wait = "200ms"
request_body = "12MiB"
response_body = "12MiB"
"""
        self.server = LoneRunner(folder, settings)
        self.hash = self.server.place(fixture("js-echo.wasm"), tenants=TENANTS + MORE_TENANTS)
        self.server.start()

    def wait_for_places(self, queue_wait):
        """Starts the server anew; who finds no place waits so long from then on."""
        self.server.stop()
        config = self.server.config
        config.write_text(config.read_text().replace("200ms", queue_wait))
        self.server.start()

    @contextlib.contextmanager
    def install_bound(self):
        """Meanwhile a tenant may run two, an install of it one, and nobody waits."""
        config = self.server.config
        usual = config.read_text()
        self.server.stop()
        config.write_text(usual.replace("executions_per_tenant = 1", "executions_per_tenant = 2\nexecutions_per_install = 1").replace("200ms", "0ms"))
        self.server.start()
        yield
        self.server.stop()
        config.write_text(usual)
        self.server.start()

    def body(self, path, query=None, payload=None, tenant=TENANT, install=INSTALL):
        body = execution(self.hash, path, "GET" if payload is None else "POST", query, payload, tenant)
        body["context"]["install_id"] = install
        return {**body, "providers": ["cap:http.fetch"]}

    def execute(self, *arguments, headers=None, **more):
        return self.server.execute(self.body(*arguments, **more), headers)

    def hold(self):
        """From now on the upstream holds what it is asked. What ran before has ended by then: who counts what runs counts his own."""
        eventually(lambda: self.server.client().get("/readyz").json()["running"] == 0, 10, "nothing runs")
        self.upstream.hold()

    def held(self, **more):
        """An execution, on a thread, that ends when the upstream lets it go."""
        return self.aside("/fetch", {"url": f"{self.upstream.origin}/held"}, **more)

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
    expect_equal((flat["status"], flat["error"], flat["end_class"]), (413, "execute_failed: limit.request_body", "refused"), "its shape: an execution that was refused")
    line = world.server.logged("execution", lambda one: one["code"] == "limit.request_body")[0]
    expect_equal((line["level"], line["end_class"]), ("info", "refused"), "the line: nothing that an operator has to mend")
    metrics = world.server.client().get("/metrics").text()
    expect_in('alga_runner_executions_total{end="refused"} 1\n', metrics, "the metrics")
    expect('end="platform"' not in metrics, "what a caller asked for is counted as our fault")
    expect_equal((flat["request_id"], over.header("content-type"), over.header("cache-control")), ("r", "application/json", "no-store"), "beside it")
    expect_in('alga_limit_hits_total{limit="request_body"}', world.server.client().get("/metrics").text(), "the hit in the metrics")
    huge = world.server.client(KNOWN).post("/v1/execute", b"x" * (40 << 20), headers={"content-type": "application/json"})
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
        answer = world.server.execute(body)
        expect_equal((answer.status, answer.json()["code"]), (413, code), f"{answer.text()[:200]}")


def told_to_come_back(world, answer, status, limit):
    """Refused for want of a place, by this limit, and told when to come back."""
    body = answer.json()
    expect_equal((answer.status, body["status"], body["code"], body["error"], body["end_class"]), (status, status, "engine.overload", "execute_failed: engine.overload", "overload"), f"{limit}: {body}")
    expect_equal((answer.header("retry-after"), body["retry_after_s"]), ("1", 1), f"{limit}: when to come back")
    world.server.logged("execution", lambda line: (line["status"], line["limits"]) == (status, limit))


def lets_run(world, running, count):
    """Those that are held run; they are let go afterwards and must have ended well."""
    try:
        eventually(lambda: world.server.client().get("/readyz").json()["running"] == count, 10, f"{count} that run")
        yield
    finally:
        world.upstream.let_go()
    for thread, answers in running:
        thread.join()
        expect_equal((answers[0].status, answers[0].json()["status"]), (200, 200), "one that ran or waited")


@test("a tenant that waited for its own place in vain is told 429 and when to come back, though the server has room")
def tenant_waited(world):
    world.hold()
    for _ in lets_run(world, [world.held()], 1):
        told_to_come_back(world, world.execute("/echo"), 429, "limit.queue_wait")
        expect_equal(world.execute("/echo", tenant=OTHER_TENANT).json()["status"], 200, "another tenant meanwhile")
    expect_equal(world.execute("/echo").json()["status"], 200, "afterwards")


@test("who waited in vain for a place of a full server is told 503 and when to come back, though the tenant runs nothing")
def server_waited(world):
    world.hold()
    for _ in lets_run(world, [world.held(tenant=tenant) for tenant in TENANTS], 2):
        told_to_come_back(world, world.execute("/echo", tenant=MORE_TENANTS[0]), 503, "limit.queue_wait")
    expect_equal(world.execute("/echo", tenant=MORE_TENANTS[0]).json()["status"], 200, "afterwards")


@test("an install that has all of its places leaves those of its tenant to the others: it is told 429, they are served")
def install_full(world):
    with world.install_bound():
        world.hold()
        for _ in lets_run(world, [world.held()], 1):
            told_to_come_back(world, world.execute("/echo"), 429, "limit.executions_per_install")
            expect_equal(world.execute("/echo", install=OTHER_INSTALL).json()["status"], 200, "another install of the tenant meanwhile")


@test("two requests with one idempotency key at once run once")
def single_flight(world):
    key = {"x-idempotency-key": "once"}
    asked = "/fetch", {"url": f"{world.upstream.origin}/held"}
    world.hold()
    thread, answers = world.held(headers=key)
    try:
        eventually(lambda: world.server.client().get("/readyz").json()["running"] == 1, 10, "the first one runs")
        second = world.execute(*asked, headers=key)
        expect_equal((second.status, second.json()["code"]), (409, "idempotency.in_progress"), "the second one")
        expect(second.header("retry-after") is not None, "advice")
    finally:
        world.upstream.let_go()
    thread.join()
    before = len(world.upstream.seen())
    expect_equal(world.execute(*asked, headers=key).json()["body_b64"], answers[0].json()["body_b64"], "a repetition")
    expect_equal(len(world.upstream.seen()), before, "requests of the repetition")


@test("a caller that leaves cancels its guest")
def cancelled(world):
    try:
        world.server.execute(world.body("/sleep", {"ms": "14000"}), timeout=0.5)
        raise AssertionError("the guest answered")
    except TimeoutError:
        pass
    # Long before it would have ended by itself.
    eventually(lambda: world.server.client().get("/readyz").json()["running"] == 0, 10, "the guest is gone")


@test("executions that end well are logged as often as the sample says, failures always")
def sampling(world):
    expect_equal(world.execute("/echo").json()["status"], 200, "a good one")
    expect_equal(world.execute("/throw").json()["status"], 500, "a bad one")
    lines = eventually(lambda: world.server.log_lines("execution"), 10, "a line")
    expect(all(line["end_class"] != "ok" for line in lines), f"a line of a good one: {lines[-1]}")


@test("the record of an execution carries the id that the gateway gave it")
def execution_id(world):
    given = "018f5c7e-0000-7000-8000-00000000abcd"
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder:
        runner = LoneRunner(folder, spools=True)
        body = execution(runner.place(PLAIN))
        with runner:
            expect_equal(runner.execute(body, {"x-alga-execution": given}).json()["status"], 200, "execution")
            spool = runner.folder / "data" / "spool"
            eventually(lambda: any(given.encode() in path.read_bytes() for path in spool.rglob("*") if path.is_file()), 15, "the id in the spool")


@test("who may not even wait is told at once: 429 when too many of the tenant wait, 503 when too many do")
def nobody_else_waits(world):
    world.wait_for_places("60s")
    ready = world.server.client()

    def wait(*tenants):
        before = ready.get("/readyz").json()["waiting"]
        threads = [world.aside("/echo", tenant=tenant) for tenant in tenants]
        eventually(lambda: ready.get("/readyz").json()["waiting"] == before + len(tenants), 10, f"{tenants} wait")
        return threads

    world.hold()
    running = [world.held(tenant=tenant) for tenant in TENANTS]
    for _ in lets_run(world, running, 2):
        # Four times as many as may run may wait; a quarter of those, so two, of one tenant.
        running += wait(TENANT, TENANT)
        told_to_come_back(world, world.execute("/echo"), 429, "limit.executions_per_tenant")
        running += wait(*[OTHER_TENANT, *MORE_TENANTS[:2]] * 2)
        told_to_come_back(world, world.execute("/echo", tenant=MORE_TENANTS[2]), 503, "limit.executions")
    expect_equal(world.execute("/echo", tenant=MORE_TENANTS[2]).json()["status"], 200, "afterwards")


@test("a runner that is told to stop finishes what runs and takes nothing more; who waits for a place is told at once")
def drain(world):
    world.wait_for_places("60s")
    ready = world.server.client()
    world.hold()
    running = [world.held(tenant=tenant) for tenant in TENANTS]
    statuses = []
    stopping = threading.Thread(target=lambda: statuses.append(world.server.stop()))
    try:
        eventually(lambda: ready.get("/readyz").json()["running"] == 2, 10, "one execution of each tenant that runs")
        # Four times as many as may run may wait; a quarter of those, so two, of one tenant.
        waiting = [world.aside("/echo", tenant=tenant) for tenant in TENANTS * 2]
        eventually(lambda: ready.get("/readyz").json()["waiting"] == 4, 10, "four that wait for a place")
        stopping.start()
        for thread, answers in waiting:
            thread.join()
            refused = answers[0]
            expect_equal((refused.status, refused.json()["code"], refused.header("retry-after")), (503, "runner.draining", "1"), "one that waited")
            expect_equal((refused.json()["error"], refused.json()["end_class"]), ("execute_failed: runner.draining", "overload"), "its body")
        eventually(lambda: is_refused(ready), 10, "new connections are refused")
        expect(all(thread.is_alive() for thread, _ in running), "those that run had ended before")
    finally:
        world.upstream.let_go()
    for thread, answers in running:
        thread.join()
        expect_equal((answers[0].status, answers[0].json()["status"]), (200, 200), "an execution that ran")
    stopping.join()
    expect_equal(statuses, [0], "exit status")
    refusals = [line for line in world.server.log_lines("execution") if line["code"] == "runner.draining"]  # it has ended: all is written
    expect_equal([line["limits"] for line in refusals], [""] * 4, "the log: refused, and by no limit")


def is_refused(client):
    try:
        client.get("/readyz")
        return False
    except ConnectionRefusedError:
        return True


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder, Upstream() as upstream:
        world = World(folder, upstream)
        try:
            return main(world)
        finally:
            world.server.stop()


if __name__ == "__main__":
    sys.exit(run())
