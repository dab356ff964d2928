#!/usr/bin/python3
"""What a runner shows of its work: each metric moves by what was done, and the line in the log and the record in the
spool say the same of an execution."""

import base64
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from harness import bundle
from harness.lone_runner import EXTENSION, INSTALL, TENANT, UNPROTECTED, LoneRunner, execution
from harness.platform import loopback_rules
from harness.server import fixture
from harness.tap import eventually, expect, expect_equal, main, test
from harness.upstream import Upstream

ECHO = "js-echo.wasm"
MEBI = 1 << 20


class World:
    """A runner with a place for one execution of a tenant, whose bounds of bundles are low."""

    def __init__(self, folder, upstream):
        self.upstream = upstream
        settings = f"""{UNPROTECTED}[egress]
rules = {json.dumps(loopback_rules(upstream))}
[limits]
executions_per_tenant = 1
queue_wait = "60s"
bundle_archive = "16MiB"
bundle_unpacked = "48MiB"
bundle_entries = 40
"""
        self.server = LoneRunner(folder, settings, spools=True)
        self.hash = self.server.place(fixture(ECHO))

    def body(self, path, content_hash=None, providers=(), envelope=None, **more):
        body = execution(content_hash or self.hash, path, **more)
        body["providers"] = list(providers)
        if envelope is not None:
            body["secret_envelope"] = envelope
        return body

    def execute(self, *arguments, headers=None, **more):
        return self.server.execute(self.body(*arguments, **more), headers).json()

    def aside(self, *arguments, **more):
        """Executes on a thread; the list gets the answer."""
        answers = []
        thread = threading.Thread(target=lambda: answers.append(self.execute(*arguments, **more)))
        thread.start()
        return thread, answers

    def held(self):
        """An execution, on a thread, that ends when the upstream lets it go."""
        return self.aside("/fetch", providers=["cap:http.fetch"], query={"url": f"{self.upstream.origin}/held"})

    def metrics(self):
        """Every sample by its series."""
        lines = self.server.client().get("/metrics").text().splitlines()
        return Counter({series: float(value) for series, value in (line.rsplit(" ", 1) for line in lines if line and line[0] != "#")})

    def sample(self, series):
        return self.metrics()[series]

    def since(self, before):
        """What has changed, by series."""
        now = self.metrics()
        return {series: now[series] - before[series] for series in now if now[series] != before[series]}

    def moves(self, before, wanted, among=()):
        """Waits until what was done has moved each series by so much, and no other one whose name begins as `among` says."""

        def others():
            changed = self.since(before)
            return {series: changed.get(series, 0) for series in {*wanted, *(one for one in changed if one.startswith(tuple(among)))}}

        eventually(lambda: others() == wanted, 20, lambda: f"{wanted}, but {others()}")

    def line(self, request):
        return self.server.logged("execution", lambda line: line["request_id"] == request)[0]

    def records(self):
        for path in (self.server.folder / "data" / "spool").rglob("*"):
            if path.is_file():
                for line in path.read_bytes().splitlines():
                    if line.startswith(b"{"):
                        yield json.loads(line)


def named(body, request):
    body["context"]["request_id"] = request
    return body


@test("a bundle is fetched and compiled once, and each execution is instantiated, called and measured")
def work(world):
    before = world.metrics()
    for number in range(3):
        expect_equal(world.server.execute(named(world.body("/sleep", query={"ms": "50"}), f"work-{number}")).json()["status"], 200, "execution")
    lines = [world.line(f"work-{number}") for number in range(3)]
    once = {"alga_bundle_cache_misses_total": 1, "alga_bundle_fetch_seconds_count": 1, "alga_compile_seconds_count": 1, "alga_components_in_memory": 1}
    once['alga_component_loads_total{from="compile"}'] = 1
    each = [f"alga_runner_{what}_seconds_count" for what in ("prepare", "queue", "instantiate", "call")]
    each += ["alga_guest_memory_peak_bytes_count", 'alga_runner_executions_total{end="ok"}']
    world.moves(before, {**once, "alga_bundle_cache_hits_total": 2, **dict.fromkeys(each, 3)})
    changed = world.since(before)
    expect(changed["alga_compile_seconds_sum"] > 0, "time to compile")
    for what in ("queue", "instantiate", "call"):
        wanted = sum(line[f"{what}_us"] for line in lines) / 1e6
        got = changed.get(f"alga_runner_{what}_seconds_sum", 0)
        expect(abs(got - wanted) < 1e-6, f"{what}: {got} s in the metrics, {wanted} s in the log")
    expect(changed["alga_runner_call_seconds_sum"] >= 3 * 0.05, "the guests slept for longer")
    peaks = [line["peak_memory_bytes"] for line in lines]
    expect_equal(changed["alga_guest_memory_peak_bytes_sum"], sum(peaks), "peaks of memory")
    expect(all(MEBI < peak < 256 * MEBI for peak in peaks), f"peaks: {peaks}")
    expect(world.sample("alga_bundle_cache_bytes") > fixture(ECHO).stat().st_size, "what is cached")


@test("the line of an execution and its record say who, how it ended and what it took, and agree")
def line_and_record(world):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    url = f"{world.upstream.origin}/big/5000"
    body = named(world.body("/fetch", providers=["cap:http.fetch"], query={"url": url}), "traced")
    body["context"]["version_id"] = "version-7"
    answer = world.server.execute(body, {"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "x-ext-config-version": "c3"}).json()
    expect_equal(answer["status"], 200, "execution")
    line = world.line("traced")
    expect_equal(len(world.server.logged("execution", lambda one: one["request_id"] == "traced")), 1, "lines")
    who = {"tenant": TENANT, "extension": EXTENSION, "install": INSTALL, "version": "version-7", "request_id": "traced", "trace_id": trace}
    expect_equal({name: line[name] for name in who}, who, "who, in the line")
    record = eventually(lambda: [one for one in world.records() if one["kind"] == "execution" and one["who"]["request_id"] == "traced"], 20, "the record")
    expect_equal(len(record), 1, "records")
    expect_equal(record[0]["who"], who, "who, in the record")
    expect_equal((record[0]["method"], record[0]["path"], record[0]["config_version"]), ("GET", "/fetch", "c3"), "what was asked, without its query")
    expect_equal((line["end_class"], line["status"], line["code"]), ("ok", 200, ""), "how it ended")
    for name in ("end_class", "code", "status", "queue_us", "cold_us", "instantiate_us", "call_us", "cpu_us", "peak_memory_bytes", "host_calls", "host_bytes", "egress_bytes"):
        expect_equal(record[0][name], line[name], name)
    expect_equal((line["host_calls"] >= 1, line["egress_bytes"]), (True, 5000), "what it asked the host for")
    expect(line["host_bytes"] >= 5000 and line["cpu_us"] > 0 and line["total_us"] >= line["call_us"] > 0, f"figures: {line}")
    expect_equal(record[0]["response_bytes"], len(base64.b64decode(answer["body_b64"])), "bytes of the answer")


@test("who waits for a place is seen while it waits, and for how long afterwards; so is the place that is taken")
def places(world):
    calm = world.metrics()
    taken = ("alga_executions_running", "alga_executions_waiting", 'alga_pool_slots_in_use{kind="memories"}')
    expect_equal([calm[series] for series in taken], [0, 0, 0], "before")
    world.upstream.hold()
    try:
        first = world.held()
        eventually(lambda: [world.sample(series) for series in taken] == [1, 0, 1], 20, "one that runs")
        second = world.aside("/echo")
        eventually(lambda: [world.sample(series) for series in taken[:2]] == [1, 1], 20, "one that waits")
        seen = time.monotonic()
        time.sleep(0.2)
        waited = time.monotonic() - seen
    finally:
        world.upstream.let_go()
    for thread, answers in (first, second):
        thread.join()
        expect_equal(answers[0]["status"], 200, "execution")
    eventually(lambda: [world.sample(series) for series in taken] == [0, 0, 0], 20, "all places are free")
    world.moves(calm, {"alga_runner_queue_seconds_count": 2})
    expect(world.since(calm)["alga_runner_queue_seconds_sum"] >= waited, f"it waited for {waited} s")


@test("secrets that are still open are a hit, others a miss, and envelopes that do not open a failure")
def secret_cache(world):
    def envelope(text, **more):
        return {"ciphertext_b64": base64.b64encode(text).decode(), "algorithm": "inline/base64", "version": "1", **more}

    def use(envelope):
        return world.execute("/secret", providers=["cap:secrets.get"], envelope=envelope)["status"]

    before = world.metrics()
    good = envelope(b'{"key": "value"}')
    expect_equal([use(good) for _ in range(3)], [200] * 3, "executions")
    world.moves(before, {"alga_secret_cache_misses_total": 1, "alga_secret_cache_hits_total": 2}, ["alga_secret"])
    expect_equal(use(envelope(b"no JSON")), 500, "what is no envelope")
    expect_equal(use({**good, "expires_at": "2020-01-01T00:00:00Z"}), 500, "an old one")
    changed = {"alga_secret_cache_misses_total": 2, "alga_secret_cache_hits_total": 2, "alga_secret_open_failures_total": 2}
    world.moves(before, changed, ["alga_secret"])


@test("denials are counted by their reason")
def denials(world):
    before = world.metrics()
    world.execute("/config")  # one value, and all of them
    world.moves(before, {'alga_denials_total{reason="capability"}': 2}, ["alga_denials_total"])
    world.execute("/fetch", providers=["cap:http.fetch"], query={"url": "https://not-allowed.example.test/"})
    world.moves(before, {'alga_denials_total{reason="capability"}': 2, 'alga_denials_total{reason="egress"}': 1}, ["alga_denials_total"])


@test("limits that were hit are counted by their kind, and executions by how they ended")
def limits(world):
    def hit(limit, end, *arguments, **more):
        before = world.metrics()
        body = world.body(*arguments, **{name: value for name, value in more.items() if name not in ("limits", "headers")})
        body["limits"].update(more.get("limits", {}))
        body["http"]["headers"] = more.get("headers", {})
        answer = world.server.execute(body).json()
        expect_equal(answer["end_class"], end, f"{limit}: {answer}")
        wanted = {f'alga_limit_hits_total{{limit="{limit}"}}': 1, f'alga_runner_executions_total{{end="{end}"}}': 1}
        world.moves(before, wanted, ["alga_limit_hits_total", "alga_runner_executions_total"])

    hit("wall_time", "wall_limit", "/loop", limits={"timeout_ms": 100})
    hit("cpu_time", "cpu_limit", "/loop", limits={"fuel": 50_000_000})
    hit("memory", "memory_limit", "/allocate", limits={"memory_mb": 64})
    hit("response_body", "hostcall_limit", "/body", query={"size": str(11 * MEBI)})
    hit("host_calls", "hostcall_limit", "/call-flood", providers=["cap:config.read"])
    hit("header_count", "refused", "/echo", headers={f"x-{i}": "1" for i in range(101)})


@test("bundles that are too large, unpack to too much or hold too many files are hits of their limits and their authors' fault")
def bundles(world):
    component = (Path(__file__).resolve().parents[1] / "guests" / "text" / "echo.wasm").read_bytes()
    noise = random.Random(7).randbytes(17 * MEBI)
    cases = (
        ("bundle_archive", "archive.too_large", {"ui/noise.bin": noise}),
        ("bundle_unpacked", "archive.unpacked_too_large", {"ui/zeros.bin": bytes(49 * MEBI)}),
        ("bundle_entries", "archive.too_many_entries", {f"ui/{i}.txt": b"x" for i in range(41)}),
    )
    for limit, code, files in cases:
        packed = world.server.bundles / "packed.tar.zst"
        content_hash = bundle.pack_files({"manifest.json": b"{}", "dist/main.wasm": component, **files}, packed)
        bundle.place(world.server.bundles, TENANT, EXTENSION, packed, content_hash)
        packed.unlink()
        before = world.metrics()
        answer = world.execute("/", content_hash=content_hash)
        expect_equal((answer["status"], answer["error"], answer["code"], answer["end_class"]), (502, f"bundle_fetch_failed: {code}", code, "bad_component"), limit)
        wanted = {f'alga_limit_hits_total{{limit="{limit}"}}': 1, "alga_bundle_cache_misses_total": 1, "alga_bundle_cache_failures_total": 1}
        world.moves(before, wanted, ["alga_limit_hits_total", "alga_bundle_cache"])


@test("what a runner made of requests with an idempotency key is counted, answers that it did not keep, too")
def idempotency(world):
    before = world.metrics()
    for path, key, size in (("/random", "a", None), ("/random", "a", None), ("/echo", "a", None), ("/body", "large", str(2 * MEBI)), ("/body", "large", str(2 * MEBI))):
        query = {"size": size} if size else None
        world.execute(path, method="POST", query=query, headers={"x-idempotency-key": key})
    series = "alga_runner_idempotency_total"
    wanted = {f'{series}{{outcome="fresh"}}': 3, f'{series}{{outcome="replay"}}': 1, f'{series}{{outcome="mismatch"}}': 1, 'alga_runner_idempotency_not_kept_total{reason="too_large"}': 2}
    world.moves(before, wanted, [series, "alga_runner_idempotency_not_kept"])
    expect(world.sample("alga_runner_idempotency_bytes") > 0, "what is kept")


@test("the process says what it holds and how long its start took")
def process(world):
    pid = world.server.process.pid
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    resident = int(status["VmRSS"].split()[0]) * 1024
    metrics = world.metrics()
    expect(0.5 < metrics["process_resident_memory_bytes"] / resident < 2, f"{metrics['process_resident_memory_bytes']} of {resident}")
    expect(metrics["alga_startup_seconds"] > 0, "start-up time")
    before = metrics["process_cpu_seconds_total"]
    world.server.execute({**world.body("/loop"), "limits": {"timeout_ms": 5000, "fuel": 300_000_000}})
    eventually(lambda: world.sample("process_cpu_seconds_total") >= before + 0.3, 20, "the time that a guest computed")


class StuckLog(LoneRunner):
    """Its log goes into a pipe that is read when the test says so."""

    def __init__(self, folder, settings=""):
        super().__init__(folder, settings)
        os.mkfifo(self.log)
        self.reader = os.open(self.log, os.O_RDONLY | os.O_NONBLOCK)
        self.read = b""

    def output(self):
        while True:
            try:
                piece = os.read(self.reader, MEBI)
            except BlockingIOError:
                piece = b""
            if not piece:
                return self.read.decode(errors="replace")
            self.read += piece


@test("log lines that nobody takes are dropped, counted, and told of as soon as somebody does")
def log_drops(world):
    settings = f"{UNPROTECTED}[log]\ncapability_sample = 1\n"
    with StuckLog(world.server.folder / "stuck", settings) as server:
        stuck = World.__new__(World)
        stuck.server, stuck.upstream, stuck.hash = server, world.upstream, server.place(fixture(ECHO))
        dropped = "alga_log_dropped_lines_total"
        expect_equal(stuck.sample(dropped), 0, "before")
        for _ in range(10):
            expect_equal(stuck.execute("/call-flood", providers=["cap:config.read"])["end_class"], "hostcall_limit", "ten thousand calls")
            if stuck.sample(dropped) > 0:
                break
        lost = stuck.sample(dropped)
        expect(lost > 0, "nothing was dropped")
        told = lambda: sum(line["dropped"] for line in server.log_lines("log lines were dropped"))  # noqa: E731
        eventually(lambda: told() == stuck.sample(dropped), 30, lambda: f"{told()} told, {stuck.sample(dropped)} counted")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder, Upstream() as upstream:
        world = World(folder, upstream)
        with world.server:
            return main(world)


if __name__ == "__main__":
    sys.exit(run())
