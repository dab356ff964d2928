#!/usr/bin/python3
"""The disk of a control plane, and that of a runner, is full, on a platform in processes of its own: what
docs/operations/failures.md says about it. What does not need the disk goes on, nothing is there by halves, and nothing
needs a restart once there is room."""

import random
import sys
import tempfile
from pathlib import Path

from harness import bundle
from harness.fleet import Fleet
from harness.small_disk import SmallDisk
from harness.tap import eventually, expect, expect_equal, expect_in, main, test, unless_skipped

TENANT = "acme"
#: Compiles in no time.
PLAIN = Path(__file__).resolve().parents[1] / "guests" / "text" / "echo.wasm"
#: More than a runner gets by giving up what it has.
NOISE = 20 << 20
PATIENCE = 120  # seconds in which a busy machine does anything


class SmallFleet(Fleet):
    """The data of the control plane and of the runner are on disks of their own: `disks` by name."""

    def start(self):
        names = ("control-plane", "runner-0")
        self.disks = {name: self._stack.enter_context(SmallDisk(self.folder / name / "data", 128)) for name in names}
        return super().start()


class World:
    def __init__(self, fleet):
        self.fleet = fleet
        fleet.tenant(TENANT)
        self.publisher = fleet.publisher("example")
        self.slug = fleet.publish(self.publisher)
        self.install = fleet.install(TENANT, self.slug, config={"n": "0"})
        fleet.secret(TENANT, self.install, "api_key", "canary-58b1-0")

    def set(self, number):
        path = f"/api/v1/installs/{self.install['id']}/config"
        answer = self.fleet.operator.patch(path, {"set": {"n": str(number)}}, headers={"x-tenant-id": TENANT})
        expect_equal(answer.status, 200, f"a change ({answer.text()})")

    def serves(self, number):
        answer = self.fleet.call(TENANT, self.slug, "/config?key=n")
        expect_equal((answer.status, answer.json().get("value")), (200, {"ok": str(number)}), f"a call ({answer.text()})")

    def packed(self, name):
        """A bundle with `NOISE` bytes that do not compress: its file and its hash."""
        manifest = {**bundle.manifest(name), "publisher": "example"}
        del manifest["api"]
        packed = self.fleet.folder / f"{name}.tar.zst"
        return packed, bundle.pack(PLAIN, manifest, packed, {"noise": random.Random(58).randbytes(NOISE)})

    def upload(self, packed, digest):
        body = packed.read_bytes()
        path = f"/api/ext-bundles/upload-proxy?filename=b.tar.zst&size={len(body)}&declaredHash={digest}"
        return self.fleet.operator.post(path, body, headers={"content-type": "application/octet-stream"})

    def finalize(self, key, digest):
        return self.fleet.operator.post("/api/ext-bundles/finalize", {"key": key, "signature": self.publisher.sign(digest)})

    def listed(self):
        return {one["slug"] for one in self.fleet.operator.get("/api/v1/extensions").json()["extensions"]}


def counted(server, series):
    """The sum of the series of /metrics of a process whose names begin so."""
    lines = server.client().get("/metrics").text().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(series))


@test("a runner without room runs what it has, refuses what it would have to fetch, counts the records that it loses, and takes up both again")
def runner(world):
    fleet, disk, server = world.fleet, world.fleet.disks["runner-0"], world.fleet.runners[0]
    world.serves(0)
    # The runner is told of what is published only when it has room no more.
    disk.fill()
    try:

        def loses():
            world.serves(0)
            disk.fill()  # what was delivered made room
            return counted(server, "alga_records_dropped_total") > 0

        eventually(loses, PATIENCE, "records that are lost are counted")
        packed, digest = world.packed("unknown")
        published = fleet.upload(world.publisher, packed, digest)
        expect_equal(published.status, 200, f"publishing ({published.text()})")
        fleet.install(TENANT, "example.unknown")
        refused = fleet.call(TENANT, "example.unknown", "/")
        expect_equal((refused.status, refused.json()["code"]), (502, "archive.disk_full"), f"what it has not ({refused.text()})")
        world.set(1)
        world.serves(1)
    finally:
        disk.free()
    eventually(lambda: fleet.call(TENANT, "example.unknown", "/").status == 200, PATIENCE, "what it had not", every=0.2)
    lost = counted(server, "alga_records_dropped_total")
    answer = fleet.call(TENANT, world.slug, "/log?message=there-is-room")
    expect_equal(answer.status, 200, f"a call that logs ({answer.text()})")

    def delivered():
        lines = fleet.operator.get(f"/api/logs?install={world.install['id']}&limit=1000", headers={"x-tenant-id": TENANT}).json()["lines"]
        return any("there-is-room" in line["message"] for line in lines)

    eventually(delivered, PATIENCE, "the lines of the guest", every=0.2)
    expect_equal(counted(server, "alga_records_dropped_total"), lost, "records that are lost with room")


@test("a control plane without room refuses what is published, with nothing listed, and everything else goes on")
def control_plane(world):
    disk = world.fleet.disks["control-plane"]
    packed, digest = world.packed("cramped")
    staged = world.upload(packed, digest)
    expect_equal(staged.status, 200, f"an upload with room ({staged.text()})")
    key = staged.json()["upload"]["key"]
    disk.fill()
    try:
        refused = world.finalize(key, digest)
        expect_equal(refused.status, 503, f"a finalize without room ({refused.text()})")
        expect_in("publish.scratch_unavailable", refused.text(), "its code")
        refused = world.fleet.operator.post("/api/ext-bundles/upload-proxy?filename=b.tar.zst", b"x" * 3_000_000, headers={"content-type": "application/octet-stream"})
        expect_in("http.spool_failed", refused.text(), f"an upload without room ({refused.status})")
        expect("example.cramped" not in world.listed(), "what was refused is listed")
        world.set(2)
        world.serves(2)
    finally:
        disk.free()
    answer = world.finalize(key, digest)
    expect_equal((answer.status, answer.json().get("contentHash")), (200, digest), f"the same finalize with room ({answer.text()})")
    expect("example.cramped" in world.listed(), "what was published is not listed")


@test("afterwards every process ends in order, and the audit trail is whole")
def orderly(world):
    report = world.fleet.operator.get("/api/v1/audit/verify").json()
    expect_equal((report["intact"], report["faults"]), (True, []), "the audit trail")
    for server in reversed(world.fleet.processes()):
        expect_equal(server.stop(), 0, f"exit status of {server.folder.name}: {server.output()[-2000:]}")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder, SmallFleet(folder, gateways=1, runners=1) as fleet:
        return main(World(fleet))


sys.exit(unless_skipped(run, "full disks of processes of their own"))
