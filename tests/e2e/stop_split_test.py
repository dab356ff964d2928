#!/usr/bin/python3
"""Servers that are told to stop while they wait for a bundle store that takes requests and never answers, on a platform
in processes of its own: they end in their drain time and with status 0, and do afterwards what was left."""

import sys
import tempfile
import threading
from pathlib import Path

from harness.fleet import Fleet, internal_port
from harness.network import Relay
from harness.server import run as algad
from harness.tap import eventually, expect, expect_equal, main, test, unless_skipped

#: Compiles in no time.
PLAIN = Path(__file__).resolve().parents[1] / "guests" / "text" / "echo.wasm"
ALL_COMPILED = "everything that installs use is compiled"


class WiredFleet(Fleet):
    """Reaches its bundle store by `store`, a wire that can be stalled. Nobody gives the store up for much longer than
    Algad.stop() has patience."""

    def _prepare_objects(self):
        self.store = self._stack.enter_context(Relay(self.objects.port))

    def _bundles(self):
        bundles = super()._bundles().replace(self.objects.origin, f"http://127.0.0.1:{self.store.port}")
        return bundles.replace("[bundles]", '[bundles]\ntimeout = "10m"', 1)

    def _internal(self, name):
        return super()._internal(name).replace("[server]", '[server]\ndrain_time = "1s"', 1)


class World:
    def __init__(self, fleet):
        self.fleet = fleet
        self.tenant = fleet.tenant("acme")
        self.publisher = fleet.publisher("example")
        self.slug = fleet.publish(self.publisher, component=PLAIN)
        fleet.install(self.tenant, self.slug)

    def call(self, slug=None):
        return self.fleet.call(self.tenant, slug or self.slug, "/")

    def held(self):
        """Waits until a request has gone to the store, which says nothing from then on."""
        expect(self.fleet.store.held.wait(60), "nothing is asked of the bundle store")


@test("a control plane starts beside a silent bundle store, ends at once when it is told to, and compiles after its next start what was left")
def control_plane(world):
    server = world.fleet.server
    # There is something to compile again at the next start.
    keys = ("keys", "artefacts", "--rotate", "--data", server.folder / "data", "--config", server.config)
    expect_equal(algad(*keys)[0], 0, "a new key of compiled code")
    server.stop()
    world.fleet.store.hold_after(0)
    server.launch()
    world.held()
    eventually(lambda: server.port_file.exists(), 60, "its port")
    expect_equal(server.stop(), 0, "exit status")
    before = len(server.log_lines(ALL_COMPILED))
    world.fleet.store.cut()
    world.fleet.store.mend()
    world.fleet.restart(server)
    lines = eventually(lambda: server.log_lines(ALL_COMPILED)[before:], 120, "its word that everything is compiled")
    expect_equal((lines[0]["compiled_anew"], lines[0]["refused"]), (1, 0), "what it compiled")


@test("a control plane that stops while an upload waits for a silent bundle store ends in its drain time")
def upload(world):
    fleet, server = world.fleet, world.fleet.server
    fleet.store.hold_after(0)
    answers = []

    def publish():
        try:
            answers.append(fleet.publish(world.publisher, name="late", component=PLAIN))
        except Exception as error:  # noqa: BLE001  whatever way it hears of it
            answers.append(error)

    publishing = threading.Thread(target=publish)
    publishing.start()
    world.held()
    expect_equal(server.stop(), 0, "exit status")
    expect_equal(server.log_lines("connections outlive the server"), [], "requests that it left behind")
    publishing.join()
    expect(isinstance(answers[0], Exception), f"what the publisher hears: {answers}")
    fleet.store.cut()
    fleet.store.mend()
    fleet.restart(server)
    expect_equal(fleet.publish(world.publisher, name="late", component=PLAIN), "example.late", "published afterwards")


@test("a runner that stops while it fetches from a silent bundle store ends in its drain time")
def runner(world):
    fleet, server = world.fleet, world.fleet.runners[0]
    fleet.install(world.tenant, "example.late")
    # Once more from nothing; and it is told of the key that the first test made.
    server.stop()
    former, *_, latest = (line["artefact_key"] for line in fleet.server.log_lines("compiles"))
    server.config.write_text(server.config.read_text().replace(former, latest))
    for name in ("cache", "artefacts"):
        folder = server.folder / "data" / name
        folder.rename(folder.with_name(f"former-{name}"))
    fleet.restart(server)
    fleet.store.hold_after(0)
    statuses = []
    calling = threading.Thread(target=lambda: statuses.append(world.call("example.late").status))
    calling.start()
    world.held()
    expect_equal(server.stop(), 0, "exit status")
    calling.join()
    expect_equal(statuses, [502], "what the caller hears")
    fleet.store.cut()
    fleet.store.mend()
    fleet.restart(server)
    fleet.wires["execute-0"].targets = [internal_port(server)]
    eventually(lambda: world.call("example.late").status == 200, 60, "an answer afterwards")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder, WiredFleet(folder, gateways=1, runners=1) as fleet:
        return main(World(fleet))


sys.exit(unless_skipped(run, "stopping beside a silent bundle store"))
