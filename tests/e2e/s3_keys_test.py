#!/usr/bin/python3
"""The exchange of the S3 store's keys as docs/operations/many-machines.md describes it, block by block, on a platform in
processes of its own and under load: no invocation fails, the first key is refused afterwards, and a key in the
environment that the servers were started from takes no part."""

import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from harness.client import Client
from harness.fleet import Fleet
from harness.repeated import Repeated
from harness.server import program, surroundings
from harness.servers import ObjectStore
from harness.tap import eventually, expect, expect_equal, expect_in, main, test, unless_skipped
from harness.walk import blocks_of

FIRST, SECOND = ("exchange-1", "canary-41d7-s3-first"), ("exchange-2", "canary-41d7-s3-second")
#: Compiles in no time.
PLAIN = Path(__file__).resolve().parents[1] / "guests" / "text" / "echo.wasm"
COMPLAINT = "the bundle store cannot be used"
# The names that many operators' shells have; algad reads them where the configuration says nothing.
OF_A_SHELL = {"S3_ACCESS_KEY": FIRST[0], "S3_SECRET_KEY": FIRST[1]}


class FilesFleet(Fleet):
    """Has the keys of the store in files, one pair for the control plane and one for the runners, as on the page."""

    def _objects(self):
        objects = ObjectStore(self.folder / "objects", accounts=True)
        self.place = self.folder / "exchange"
        for role in ("control-plane", "runner"):
            secrets = self.place / role / "secrets"
            secrets.mkdir(parents=True)
            (secrets / "s3-access-key").write_text(FIRST[0])
            (secrets / "s3-secret-key").write_text(FIRST[1])
        return objects

    def _prepare_objects(self):
        for key in (FIRST, SECOND):
            self.objects.add_key(*key)

    def _environment(self, _process):
        return OF_A_SHELL

    def _control_plane(self):
        return self._with_files(super()._control_plane(), "control-plane")

    def _runner(self, wire):
        return self._with_files(super()._runner(wire), "runner")

    def _with_files(self, config, role):
        for name, file in (("S3_ACCESS", "s3-access-key"), ("S3_SECRET", "s3-secret-key")):
            config = config.replace(f'"env:{name}"', f'"file:{self.place}/{role}/secrets/{file}"')
        return config


class World:
    def __init__(self, fleet):
        self.fleet = fleet
        self.publisher = fleet.publisher("example")
        self.tenant = fleet.tenant("acme")
        self.slug = fleet.publish(self.publisher, component=PLAIN)
        fleet.install(self.tenant, self.slug)
        fleet.publish(self.publisher, name="later", component=PLAIN)  # that no runner has

    def call(self, slug=None, client=None):
        return self.fleet.call(self.tenant, slug or self.slug, "/", client=client)

    def starts(self, runner):
        """What a start of this runner said of the store, once it has looked."""
        runner.stop()
        began = len(runner.output())
        self.fleet.restart(runner)
        # The look is one job behind others; what it finds is logged before anything is asked of it.
        eventually(lambda: self.call().status == 200, 30, "a call after the restart")
        return runner.output()[began:]


class Callers(Repeated):
    """Call through each gateway without a pause; `wrong` holds what was not answered with 200."""

    def __init__(self, world):
        self.world, self.count, self.wrong = world, 0, []
        super().__init__(*(partial(self._call, client) for client in world.fleet.gateway_clients()))

    def _call(self, client):
        answer = self.world.call(client=client)
        self.count += 1
        if answer.status != 200:
            self.wrong.append((answer.status, answer.text()))

    def some_more(self):
        before = self.count
        eventually(lambda: self.count > before + 20, 60, "calls")


def block_of_the_page():
    blocks = [text for _, _, text in blocks_of("many-machines.md") if "S3_NEW_ACCESS_KEY" in text]
    expect_equal(len(blocks), 1, "blocks of the page that exchange S3 keys")
    return blocks[0]


def follow(world):
    """Runs the block as the page's reader would, in the folder with the roles' files."""
    fleet = world.fleet
    tools = fleet.place / ".tools"
    tools.mkdir()
    (tools / "algad").symlink_to(program())
    (fleet.place / "bundle.tar.zst").write_bytes((fleet.folder / "echo-1.0.0.tar.zst").read_bytes())
    env = surroundings(OF_A_SHELL)
    env |= {"S3_NEW_ACCESS_KEY": SECOND[0], "S3_NEW_SECRET_KEY": SECOND[1], "S3_DELETE_KEY": fleet.objects.delete_key}
    env |= {"PATH": f"{tools}:{env['PATH']}", "ALGA_SERVER": fleet.server.origin, "ALGA_TOKEN": fleet.token_file.read_text().strip()}
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", block_of_the_page()], cwd=fleet.place, env=env, capture_output=True, text=True, timeout=300)
    expect_equal(done.returncode, 0, f"status of the page's block:\n{done.stdout}{done.stderr}")


@test("the keys are exchanged under load as the page says, and no invocation fails")
def exchange(world):
    with Callers(world) as callers:
        callers.some_more()
        follow(world)
        callers.some_more()
    expect_equal(callers.wrong, [], f"calls that failed, of {callers.count}")


@test("with the new key bundles are published, and runners fetch what they did not have")
def new_key(world):
    world.fleet.install(world.tenant, "example.later")
    for client in world.fleet.gateway_clients():
        expect_equal(world.call("example.later", client).status, 200, "a bundle from before the exchange")
    world.fleet.publish(world.publisher, name="after", component=PLAIN)


@test("a runner that starts afterwards finds the store usable, whatever key the environment that it came from has")
def restarted(world):
    for runner in world.fleet.runners:
        expect(COMPLAINT not in world.starts(runner), "the complaint of a start with the new key")
        expect_in("bundles.s3.access_key", runner.output(), "what the start says about the key in its environment")


@test("the first key is revoked: a runner that has it says at its start that S3 refuses it, and is not ready until it has the second")
def revoked(world):
    secrets = world.fleet.place / "runner" / "secrets"
    runner = world.fleet.runners[0]

    def give(access, secret):
        (secrets / "s3-access-key").write_text(access)
        (secrets / "s3-secret-key").write_text(secret)

    runner.stop()
    give(*FIRST)
    runner.launch()
    line = eventually(lambda: runner.log_lines(COMPLAINT), 60, "the complaint")[-1]
    expect_equal(line["code"], "blob.denied", "its code")
    expect_in("InvalidAccessKeyId", line["error"], "its reason")
    port = int(runner.port_file.read_text().rsplit(":", 1)[-1])
    client = Client(f"http://127.0.0.1:{port}")
    expect_equal(client.get("/readyz").status, 503, "ready with a key that is refused")
    give(*SECOND)
    eventually(lambda: client.get("/readyz").status == 200, 60, "ready with the new key")


@test("no file and no log holds either secret key in clear")
def canary(world):
    kept = str(world.fleet.place / "runner" / "secrets"), str(world.fleet.place / "control-plane" / "secrets")
    store = str(world.fleet.objects.folder / "s3-accounts")
    for _, secret in (FIRST, SECOND):
        found = [path for path in world.fleet.files_holding(secret) if not path.startswith((*kept, store))]
        expect_equal(found, [], "files that hold it")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder, FilesFleet(folder) as fleet:
        return main(World(fleet))


sys.exit(unless_skipped(run, "the exchange of S3 keys"))
