#!/usr/bin/python3
"""Hostile guests end as they should, and their neighbours do not notice."""

import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.platform import CONFIG, Platform, loopback_rules
from harness.tap import eventually, expect, expect_equal, expect_in, main, test
from harness.upstream import Upstream


#: Answers with a million headers.
MILLION_HEADERS = Path(__file__).resolve().parents[1] / "guests" / "text" / "million-headers.wasm"
GIB = 1 << 30
#: Whatever recurses in it does so on the stack that the server gives it.
RECURSE = Path(__file__).resolve().parents[1] / "guests" / "text" / "recurse.wasm"
#: What a caller is answered for each way to end.
STATUS = {"wall_limit": 504, "cpu_limit": 504, "memory_limit": 502, "hostcall_limit": 502, "stack_overflow": 502, "guest_error": 502}


class World:
    def __init__(self, platform, upstream):
        self.platform, self.upstream = platform, upstream
        self.publisher = platform.publisher("example")
        self.slug = platform.publish(self.publisher)
        for tenant in ("hog", "neighbour"):
            platform.install(platform.tenant(tenant), self.slug, egress=loopback_rules(upstream), limits={"timeout_ms": 1500})
        # Have so much time that no other limit comes too late on a slow machine; one the more memory, one the less.
        for tenant, limits in (("patient", {}), ("roomy", {"memory_mb": 1024}), ("tight", {"memory_mb": 32})):
            platform.install(platform.tenant(tenant), self.slug, egress=loopback_rules(upstream), limits={"timeout_ms": 120_000, **limits})

    def call(self, path, tenant="hog"):
        return self.platform.call(tenant, self.slug, path)

    def ends(self, path, end, limit=None, tenant="hog", slug=None):
        """Calls a hostile path: its record shows the class `end` with its code, the answer the status that belongs to it, and
        `limit`, where the end is one's, was counted once."""
        before = self.limit_hits(limit) if limit else None
        answer = self.platform.call(tenant, slug or self.slug, path)
        record = self.platform.record(tenant, answer)
        expect_equal((record["end_class"], record["code"]), (end, f"engine.{end}"), f"{path} on record ({answer.text()[:300]})")
        expect_equal((answer.status, answer.json()["code"]), (STATUS[end], record["code"]), f"{path} ({answer.text()[:300]})")
        if limit:
            expect_equal(self.limit_hits(limit), before + 1, f"{path}: hits of {limit}")
        return answer

    def limit_hits(self, limit):
        lines = self.platform.server.client().get("/metrics").text().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(f'alga_limit_hits_total{{limit="{limit}"}}'))


@test("a million headers in an answer end at the limit of headers, and twenty such answers at once cost bounded memory")
def million_headers(world):
    slug = world.platform.publish(world.publisher, name="headers", component=MILLION_HEADERS)
    world.platform.install("hog", slug)
    expect_equal(world.call("/counter").status, 200, "a call, so that everything is in memory that will be")
    before, hits = world.platform.server.peak_memory_bytes(), world.limit_hits("header_count")
    with ThreadPoolExecutor(20) as callers:
        answers = list(callers.map(lambda _: world.platform.call("hog", slug, "/"), range(40)))
    refused = [name for name, _ in world.call("/throw").headers]
    for answer in answers:
        expect_equal((answer.status, answer.json()["code"]), (502, "engine.hostcall_limit"), f"{answer.text()[:300]}")
        expect_equal([name for name, _ in answer.headers], refused, "fields of the answer, as of any other that failed")
    record = world.platform.record("hog", answers[0])
    expect_equal((record["end_class"], record["code"]), ("hostcall_limit", "engine.hostcall_limit"), "on record")
    expect_in("1000000 headers, 100 allowed (limit.header_count)", record["author_error"], "what the author is told")
    expect_equal(world.limit_hits("header_count"), hits + 40, "the limit's count")
    grown = world.platform.server.peak_memory_bytes() - before
    print(f"# {grown >> 20} MiB more at the peak", flush=True)
    expect(grown < GIB, f"{grown >> 20} MiB more at the peak")


@test("an endless loop is stopped by its time limit and answers 504")
def endless_loop(world):
    # It may compute for longer than it may run.
    world.ends("/loop", "wall_limit", limit="wall_time")


@test("an endless loop is stopped by the CPU time of its install, and by the server's again when that is taken back")
def own_cpu_time(world):
    install = world.platform.install(world.platform.tenant("thrifty"), world.slug, limits={"timeout_ms": 120_000, "cpu_ms": 300})
    world.ends("/loop", "cpu_limit", limit="cpu_time", tenant="thrifty")
    # The server gives 60 s: the time that the loop may take ends it first.
    change = {"limits": {"cpu_ms": None, "timeout_ms": 1500}}
    changed = world.platform.operator.put(f"/api/v1/installs/{install['id']}/grants", change, headers={"x-tenant-id": "thrifty"})
    expect_equal((changed.status, changed.json()["install"]["limits"]), (200, {"timeout_ms": 1500}), f"limits ({changed.text()})")
    world.ends("/loop", "wall_limit", limit="wall_time", tenant="thrifty")


@test("a promise that never resolves ends")
def never_resolves(world):
    world.ends("/await-forever", "guest_error", tenant="patient")


@test("allocation without end is stopped by the memory limit")
def allocation(world):
    world.ends("/allocate", "memory_limit", limit="memory", tenant="patient")


@test("recursion without end is an error that a script may catch, and the stack overflow of a module without an engine")
def recursion(world):
    # The engine in the component has a stack of its own, in its memory, which ends before the one that it runs on.
    answer = world.call("/recurse", "patient")
    expect_equal((answer.status, answer.json()), (200, {"err": "InternalError: too much recursion"}), "what the engine says, caught by the guest")
    expect_equal(world.platform.record("patient", answer)["end_class"], "ok", "on record")
    slug = world.platform.publish(world.publisher, name="recurse", component=RECURSE)
    world.platform.install("patient", slug, limits={"timeout_ms": 120_000})
    world.ends("/", "stack_overflow", tenant="patient", slug=slug)


@test("an uncaught error answers 502, tells its author what it was and the end user nothing of it")
def uncaught(world):
    answer = world.ends("/throw", "guest_error")
    expect("thrown on purpose" not in answer.text(), "the end user sees the author's error")
    expect_in("thrown on purpose", world.platform.record("hog", answer)["author_error"], "what the author is told")


@test("floods of log lines, output and host calls are bounded")
def floods(world):
    # Lines and output are cut and counted once for an execution, of 10,000 requests 50 are sent and each other one is a hit. Calls end
    # the guest; output is none and goes on until its time is over.
    calls = ("hostcall_limit", "host_calls")
    for path, limit, tenant, end, hits in (
        ("/log-flood", "log_lines", "patient", calls, 1),
        ("/fetch-flood", "fetch_calls", "patient", calls, 9_950),
        ("/print-flood", "stdio_bytes", "hog", ("wall_limit", "wall_time"), 1),
    ):
        before = world.limit_hits(limit)
        answer = world.ends(path, *end, tenant=tenant)
        expect_equal(world.limit_hits(limit), before + hits, f"{path}: hits of {limit}")
        expect_in(f"limit.{limit}", world.platform.record(tenant, answer)["author_error"], f"{path}: what the author is told")
    world.ends("/call-flood", *calls, tenant="patient")


@test("a body or headers beyond the limit are refused, not buffered")
def too_much(world):
    world.ends("/body?size=20000000", "hostcall_limit", "response_body", tenant="patient")
    expect_equal(len(world.call("/body?size=1000000").body), 1_000_000, "a body within the limit")
    # Made and handed over, a body of that size takes more memory than there is.
    world.ends("/body?size=200000000", "memory_limit", "memory", tenant="patient")
    world.ends("/headers?count=100000", "hostcall_limit", "header_count", tenant="patient")
    # Of so many the script's own engine has no room for the objects, however much memory there is; with little the server's limit comes first.
    answer = world.ends("/headers?count=1000000", "guest_error", tenant="roomy")
    expect_in("out of memory", world.platform.record("roomy", answer)["author_error"], "what the author is told")
    world.ends("/headers?count=1000000", "memory_limit", "memory", tenant="tight")


@test("a slow API does not outlive the time limit of the execution")
def slow_host_call(world):
    # The API does not answer before the caller has its answer, and the guest computes on whatever it hears: its time is all that ends it.
    world.ends(f"/fetch-and-loop?url={world.upstream.origin}/held", "wall_limit", "wall_time")
    world.upstream.let_go()
    expect_equal([path for _, path, _, _ in world.upstream.seen()], ["/held"], "requests that the API got")


@test("a slow API does not outlive the time of one request: its guest is told, and goes on")
def slow_fetch(world):
    before = world.limit_hits("fetch_time")
    world.upstream.hold()
    answer = world.call(f"/fetch?url={world.upstream.origin}/held", "patient")
    world.upstream.let_go()
    expect_equal((answer.status, answer.json()), (200, {"err": "timeout"}), "what the guest heard")
    expect_equal(world.platform.record("patient", answer)["end_class"], "ok", "on record")
    expect_equal(world.limit_hits("fetch_time"), before + 1, "hits of fetch_time")


@test("while one tenant loops, its neighbour is served")
def fairness(world):
    over, ended = threading.Event(), []

    def loop():
        while not over.is_set():
            ended.append(world.call("/loop").status)

    hogs = [threading.Thread(target=loop) for _ in range(8)]
    for hog in hogs:
        hog.start()
    try:
        eventually(lambda: ended, 60, "a loop that ended, and others that run")
        for _ in range(10):
            expect_equal(world.call("/counter", "neighbour").status, 200, "the neighbour's call")
    finally:
        over.set()
        for hog in hogs:
            hog.join()
    expect_equal(set(ended), {504}, "how the loops ended")


@test("after all of that the server is well and its memory bounded")
def still_well(world):
    expect_equal(world.platform.server.client().get("/readyz").status, 200, "/readyz")
    expect_equal(world.call("/counter", "neighbour").json(), {"counter": 1}, "a call")
    expect(world.platform.server.peak_memory_bytes() < 3 * GIB, "the server used more than 3 GiB")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder, Upstream() as upstream:
        with Platform(folder, config=f'{CONFIG}\n[limits]\ncpu_time = "60s"\nfetch_time = "3s"\n') as platform:
            return main(World(platform, upstream))


sys.exit(run())
