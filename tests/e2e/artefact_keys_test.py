#!/usr/bin/python3
"""The exchange of the key that signs compiled code as docs/operations/many-machines.md describes it, block by block, on a
platform in processes of its own, with two runners that compile nothing, and under load: no request fails, runners take
what the new key signed, and nothing any more that only the former one did."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from harness.fleet import Fleet, internal_port
from harness.repeated import Repeated
from harness.server import program, surroundings
from harness.tap import eventually, expect, expect_equal, expect_in, main, test, unless_skipped
from harness.walk import DOCS

#: Compiles in no time.
PLAIN = Path(__file__).resolve().parents[1] / "guests" / "text" / "echo.wasm"
BLOCK = re.compile(r"^```bash (control-plane|runner)(?: (stop|server))?\n(.*?)^```$", re.M | re.S)
NOT_BELIEVED = "a shared artefact failed authentication and was not taken"
DROPPED = "a compiled artefact failed authentication and was removed"
ALL_COMPILED = "everything that installs use is compiled"


class Callers(Repeated):
    """Call through each gateway without a pause; `wrong` holds what was not answered with 200."""

    def __init__(self, world):
        self.world, self.count, self.wrong = world, 0, []
        super().__init__(*(partial(self._call, client) for client in world.fleet.gateway_clients()))

    def _call(self, client):
        try:
            answer = self.world.call(client=client)
            said = None if answer.status == 200 else (answer.status, answer.text())
        except OSError as error:
            said = str(error)
        self.count += 1
        if said:
            self.wrong.append(said)

    def some_more(self):
        before = self.count
        eventually(lambda: self.count > before + 20, 60, "calls")


class Reader:
    """Whoever follows the page: a shell on each machine, whose variables the reader carries from one to the next."""

    def __init__(self, world):
        self.world, self.fleet = world, world.fleet
        self.variables = {}
        self.machines = {"control-plane": [self.fleet.server], "runner": self.fleet.runners}
        for role, servers in self.machines.items():
            for server in servers:
                self._furnish(role, server)

    def _furnish(self, role, server):
        """A machine's folder as the page has it: `ROLE/alga.toml`, which the server is started with, and `ROLE.log`."""
        place = self._place(server)
        (place / role).mkdir(parents=True)
        config = server.config.read_text().replace("[server]", f'[server]\ndata_dir = "{server.folder}/data"', 1)
        (place / role / "alga.toml").write_text(config)
        (place / role / "alga.toml").chmod(0o600)
        (place / f"{role}.log").symlink_to(server.log)
        server.config = place / role / "alga.toml"
        (place / "bin").mkdir()
        (place / "bin" / "algad").symlink_to(program())

    @staticmethod
    def _place(server):
        return server.folder / "machine"

    def follow(self, blocks, after_each, whenever):
        """Blocks of one role that stand together are followed on each machine of that role, one after another; `whenever`
        is what may happen between any two steps."""
        while blocks:
            role = blocks[0][0]
            together = [block for block in blocks[: next((at for at, block in enumerate(blocks) if block[0] != role), len(blocks))]]
            for server in self.machines[role]:
                for _, kind, text in together:
                    self._step(server, kind, text)
                after_each()
            blocks = blocks[len(together) :]
            whenever(blocks)

    def _step(self, server, kind, text):
        if kind == "stop":
            expect_equal(server.stop(), 0, f"exit status of {server.folder.name}")
        elif kind == "server":
            expect_equal(text.split(), ["algad", "serve", "--config", f"{server.role}/alga.toml"], "how the page starts it")
            self.fleet.restart(server)
        else:
            self._run(server, text)

    def _run(self, server, text):
        place = self._place(server)
        env = surroundings({**self.variables, "PATH": f"{place}/bin:{os.environ['PATH']}"})
        script = f"set -a\n{text}\nenv -0 > {place}/env\n"
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=place, env=env, capture_output=True, text=True, timeout=300)
        expect_equal(done.returncode, 0, f"status of:\n{text}\n{done.stdout}{done.stderr}")
        after = dict(entry.split("=", 1) for entry in (place / "env").read_text().split("\0") if "=" in entry)
        self.variables = {name: after[name] for name in ("former", "new", "before") if name in after}


class World:
    def __init__(self, fleet):
        self.fleet = fleet
        self.publisher = fleet.publisher("example")
        self.tenant = fleet.tenant("acme")
        self.slug = fleet.publish(self.publisher, component=PLAIN)
        self.install = fleet.install(self.tenant, self.slug)
        fleet.publish(self.publisher, name="later", component=PLAIN)  # that nobody has installed
        self.kept = fleet.folder / "signed by the former key"

    def call(self, slug=None, client=None):
        return self.fleet.call(self.tenant, slug or self.slug, "/", client=client)

    def shared(self):
        """Where the bundle store has what was compiled of the installed extension."""
        bundle = self.install["content_hash"].removeprefix("sha256:")
        return self.fleet.objects.folder / "s3" / self.fleet.objects.bucket / "artefacts" / bundle

    def counted(self, server, series):
        lines = server.client().get("/metrics").text().splitlines()
        return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{series} ")), 0.0)


def starts_by_itself(world, reader, callers, left):
    """The control plane starts again in the middle of the exchange, before and after the runners were told of the new key."""
    if not any("--use" in text for _, _, text in left):
        return
    expect_equal(world.fleet.server.stop(), 0, "exit status")
    world.fleet.restart(world.fleet.server)
    signs = world.fleet.server.logged("compiles")[-1]["artefact_key"]
    expect_equal(signs, reader.variables["former"], "the key that it signs with, though the next one is there")
    callers.some_more()


@test("the key is exchanged under load as the page says, and no request fails")
def exchange(world):
    shutil.copytree(world.shared(), world.kept)
    page = (DOCS / "many-machines.md").read_text()
    blocks = BLOCK.findall(page)
    expect(len(blocks) >= 10, f"blocks of the page: {blocks}")
    reader = Reader(world)
    with Callers(world) as callers:
        callers.some_more()
        reader.follow(blocks, callers.some_more, lambda left: starts_by_itself(world, reader, callers, left))
        callers.some_more()
    expect_equal(callers.wrong, [], f"requests that failed, of {callers.count}")
    world.former, world.new = reader.variables["former"], reader.variables["new"]
    expect(world.former != world.new, "another key")
    for runner in world.fleet.runners:
        expect_in(f'artefact_keys = ["{world.new}"]', runner.config.read_text(), "what a runner believes in the end")


@test("what installs use is signed by the new key, and no runner took the exchange for tampering")
def signed_anew(world):
    signatures = list(world.shared().glob("*.sig"))
    expect(len(signatures) > 0, "the bundle store has no signature")
    for file in signatures:
        expect(file.read_text() != (world.kept / file.name).read_text(), "another signature in the bundle store")
    for runner in world.fleet.runners:
        dropped = runner.log_lines(DROPPED)
        expect_equal(len(dropped), 2, "what a runner dropped at its last start: it was told of both extensions when they were published")
        expect_equal({line["level"] for line in dropped}, {"warn"}, "how loud")
        expect_equal(world.counted(runner, "alga_artefacts_untrusted_total"), 2, "counted as signed by the former key")
        expect_equal(world.counted(runner, "alga_artefacts_tampered_total"), 0, "counted as tampering")


@test("every runner takes what is published, and what is installed, after the exchange")
def accepted(world):
    world.fleet.publish(world.publisher, name="after", component=PLAIN)
    for slug in ("example.after", "example.later"):
        install = world.fleet.install(world.tenant, slug)
        # It may have to be compiled again first; who calls in that moment is told to come back.
        eventually(lambda slug=slug: world.call(slug).status == 200, 60, f"an answer of {slug}")
        for answer in world.fleet.warm_up(world.tenant, install):
            expect_equal((answer.status, answer.json()), (200, {"status": "ready"}), f"{slug} at a runner")


@test("a runner refuses what only the former key signed, though it lies in the bundle store, and the other one keeps answering")
def refused(world):
    runner, other = world.fleet.runners
    for answer in world.fleet.warm_up(world.tenant, world.install):
        expect_equal((answer.status, answer.json()), (200, {"status": "ready"}), "at a runner")
    good = world.fleet.folder / "signed by the new key"
    shutil.copytree(world.shared(), good)
    runner.stop()
    shutil.rmtree(runner.folder / "data" / "artefacts")
    shutil.copytree(world.kept, world.shared(), dirs_exist_ok=True)
    world.fleet.restart(runner)
    wire = world.fleet.wires["execute-0"]

    def lead_to(ports):
        wire.cut()  # whoever asks again does it on a new connection
        wire.targets = ports
        wire.mend()

    lead_to([internal_port(runner)])
    answer = world.call()
    expect_equal((answer.status, answer.json()["code"]), (503, "engine.unavailable"), "what is not believed")
    expect(answer.header("retry-after"), "when to come back")
    line = runner.logged(NOT_BELIEVED, lambda line: line["bundle"] == world.shared().name)[-1]
    expect_equal((line["level"], line["code"]), ("warn", "engine.artefact_untrusted"), "what the runner says")
    lead_to([internal_port(other)])
    expect_equal(world.call().status, 200, "at the runner that has it")
    shutil.copytree(good, world.shared(), dirs_exist_ok=True)
    lead_to([internal_port(runner)])
    expect_equal(world.call().status, 200, "when what the new key signed is there again")
    lead_to([internal_port(runner), internal_port(other)])


@test("a control plane that finds the former key's work in the bundle store puts its own there at its next start")
def mended(world):
    expect_equal(world.fleet.server.stop(), 0, "exit status")
    shutil.copytree(world.kept, world.shared(), dirs_exist_ok=True)
    before = len(world.fleet.server.log_lines(ALL_COMPILED))
    world.fleet.restart(world.fleet.server)
    eventually(lambda: len(world.fleet.server.log_lines(ALL_COMPILED)) > before, 60, "its word that everything is compiled")
    signatures = list(world.shared().glob("*.sig"))
    expect(len(signatures) > 0, "the bundle store has no signature")
    for file in signatures:
        expect(file.read_text() != (world.kept / file.name).read_text(), "its own signature")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder, Fleet(folder) as fleet:
        return main(World(fleet))


sys.exit(unless_skipped(run, "the exchange of the key of compiled code"))
