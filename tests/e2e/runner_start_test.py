#!/usr/bin/python3
"""What a lone runner says of itself and of whom it refuses: for whoever operates it."""

import os
import sys
import tempfile
from pathlib import Path

from harness.lone_runner import KNOWN, ROUTED, LoneRunner
from harness.tap import expect, expect_equal, main, test

KIB = 1024


class World:
    def __init__(self, folder):
        self.folder = Path(folder)

    def bounded(self, name, locked_bytes, settings=""):
        """A runner that may lock so much memory and, if we are root, is not excused from that."""
        server = LoneRunner(self.folder / name, settings)
        server.prefix = ["prlimit", f"--memlock={locked_bytes}"]
        if os.geteuid() == 0:
            server.prefix = ["setpriv", "--inh-caps=-ipc_lock", "--bounding-set=-ipc_lock", *server.prefix]
        return server


def locked(server):
    metrics = server.client().get("/metrics").text()
    return [line for line in metrics.splitlines() if line.startswith("alga_secret_memory_locked")]


@test("a runner that cannot lock the memory of opened secrets says so and runs")
def not_locked(world):
    with world.bounded("not-locked", 64 * KIB) as server:
        line = server.logged("opened secrets may be written to swap: their memory cannot be locked")[0]
        expect_equal((line["level"], line["code"], line["bytes"]), ("warn", "secret.memory_not_locked", 64 * KIB * KIB), "the line")
        expect("RLIMIT_MEMLOCK" in line["what_to_do"], line["what_to_do"])
        expect_equal(locked(server), ["alga_secret_memory_locked 0"], "the metric")


@test("one that can says nothing, and our systemd unit allows what the defaults need")
def is_locked(world):
    unit = (Path(os.environ.get("ALGA_ROOT") or Path(__file__).resolve().parents[2]) / "deploy/systemd/algad@.service").read_text()
    allowed = int(unit.split("LimitMEMLOCK=")[1].split("M\n")[0]) * KIB * KIB
    expect(allowed > 64 * KIB * KIB, f"LimitMEMLOCK={allowed} and secrets.cache_bytes = 64MiB")
    with world.bounded("locked", 4 * KIB * KIB, '[secrets]\ncache_bytes = "1MiB"\n') as server:
        server.logged("ready")
        expect_equal([line for line in server.log_lines("opened secrets may be written to swap: their memory cannot be locked")], [], "complaints")
        expect_equal(locked(server), ["alga_secret_memory_locked 1"], "the metric")


@test("who is refused before anything is executed is in the log, by code and address, and a flood is a few lines")
def refusals(world):
    with LoneRunner(world.folder / "refusals") as server:
        client = server.client()
        for headers, body, status, code in (
            (ROUTED, {}, 401, "runner.unauthenticated"),
            ({**ROUTED, **KNOWN}, b"{", 400, "json.malformed"),
            (KNOWN, b"x" * (64 << 20), 413, "http.body_too_large"),
        ):
            answer = client.post("/v1/execute", body, headers={"content-type": "application/json", **headers})
            expect_equal(answer.status, status, code)
            line = server.logged("request refused", lambda one, code=code: one["code"] == code)[0]
            expect_equal((line["status"], line["peer"], line["left_out"]), (status, "127.0.0.1", 0), "the line")
            expect_equal(line["request_id"], answer.header("x-request-id"), "the request")
        secret = "a-token-that-nobody-gave"
        for _ in range(300):
            client.post("/v1/execute", {}, headers={**ROUTED, "x-runner-service-token": secret})
        counted = [line for line in client.get("/metrics").text().splitlines() if line.startswith('alga_runner_refused_total{code="runner.unauthenticated"}')]
        expect_equal(counted, ['alga_runner_refused_total{code="runner.unauthenticated"} 301'], "the metric")
        lines = server.log_lines("request refused")
        expect(len(lines) < 150, f"{len(lines)} lines of 303 refusals")
        expect(secret not in server.output(), "the token of a stranger is in the log")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder:
        return main(World(folder))


if __name__ == "__main__":
    sys.exit(run())
