#!/usr/bin/python3
"""Hostile and decent tenants together, for as long as $SOAK_SECONDS says (20 unless told; a day is 86400): what the
server holds on to stays flat, and every call of the decent ones is served."""

import os
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from harness.platform import CONFIG, Platform  # noqa: E402
from harness.tap import expect, expect_equal, main, test  # noqa: E402

SECONDS = float(os.environ.get("SOAK_SECONDS", "20"))
TENANTS = int(os.environ.get("SOAK_TENANTS", "24"))
GUESTS = Path(__file__).resolve().parents[1] / "guests" / "text"
HOSTILE = ("loop", "trap", "recurse", "grow-memory", "grow-table", "call-flood", "log-flood", "hoard", "many-headers", "exit", "bulk-table")
CALLERS = 6


def held(pid):
    """What the process holds: descriptors, threads, mappings, resident mebibytes."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return {
        "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
        "threads": int(status["Threads"]),
        "mappings": len(Path(f"/proc/{pid}/maps").read_text().splitlines()),
        "mebibytes": int(status["VmRSS"].split()[0]) // 1024,
    }


class World:
    def __init__(self, platform):
        self.platform, self.pid = platform, platform.server.process.pid
        publisher = platform.publisher("example")
        slugs = {name: platform.publish(publisher, name=name, component=GUESTS / f"{name}.wasm") for name in ("echo", *HOSTILE)}
        self.decent, self.hostile = [], []
        for number in range(TENANTS):
            tenant = platform.tenant(f"tenant-{number}")
            name = "echo" if number % 2 == 0 else HOSTILE[number // 2 % len(HOSTILE)]
            # Hostile ones end soon; decent ones have time, also beside them on a busy machine.
            platform.install(tenant, slugs[name], limits={"timeout_ms": 10_000 if name == "echo" else 300})
            (self.decent if name == "echo" else self.hostile).append((tenant, slugs[name]))
        self.mappings = int(Path("/proc/sys/vm/max_map_count").read_text())

    def load(self, seconds):
        """Calls everybody at random; returns the times of the decent tenants' calls, failures apart."""
        until, times, wrong = time.monotonic() + seconds, [], []

        def caller(seed):
            draw = random.Random(seed)
            while time.monotonic() < until:
                decent = draw.random() < 0.7
                tenant, slug = draw.choice(self.decent if decent else self.hostile)
                began = time.monotonic()
                answer = self.platform.call(tenant, slug, "/", method="POST", body=b"asked")
                if decent:
                    times.append(time.monotonic() - began)
                    if (answer.status, answer.body) != (200, b"asked"):
                        wrong.append((answer.status, answer.text()[:100]))
                elif answer.status < 400:
                    wrong.append((tenant, answer.status))

        callers = [threading.Thread(target=caller, args=(seed,)) for seed in range(CALLERS)]
        for one in callers:
            one.start()
        for one in callers:
            one.join()
        return sorted(times), wrong


@test(f"{TENANTS} tenants, half of them hostile, leave nothing behind")
def soak(world):
    world.load(min(5, SECONDS / 4))  # every guest has been seen, every pool has its size
    before = held(world.pid)
    first, wrong = world.load(SECONDS / 2)
    last, more = world.load(SECONDS / 2)
    after = held(world.pid)
    slowest = " and ".join(f"{times[int(len(times) * 0.99)]:.3f} s" for times in (first, last))
    print(f"# {len(first) + len(last)} calls of decent tenants, the slowest hundredth {slowest}; before {before}, after {after}")
    expect_equal((wrong + more)[:3], [], "decent calls that failed, or hostile ones that succeeded")
    expect(after["descriptors"] <= before["descriptors"] + 16, f"descriptors: {before} {after}")
    expect(after["threads"] <= before["threads"] + 4, f"threads: {before} {after}")
    expect(after["mappings"] < world.mappings // 2, f"mappings: {after} of {world.mappings}")
    expect(after["mappings"] <= before["mappings"] * 1.1 + 200, f"mappings: {before} {after}")
    expect(after["mebibytes"] <= before["mebibytes"] * 1.1 + 64, f"memory: {before} {after}")


@test("after all of that the server is well")
def still_well(world):
    expect_equal(world.platform.server.client().get("/readyz").status, 200, "/readyz")


def run():
    config = CONFIG + "\n[limits]\nmemory = \"64MiB\"\n"
    with tempfile.TemporaryDirectory(prefix="alga-hostile.") as folder, Platform(folder, config=config) as platform:
        return main(World(platform))


if __name__ == "__main__":
    sys.exit(run())
