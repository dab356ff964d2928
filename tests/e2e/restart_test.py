#!/usr/bin/python3
"""Stopping, killing and starting again: nothing acknowledged is lost, nothing is compiled twice."""

import json
import signal
import sys
import tempfile

from harness.platform import Platform
from harness.server import run as algad
from harness.tap import expect_equal, expect_in, main, test


class World:
    def __init__(self, platform):
        self.platform = platform
        self.tenant = platform.tenant("acme")
        self.slug = platform.publish(platform.publisher("example"))
        self.install = platform.install(self.tenant, self.slug, config={"key": "before"})
        platform.secret(self.tenant, self.install, "api_key", "kept-secret")

    def call(self, path):
        return self.platform.call(self.tenant, self.slug, path)


@test("a first start leaves its keys to its own user alone: the envelope key has mode 0600, its folder 0700")
def private_keys(world):
    secrets = world.platform.server.folder / "data" / "secrets"
    expect_in("alga_envelope_keys", [path.name for path in secrets.iterdir()], "secrets of a first start")
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in secrets.iterdir() if path.is_file()}
    expect_equal(modes, dict.fromkeys(modes, "0o600"), "modes of the files")
    expect_equal(oct(secrets.stat().st_mode & 0o777), "0o700", "mode of the folder")


@test("SIGTERM ends the server with status 0")
def orderly(world):
    expect_equal(world.platform.server.stop(signal.SIGTERM), 0, "exit status")


@test("after a restart the first call works and needs no compile")
def warm_restart(world):
    world.platform.start()
    answer = world.call("/config?key=key")
    expect_equal((answer.status, answer.json()["value"]), (200, {"ok": "before"}), "first call")
    metrics = world.platform.server.client().get("/metrics").text().splitlines()
    loads = [line for line in metrics if line.startswith("alga_component_loads_total{")]
    expect_in('alga_component_loads_total{from="compile"} 0', loads, "compiles after a restart")


@test("what was acknowledged before kill -9 is there afterwards")
def killed(world):
    tenant = {"x-tenant-id": world.tenant}
    path = f"/api/v1/installs/{world.install['id']}/config"
    expect_equal(world.platform.operator.patch(path, {"set": {"key": "after"}}, headers=tenant).status, 200, "config")
    world.platform.server.stop(signal.SIGKILL)
    world.platform.start()
    expect_equal(world.call("/config?key=key").json()["value"], {"ok": "after"}, "config")
    expect_equal(world.call("/secret?key=api_key").json()["value"], {"ok": "kept-secret"}, "secret")


@test("after the key of compiled code is exchanged, the next start compiles again what installs use, and signs it with the new key")
def new_artefact_key(world):
    server = world.platform.server
    status, out, errors = algad("keys", "artefacts", "--rotate", "--json", "--data", server.folder / "data")
    expect_equal((status, errors), (0, ""), "making a new key")
    expect_equal(server.stop(signal.SIGTERM), 0, "exit status")
    world.platform.start()
    server.logged("compiles", lambda line: line["artefact_key"] == json.loads(out)["artefact_key"])
    done = server.logged("everything that installs use is compiled", lambda line: line["compiled_anew"] == 1, 300)
    expect_equal(done[-1]["refused"], 0, "components that are refused")
    expect_equal(world.call("/config?key=key").json()["value"], {"ok": "after"}, "a call")


@test("the bootstrap token is not printed a second time")
def one_token(world):
    expect_equal(world.platform.server.output().count("alga_boot_"), 0, "tokens in the output")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder, Platform(folder) as platform:
        return main(World(platform))


sys.exit(run())
