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
#: What a caller is answered for each way to end.
STATUS = {"wall_limit": 504, "cpu_limit": 504, "memory_limit": 502, "hostcall_limit": 502, "stack_overflow": 502, "guest_error": 502, "trap": 502}
#: How a guest ends whose time is over (it may compute for longer than it may run), and one with too many calls.
TIME = {"wall_limit": "wall_time"}
CALLS = {"hostcall_limit": "host_calls"}


class World:
    def __init__(self, platform, upstream):
        self.platform, self.upstream = platform, upstream
        self.publisher = platform.publisher("example")
        self.slug = platform.publish(self.publisher)
        for tenant in ("hog", "neighbour"):
            platform.install(platform.tenant(tenant), self.slug, egress=loopback_rules(upstream), limits={"timeout_ms": 1500})
        # Has so much time that no other limit comes too late on a slow machine.
        platform.install(platform.tenant("patient"), self.slug, egress=loopback_rules(upstream), limits={"timeout_ms": 120_000})

    def call(self, path, tenant="hog"):
        return self.platform.call(tenant, self.slug, path)

    def ends(self, path, *classes, limit=None, tenant="hog"):
        """Calls a hostile path: its record shows one of `classes`, the answer the status that belongs to it, and the limit
        that `limit` names for that class was counted."""
        before = {name: self.limit_hits(name) for name in (limit or {}).values()}
        answer = self.call(path, tenant)
        record = self.platform.record(tenant, answer)
        expect(record["end_class"] in classes, f"{path} ended {record['end_class']}, wanted {' or '.join(classes)}")
        expect_equal(answer.status, STATUS[record["end_class"]], f"{path} ({answer.text()[:300]})")
        name = (limit or {}).get(record["end_class"])
        if name:
            expect_equal(self.limit_hits(name), before[name] + 1, f"{path}: hits of {name}")
        expect_equal(answer.json()["code"], record["code"], f"{path}: the code of its end")
        if record["end_class"] != "guest_error":  # has a code for each way to fail
            expect_equal(record["code"], f"engine.{record['end_class']}", f"{path}: the code of its class")
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
    world.ends("/loop", *TIME, limit=TIME)


@test("a promise that never resolves ends")
def never_resolves(world):
    world.ends("/await-forever", "guest_error", tenant="patient")


@test("allocation without end is stopped by the memory limit")
def allocation(world):
    world.ends("/allocate", "memory_limit", limit={"memory_limit": "memory"})


@test("recursion without end is the guest's own error or a stack overflow, never ours")
def recursion(world):
    answer = world.call("/recurse")
    end = world.platform.record("hog", answer)["end_class"]
    if end == "ok":
        expect_equal((answer.status, answer.json()), (200, {"err": "InternalError: too much recursion"}), "what the engine says, caught by the guest")
    else:
        expect_equal((end, answer.status), ("stack_overflow", 502), f"its end ({answer.text()[:300]})")


@test("an uncaught error answers 502, tells its author what it was and the end user nothing of it")
def uncaught(world):
    answer = world.ends("/throw", "guest_error")
    expect("thrown on purpose" not in answer.text(), "the end user sees the author's error")
    expect_in("thrown on purpose", world.platform.record("hog", answer)["author_error"], "what the author is told")


@test("floods of log lines, output and host calls are bounded")
def floods(world):
    # Lines and output are cut and counted once for an execution, of 10,000 requests 50 are sent and each other one is a hit. Calls end
    # the guest; output is none and goes on until its time is over.
    for path, limit, tenant, end, hits in (
        ("/log-flood", "log_lines", "patient", CALLS, 1),
        ("/fetch-flood", "fetch_calls", "patient", CALLS, 9_950),
        ("/print-flood", "stdio_bytes", "hog", TIME, 1),
    ):
        before = world.limit_hits(limit)
        answer = world.ends(path, *end, limit=end, tenant=tenant)
        expect_equal(world.limit_hits(limit), before + hits, f"{path}: hits of {limit}")
        expect_in(f"limit.{limit}", world.platform.record(tenant, answer)["author_error"], f"{path}: what the author is told")
    world.ends("/call-flood", *CALLS, limit=CALLS, tenant="patient")


@test("a body or headers beyond the limit are refused, not buffered")
def too_much(world):
    world.ends("/body?size=20000000", "hostcall_limit", limit={"hostcall_limit": "response_body"}, tenant="patient")
    expect_equal(len(world.call("/body?size=1000000").body), 1_000_000, "a body within the limit")
    # Made and handed over, a body of that size takes more memory than there is.
    world.ends("/body?size=200000000", "memory_limit", limit={"memory_limit": "memory"}, tenant="patient")
    world.ends("/headers?count=100000", "hostcall_limit", limit={"hostcall_limit": "header_count"}, tenant="patient")
    # A script of so many may run out of time or memory first, and its engine may say the latter by itself, as an error of the script.
    world.ends("/headers?count=1000000", "hostcall_limit", "memory_limit", "wall_limit", "guest_error")


@test("a slow API does not outlive the time limit of the execution")
def slow_host_call(world):
    # The API does not answer before the caller has its answer.
    answer = world.call(f"/fetch?url={world.upstream.origin}/held")
    world.upstream.let_go()
    expect_equal([path for _, path, _, _ in world.upstream.seen()], ["/held"], "requests that the API got")
    expect(answer.status == 504 or answer.json() == {"err": "timeout"}, f"answered {answer.status}: {answer.text()[:300]}")


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
    expect_equal(set(ended) - {504, 429}, set(), "how the loops ended")


@test("after all of that the server is well and its memory bounded")
def still_well(world):
    expect_equal(world.platform.server.client().get("/readyz").status, 200, "/readyz")
    expect_equal(world.call("/counter", "neighbour").json(), {"counter": 1}, "a call")
    expect(world.platform.server.peak_memory_bytes() < 3 * GIB, "the server used more than 3 GiB")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder, Upstream() as upstream:
        with Platform(folder, config=f'{CONFIG}\n[limits]\ncpu_time = "60s"\n') as platform:
            return main(World(platform, upstream))


sys.exit(run())
