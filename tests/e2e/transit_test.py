#!/usr/bin/python3
"""`vault-transit:v1` between real processes: the control plane can only seal, the runners can only open."""

import sys
import tempfile
from pathlib import Path

from harness.fleet import Fleet
from harness.openbao import OpenBao, program
from harness.secret_world import SecretWorld
from harness.tap import eventually, expect, expect_equal, main, test

FIRST = "canary-e91b70-first-secret"


class TransitFleet(Fleet):
    """Each role has a Vault token of its own, with the policy of deploy/vault for it. Opened secrets are not kept."""

    def __init__(self, folder, bao):
        super().__init__(folder)
        self.bao = bao
        bao.setup()
        self.tokens = {}
        for role in ("control-plane", "runner"):
            self.tokens[role] = self.folder / f"vault-token-{role}"
            self.tokens[role].write_text(bao.token(f"alga-{role}"))

    def _bundles(self):
        return super()._bundles() + 'transport = "vault-transit:v1"\ncache_ttl = "0s"\n'

    def _vault(self, role):
        return f"""
[vault]
address = "{self.bao.address}"
token = "file:{self.tokens[role]}"
transit_key = "alga-envelopes"
timeout = "3s"
"""

    def _control_plane(self):
        return super()._control_plane() + self._vault("control-plane")

    def _runner(self, wire):
        return super()._runner(wire) + self._vault("runner")


class World(SecretWorld):
    def __init__(self, fleet, bao):
        self.bao = bao
        super().__init__(fleet, FIRST)


@test("the control plane's token seals, the runner's opens, and the secret is read on every gateway and runner")
def main_path(world):
    for client in world.fleet.gateway_clients() * 3:
        expect_equal(world.read(client), (200, FIRST), "what the guest read")
    envelope = world.config()["secretEnvelope"]
    expect_equal(envelope["algorithm"], "vault-transit:v1", "algorithm")
    expect(envelope["ciphertext_b64"].startswith("vault:v"), "the ciphertext is Vault's")


@test("secret and transit key rotate; every gateway has the new value with its next request")
def rotation(world):
    for number in range(3):
        world.bao.api("POST", "transit/keys/alga-envelopes/rotate", {})
        world.rotate(f"canary-e91b70-rotated-{number}")
        for client in world.fleet.gateway_clients():
            expect_equal(world.read(client), (200, world.secrets[-1]), "what the guest read")


@test("a runner whose token is revoked opens nothing, until its token file holds a new one")
def revoked(world):
    token = world.fleet.tokens["runner"]
    world.bao.api("POST", "auth/token/revoke", {"token": token.read_text()})
    for client in world.fleet.gateway_clients():
        expect_equal(world.read(client), (503, "vault.denied"), "with a revoked token")
    fresh = token.with_suffix(".new")
    fresh.write_text(world.bao.token("alga-runner"))
    fresh.rename(token)
    for client in world.fleet.gateway_clients():
        expect_equal(world.read(client), (200, world.secrets[-1]), "with the new token")


@test("Vault stopped and started: refused by name, then served again without hands")
def stopped(world):
    world.bao.stop()
    expect_equal(world.read(), (503, "vault.unavailable"), "while Vault is away")
    world.bao.start()
    eventually(lambda: world.read() == (200, world.secrets[-1]), 20, "recovery")


@test("no secret is in any file, dump or metric of the fleet")
def canary(world):
    world.expect_nowhere("canary-e91b70")


def run():
    if program() is None:
        print("ok transit between processes # SKIP no OpenBao: put `bao` on the PATH or into ALGA_BAO")
        return 0
    with tempfile.TemporaryDirectory(prefix="alga-transit.") as folder, OpenBao(Path(folder) / "bao") as bao:
        with TransitFleet(Path(folder) / "fleet", bao) as fleet:
            return main(World(fleet, bao))


sys.exit(run())
