#!/usr/bin/python3
"""A secret is looked for in everything that the platform writes, serves or leaves in memory, in every spelling."""

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from harness.fleet import Fleet
from harness.memory import holds, secrets_in_memory
from harness.platform import CONFIG, Platform, loopback_rules
from harness.tap import Skip, eventually, expect, expect_equal, main, test
from harness.upstream import Upstream

# Long and without structure, so that a piece of it is as good as the whole.
CANARY = "canary7Qm2ZxW9vK4tR8yLpD3sF6hJ1nB5gC0aE"
ROTATED = "canary1Tb8YhU5jN2mK7vX4cZ9qW3eR6tG0pLdS"
SILENT = "canary5Kf3PzW8xQ1vN6bM4cR9tY2hJ7gD0sLaE"


class TracedFleet(Fleet):
    """Every role traces every request, logs every capability call, and sends its traces to `collector`."""

    def __init__(self, folder, collector):
        # So much time that each guest meets the one limit that ends it.
        super().__init__(folder, gateways=1, runners=1, timeout="1m")
        self.collector = collector

    def _tls(self, name):
        return f"""
[telemetry]
otlp_url = "{self.collector.origin}"
trace_sample = 1.0

[log]
level = "debug"
capability_sample = 1.0
{super()._tls(name)}"""


class World:
    def __init__(self, fleet, upstream):
        self.fleet, self.upstream = fleet, upstream
        self.tenant = fleet.tenant("acme")
        self.header = {"x-tenant-id": self.tenant}
        self.slug = fleet.publish(fleet.publisher("example"))
        self.install = fleet.install(self.tenant, self.slug, egress=loopback_rules(upstream), config={"key": "value"})
        fleet.secret(self.tenant, self.install, "api_key", CANARY)
        fleet.warm_up(self.tenant, self.install)

    def use(self, key, path="main-job?url={origin}/tickets"):
        """The guest reads the secret and sends it to an API that it may call; its answer does not contain it."""
        target = "/" + path.format(origin=self.upstream.origin)
        return self.fleet.call(self.tenant, self.slug, target, method="POST", body={}, headers={"x-idempotency-key": key})

    def answers(self):
        """What the platform tells people about what happened."""
        paths = ["audit?limit=500", "executions?limit=200", f"installs/{self.install['id']}", f"installs/{self.install['id']}/secrets"]
        for path in [f"/api/v1/{path}" for path in paths] + ["/api/logs?limit=200"]:
            answer = self.fleet.operator.get(path, headers=self.header)
            expect_equal(answer.status, 200, path)
            yield path, answer.body
        for process in self.fleet.processes():
            yield f"{process.role} /metrics", process.client().get("/metrics").body
        traces = self.traces()
        expect(len(traces) > 1000 and b"traceId" in traces, f"only {len(traces)} bytes of traces")
        yield "traces", traces

    def traces(self):
        return b"".join(body for _, _, _, body in self.fleet.collector.seen())


@test("secrets are set, used, repeated, rotated, mistyped and removed")
def live(world):
    for number in range(3):
        answer = world.use(f"key-{number}")
        expect_equal(answer.status, 200, f"the main job ({answer.text()})")
        expect(not holds(answer.body, CANARY), "the answer")
        expect_equal(world.use(f"key-{number}").body, answer.body, "the answer when repeated")
    expect_equal(world.upstream.seen()[-1][2].get("authorization"), CANARY, "what the API saw")
    world.fleet.secret(world.tenant, world.install, "api_key", ROTATED)
    expect_equal(world.use("key-rotated").status, 200, "after the rotation")
    operator, path = world.fleet.operator, f"/api/v1/installs/{world.install['id']}/secrets"
    for method, where, body, status, code in (
        ("PUT", f"{path}/not%20a%20name", {"value": CANARY}, 400, "secrets.invalid_name"),
        ("PUT", f"{path}/api_key", {"value": [CANARY]}, 400, "json.wrong_type"),
        ("PUT", f"{path}/api_key", {"value": CANARY, "unknown": CANARY}, 400, "json.unknown_member"),
        ("PUT", f"{path}/api_key", f'{{"value": "{CANARY}'.encode(), 400, "json.malformed"),
        ("PUT", f"{path}/big", {"value": CANARY * 4000}, 413, "secrets.too_large"),
        ("PUT", "/api/v1/installs/none/secrets/api_key", {"value": CANARY}, 404, "install.not_found"),
        ("POST", "/internal/runner/install-config", {"secret": CANARY}, 404, "http.not_found"),
    ):
        answer = operator.request(method, where, body, headers=world.header)
        expect_equal((answer.status, answer.json()["error"]["code"]), (status, code), f"{method} {where} ({answer.text()[:200]})")
        expect(not holds(answer.body, CANARY), f"the refusal of {method} {where}: {answer.text()[:200]}")
    # Guests that fail, take too long or want too much while their secrets are open.
    for path, status, code in (("throw", 502, "engine.guest_error"), ("loop", 504, "engine.cpu_limit"), ("allocate", 502, "engine.memory_limit")):
        answer = world.use(f"key-{path}", path)
        expect_equal((answer.status, answer.json()["code"]), (status, code), f"{path} ({answer.text()[:200]})")


@test("no API answer, no metric and no trace shows it")
def apis(world):
    eventually(lambda: b"traceId" in world.traces(), 20, "traces")
    time.sleep(2)  # records are on their way
    for path, body in world.answers():
        for secret in (CANARY, ROTATED):
            expect(not holds(body, secret), f"a secret in {path}")


@test("no file of any process, bundle store or cache holds it, and neither does a dump or a page of the database")
def files(world):
    folders = [world.fleet.folder, world.fleet.postgres.folder]
    world.fleet.postgres.sql("CHECKPOINT")
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                content = path.read_bytes()
                found += [str(path) for secret in (CANARY, ROTATED) if holds(content, secret)]
    expect_equal(found, [], "files that hold a secret")
    dump = world.fleet.postgres.dump().encode()
    expect(not holds(dump, CANARY) and not holds(dump, ROTATED), "the dump of the database")
    expect(len(dump) > 20_000, "the dump of the database is too short to mean anything")


@test("the ciphertext that is stored is not the secret's encoding, and changes with each version")
def at_rest(world):
    query = "SELECT encode(ciphertext, 'hex') FROM tenant_extension_install_secrets"
    first = world.fleet.postgres.sql(query)
    world.fleet.secret(world.tenant, world.install, "api_key", ROTATED)
    second = world.fleet.postgres.sql(query)
    expect(first != second, "the same value gave the same ciphertext")


@test("what a core file would hold, read as root, does not show a secret that is stored, sent to runners and open there")
def memory(world):
    if os.geteuid() != 0:
        raise Skip("only root may take a memory image of a process that is not dumpable")
    fleet = world.fleet
    tenant = fleet.tenant("silent")
    install = fleet.install(tenant, world.slug)
    fleet.secret(tenant, install, "api_key", SILENT)
    # What the administrator typed came through buffers that are not locked; what a guest reads is in its
    # memory (SECURITY.md). New processes have seen neither.
    for process in (fleet.server, fleet.runners[0]):
        process.stop()
        fleet.restart(process)
    opened = "alga_secret_cache_misses_total"
    for _ in range(3):
        answer = eventually(lambda: (got := fleet.call(tenant, world.slug, "/counter")).status == 200 and got, 60, "a call")
    expect_equal(answer.json(), {"counter": 1}, "a guest that does not look at its secret")
    metrics = fleet.runners[0].client().get("/metrics").text()
    expect(f"{opened} 0" not in metrics and opened in metrics, "the runner has not opened the secret")
    expect_equal(secrets_in_memory(os.getpid(), SILENT), {SILENT}, "what this very program holds: the search can find")
    for process in fleet.processes():
        found = secrets_in_memory(process.process.pid, SILENT)
        expect_equal(found, set(), f"secrets in the memory of the {process.role}")
    gateway = fleet.gateways[0].process.pid
    expect_equal(secrets_in_memory(gateway, CANARY, ROTATED), set(), "secrets in the memory of the gateway, ever")


@test("a server that dies leaves no core file")
def crash(world):
    with Platform(world.fleet.folder / "crash", config=CONFIG) as platform:
        process = platform.server.process
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
        expect_equal(core.split()[4:6], ["0", "0"], "the limit on core files")
        process.send_signal(signal.SIGABRT)
        eventually(lambda: process.poll() is not None, 30, "the end of the server")
        expect_equal(process.returncode, -signal.SIGABRT, "exit status")
        cores = [path for path in [*Path.cwd().glob("core*"), *platform.folder.rglob("core*")] if path.is_file()]
        expect_equal(cores, [], "core files")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-canary.") as folder, Upstream() as upstream, Upstream() as collector:
        with TracedFleet(Path(folder), collector) as fleet:
            return main(World(fleet, upstream))


sys.exit(run())
