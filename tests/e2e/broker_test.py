#!/usr/bin/python3
"""`broker-token:v1`: runners redeem the secrets of a request at the control plane, over mutual TLS, between real processes."""

import ssl
import sys
import tempfile
import threading
from pathlib import Path

from harness.fleet import Fleet
from harness.platform import CONFIG, Platform
from harness.secret_world import SecretWorld
from harness.tap import eventually, expect, expect_equal, expect_in, main, test

FIRST = "canary-b40ce2-first-secret"
# Any key of 32 bytes will do where the answer is a refusal.
SOME_KEY = "3fU9vCsY5V1rnXFXKgqrf5ZFhDGnWPzMxBSXtVXkTTw="


class BrokeredFleet(Fleet):
    """Two gateways and two runners whose secrets go through the broker. Opened secrets are not kept."""

    cache_ttl = "0s"

    def _bundles(self):
        return f"""{super()._bundles()}transport = "broker-token:v1"
cache_ttl = "{self.cache_ttl}"
broker_runners = ["runner.test", "runner-b.test"]
broker_timeout = "2s"
"""


class World(SecretWorld):
    def __init__(self, fleet):
        fleet.identity["runner-b"] = fleet.authority.issue("runner-b.test")
        super().__init__(fleet, FIRST)

    def redeem(self, config, identity, server=None, **other):
        body = {
            "token": config["secretEnvelope"]["ciphertext_b64"],
            "tenant": self.tenant,
            "install": self.install["id"],
            "version": config["secretsVersion"],
            "public_key": SOME_KEY,
            **other,
        }
        answer = self.fleet.internal(server or self.fleet.server, "POST", "/internal/secrets/redeem", body, identity=identity)
        return answer.status, answer.json().get("error", {}).get("code"), answer

    def audited(self, action):
        events = self.fleet.operator.get("/api/v1/audit?limit=500", headers={"x-tenant-id": self.tenant}).json()["events"]
        return [event for event in events if event["action"] == action]


@test("a secret reaches the guest through the broker, on every gateway and runner, and each redemption is audited")
def main_path(world):
    before = len(world.audited("secrets.redeemed"))
    for client in world.fleet.gateway_clients() * 3:
        expect_equal(world.read(client), (200, FIRST), "what the guest read")
    events = world.audited("secrets.redeemed")
    expect_equal(len(events) - before, 6, "redemptions in the audit trail")
    expect_equal(events[0]["actor"], "runner:runner.test", "who redeemed")
    expect_equal(events[0]["target"], world.install["id"], "for what")
    expect_equal(len({event["details"]["token"] for event in events}), len(events), "each request had a token of its own")


@test("the token comes with the install's configuration, new each time, under one grant")
def tokens(world):
    first, second = world.config(), world.config()
    expect_equal(first["secretEnvelope"]["algorithm"], "broker-token:v1", "algorithm")
    expect(first["secretEnvelope"]["ciphertext_b64"] != second["secretEnvelope"]["ciphertext_b64"], "the token was used twice")
    expect_equal(first["grant"], second["grant"], "the grant")


@test("a rotated secret is used by the next request on every gateway")
def rotation(world):
    world.rotate("canary-b40ce2-second-secret")
    for client in world.fleet.gateway_clients() * 2:
        expect_equal(world.read(client), (200, world.secrets[-1]), "what the guest read")


@test("the first runner certificate to redeem a token owns it, and may repeat; another is refused")
def ownership(world):
    config = world.config()
    expect_equal(world.redeem(config, "runner")[0], 200, "the first")
    expect_equal(world.redeem(config, "runner")[0], 200, "the same again")
    expect_equal(world.redeem(config, "runner-b")[:2], (403, "broker.token_taken"), "another runner")
    expect(world.audited("secrets.redemption_refused"), "the refusal is not in the audit trail")


@test("nobody but a runner of the pool redeems: no certificate, a gateway's, a stranger's, the public listener")
def outsiders(world):
    config = world.config()
    for identity in ("gateway", "stranger"):
        expect_equal(world.redeem(config, identity)[:2], (403, "broker.runner_not_allowed"), identity)
    try:
        status = world.redeem(config, None)[:2]
        raise AssertionError(f"a connection without a certificate was served: {status}")
    except (ssl.SSLError, ConnectionError):
        pass  # the listener ends the handshake; silence would be something else
    answer = world.fleet.server.client().post("/internal/secrets/redeem", {})
    expect_equal(answer.status, 404, "on the public listener")


@test("altered, expired and foreign tokens are refused by name")
def refusals(world):
    config = world.config()
    token = config["secretEnvelope"]["ciphertext_b64"]
    altered = token[:30] + ("A" if token[30] != "A" else "B") + token[31:]
    expect_equal(world.redeem(config, "runner", token=altered)[1], "broker.token_invalid", "altered")
    expect_equal(world.redeem(config, "runner", token=config["grant"])[1], "broker.token_invalid", "a grant instead of a token")
    expect_equal(world.redeem(config, "runner", install="another")[1], "broker.token_mismatch", "for another install")
    expect_equal(world.redeem(config, "runner", tenant="globex")[1], "broker.token_mismatch", "for another tenant")


@test("a disabled install has nothing to redeem, though its token still lives")
def disabled(world):
    config, header = world.config(), {"x-tenant-id": world.tenant}
    path = f"/api/v1/installs/{world.install['id']}"
    expect_equal(world.fleet.operator.post(f"{path}/disable", headers=header).status, 200, "disable")
    expect_equal(world.redeem(config, "runner")[:2], (410, "broker.install_gone"), "redeem")
    expect_equal(world.fleet.operator.post(f"{path}/enable", headers=header).status, 200, "enable")
    eventually(lambda: world.read()[0] == 200, 10, "after it was enabled")


@test("when runners cannot reach the broker: `secret.broker_unavailable`, 503, and recovery without hands")
def cut(world):
    for name in ("runner-0", "runner-1"):
        world.fleet.wires[name].cut()
    try:
        status, code, answer = world.ask()
        expect_equal((status, code), (503, "secret.broker_unavailable"), answer.text())
        expect(answer.header("retry-after") is not None, "the refusal does not say when to come back")
    finally:
        for name in ("runner-0", "runner-1"):
            world.fleet.wires[name].mend()
    eventually(lambda: world.read() == (200, world.secrets[-1]), 20, "recovery")


@test("rotations under load: no request fails, and none that starts after the acknowledgement has an old value")
def under_load(world):
    stop, wrong, served = threading.Event(), [], [0]
    acknowledged = [0]

    def caller(client):
        while not stop.is_set():
            known = acknowledged[0]
            status, value, answer = world.ask(client)
            fresh = value in world.secrets and world.secrets.index(value) >= known
            if status == 200 and fresh:
                served[0] += 1
            else:
                wrong.append((status, value, known, answer.text()[:200]))

    acknowledged[0] = len(world.secrets) - 1
    callers = [threading.Thread(target=caller, args=(client,)) for client in world.fleet.gateway_clients() * 2]
    for thread in callers:
        thread.start()

    def served_more():
        before = served[0]
        eventually(lambda: served[0] > before + 5 or wrong, 60, "calls that are served")

    try:
        for round_ in range(5):
            served_more()
            world.rotate(f"canary-b40ce2-round-{round_}")
            acknowledged[0] = len(world.secrets) - 1
        served_more()
    finally:
        stop.set()
        for thread in callers:
            thread.join()
    expect_equal(wrong[:3], [], "answers that are wrong")


@test("one process redeems in process, and a call without a client certificate is refused there too")
def single_process(world):
    config = CONFIG + '\n[secrets]\ntransport = "broker-token:v1"\ncache_ttl = "0s"\n'
    with Platform(world.fleet.folder / "single", config=config) as platform:
        tenant = platform.tenant("solo")
        slug = platform.publish(platform.publisher("solo"))
        platform.secret(tenant, platform.install(tenant, slug), "api_key", "canary-b40ce2-solo")
        world.secrets.append("canary-b40ce2-solo")
        answer = platform.call(tenant, slug, "/secret?key=api_key")
        expect_equal((answer.status, answer.json()["value"]), (200, {"ok": "canary-b40ce2-solo"}), "what the guest read")
        refused = platform.server.client().post("/internal/secrets/redeem", {"token": "x"})
        expect_equal((refused.status, refused.json()["error"]["code"]), (401, "broker.certificate_required"), "without mTLS")


@test("no secret and no token is in any log, metric, file or database")
def canary(world):
    config = world.config()
    world.read()
    expect_equal(world.fleet.files_holding(config["secretEnvelope"]["ciphertext_b64"]), [], "files that hold the token")
    world.expect_nowhere("canary-b40ce2")
    expect_in("alga_secret_redemptions_total", world.fleet.server.client().get("/metrics").text(), "metrics of the broker")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-broker.") as folder, BrokeredFleet(Path(folder)) as fleet:
        return main(World(fleet))


sys.exit(run())
