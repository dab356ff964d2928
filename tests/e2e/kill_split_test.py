#!/usr/bin/python3
"""kill -9 of a gateway while a secret is rotated, and of a runner while a version is published and while an extension is
installed, at one moment after another and under load: what is acknowledged stays, nobody is given an older secret than
what was acknowledged before the request, and what was killed serves again once it is started."""

import http.client
import signal
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

from harness import bundle
from harness.fleet import Fleet, internal_port
from harness.repeated import Repeated
from harness.tap import eventually, expect, expect_equal, main, test, unless_skipped

TENANTS = ("acme", "umbrella")
CANARY = "canary-2d7b"
#: Compiles in no time.
PLAIN = Path(__file__).resolve().parents[1] / "guests" / "text" / "echo.wasm"
PATIENCE = 120  # seconds in which a busy machine does anything
#: Seconds from the request for a rotation to the kill.
PAUSES = (0, 0.003, 0.01, 0.03, 0.1, 0.3)
#: How many messages of the control plane to a runner, or of its answers, pass before the kill.
MOMENTS = (0, 1, 2, 4)


class World:
    """Two tenants with the same extension and a secret each, whose values are numbered; `acknowledged` has the newest."""

    def __init__(self, fleet):
        self.fleet = fleet
        self.publisher = fleet.publisher("example")
        self.slug = fleet.publish(self.publisher)
        fleet.publish(self.publisher, name="plain", component=PLAIN)
        self.releases = 0
        self.installs, self.acknowledged = {}, {}
        for tenant in TENANTS:
            fleet.tenant(tenant)
            self.installs[tenant] = fleet.install(tenant, self.slug, config={"who": tenant})
            self.acknowledged[tenant] = -1
            self.rotate(tenant)
        self.plain = fleet.install(TENANTS[0], "example.plain")

    def rotate(self, tenant):
        number = self.acknowledged[tenant] + 1
        self.fleet.secret(tenant, self.installs[tenant], "api_key", f"{CANARY}-{tenant}-{number}")
        self.acknowledged[tenant] = number

    def call(self, tenant, path, slug=None, gateway=0):
        """The answer of a gateway, wherever it listens now; None when it is not there, or dies under the request."""
        token = {"authorization": self.fleet.operator.headers["authorization"]}
        try:
            return self.fleet.call(tenant, slug or self.slug, path, client=self.fleet.gateways[gateway].client(token, 60))
        except (OSError, http.client.HTTPException):
            return None

    def works(self, tenant, path, slug=None, gateway=0):
        """The answer of a call that succeeds, by itself, within some time."""
        seen = []

        def served():
            seen.append(self.call(tenant, path, slug, gateway))
            return seen[-1] and seen[-1].status == 200 and seen[-1]

        return eventually(served, PATIENCE, lambda: f"{path} of {tenant} works ({seen[-1] and seen[-1].text()})", every=0.1)

    def given(self, tenant, answer):
        """The number of the secret that an answer holds; it has to be this tenant's."""
        value = answer.json()["value"].get("ok", "")
        expect(value.startswith(f"{CANARY}-{tenant}-"), f"{tenant} is given {value!r}")
        return int(value.rpartition("-")[2])

    def check_secrets(self):
        """Every gateway gives each tenant what was acknowledged last."""
        for tenant in TENANTS:
            for gateway in range(2):
                answer = self.works(tenant, "/secret?key=api_key", gateway=gateway)
                expect_equal(self.given(tenant, answer), self.acknowledged[tenant], f"the secret of {tenant} by gateway {gateway}")

    def at_each_runner(self, work):
        """Does `work` once with each runner as the only one."""
        wire = self.fleet.wires["execute-0"]
        both = wire.targets
        try:
            for runner in self.fleet.runners:
                lead(wire, [internal_port(runner)])
                work()
        finally:
            lead(wire, both)


def lead(wire, ports):
    wire.cut()  # whoever asks again does it on a new connection
    wire.targets = ports
    wire.mend()


class Callers(Repeated):
    """Ask for the secret of both tenants through both gateways. `seen` holds gateway, status and code of each answer,
    `wrong` what nobody may be given."""

    def __init__(self, world):
        self.world, self.seen, self.wrong = world, [], []
        super().__init__(*(partial(self._ask, tenant, gateway) for tenant in TENANTS for gateway in range(2)))

    def _ask(self, tenant, gateway):
        least = self.world.acknowledged[tenant]
        answer = self.world.call(tenant, "/secret?key=api_key", gateway=gateway)
        if answer is None:
            time.sleep(0.02)
        elif answer.status == 200:
            self.seen.append((gateway, 200, None))
            value = answer.json()["value"].get("ok", "")
            if not value.startswith(f"{CANARY}-{tenant}-") or int(value.rpartition("-")[2]) < least:
                self.wrong.append((tenant, gateway, value, least))
        else:
            self.seen.append((gateway, answer.status, answer.json().get("code")))

    def served(self, gateway, since=0):
        return sum(one[:2] == (gateway, 200) for one in self.seen[since:])

    def check(self, refusals):
        """Nobody was given anything wrong, and whoever was refused has been told one of these."""
        expect_equal(self.wrong[:3], [], "secrets of another, or older than what was acknowledged before the request")
        refused = {one for one in self.seen if one[1] != 200}
        expect(refused <= refusals, f"refusals: {refused - refusals}")


def rotated_and_killed(world, tenant, moment):
    """Kills the second gateway at `moment()` of a rotation, which is acknowledged all the same, and starts it again.
    Returns whether the kill came before the acknowledgement."""
    fleet, gateway = world.fleet, world.fleet.gateways[1]
    with Callers(world) as callers:
        eventually(lambda: callers.served(0) > 4 and callers.served(1) > 4, PATIENCE, "answers of both gateways")
        before = world.acknowledged[tenant]
        rotation = threading.Thread(target=world.rotate, args=(tenant,))
        rotation.start()
        moment()
        gateway.stop(signal.SIGKILL)
        outstanding = world.acknowledged[tenant] == before
        rotation.join()
        expect_equal(world.acknowledged[tenant], before + 1, "the rotation is acknowledged")
        killed = len(callers.seen)
        eventually(lambda: callers.served(0, killed) > 4, PATIENCE, "answers of the other gateway after the acknowledgement")
        lead(fleet.wires["gateway-1"], fleet.wires["gateway-1"].targets)
        fleet.restart(gateway)
        eventually(lambda: callers.served(1, killed) > 4, PATIENCE, "answers of the gateway that was killed")
    # The one that is cut off from the control plane, and new again afterwards, may refuse; the other one never.
    callers.check({(1, 503, "gateway.policy_unavailable")})
    world.check_secrets()
    return outstanding


@test("kill -9 of a gateway at one moment of a rotation after another: nobody is given the old secret after the acknowledgement")
def gateway_killed(world):
    for turn, pause in enumerate(PAUSES):
        outstanding = rotated_and_killed(world, TENANTS[turn % 2], partial(time.sleep, pause))
        print(f"# {pause} s: {'before' if outstanding else 'after'} the acknowledgement", flush=True)


@test("kill -9 of a gateway between the commit of a rotation and its acknowledgement: the acknowledgement comes, and the old secret is over")
def gateway_killed_between(world):
    tenant, wire = TENANTS[0], world.fleet.wires["gateway-1"]
    install = world.installs[tenant]["id"]

    def version():
        return world.fleet.postgres.sql(f"SELECT max(version) FROM tenant_extension_install_secrets WHERE install_id = '{install}'")

    for _ in range(5):
        before = version()
        wire.stall()  # it confirms nothing: the acknowledgement waits for its lease
        if rotated_and_killed(world, tenant, lambda before=before: eventually(lambda: version() != before, PATIENCE, "the commit", every=0.01)):
            return
    expect(False, "no kill came between commit and acknowledgement")


def runner_killed_while(world, what, begin):
    """`begin(name)` prepares one more attempt and returns it, which gives an answer, and what checks its state. The first
    runner is killed while a message of what the control plane tells it waits, and started again."""
    fleet, runner, wire = world.fleet, world.fleet.runners[0], world.fleet.wires["warm-0"]
    for answers in (False, True):
        held = 0
        for moment in MOMENTS:
            name = f"{what}-{'answer' if answers else 'request'}-{moment}"
            attempt, check = begin(name)
            with Callers(world) as callers:
                eventually(lambda: callers.served(0) > 2, PATIENCE, "answers")
                wire.hold_after(moment, answers)
                outcome = []
                thread = threading.Thread(target=lambda: outcome.append(attempt()))
                thread.start()
                reached = wire.held.wait(3)
                held += reached
                runner.stop(signal.SIGKILL)
                thread.join()
                expect_equal(outcome[0].status // 100, 2, f"the answer to {name} ({outcome[0].text()})")
                lead(wire, wire.targets)
                killed = len(callers.seen)
                eventually(lambda: callers.served(0, killed) > 4 and callers.served(1, killed) > 4, PATIENCE, "answers of the other runner")
                world.rotate(TENANTS[0])
                fleet.restart(runner)
            print(f"# {name}: {'held' if reached else 'not reached'}", flush=True)
            callers.check({(gateway, 502, "runner.unreachable") for gateway in range(2)})
            world.at_each_runner(check)
            world.at_each_runner(world.check_secrets)
        expect(held, f"no message of {what} was held")


@test("kill -9 of a runner while it is told of a version that is published: it is acknowledged and listed, and each runner runs it")
def runner_killed_at_publish(world):
    def begin(_):
        world.releases += 1
        version = f"2.{world.releases}.0"
        manifest = {**bundle.manifest("plain", version), "publisher": "example"}
        del manifest["api"]
        packed = world.fleet.folder / f"plain-{version}.tar.zst"
        digest = bundle.pack(PLAIN, manifest, packed)

        def publish():
            return world.fleet.upload(world.publisher, packed, digest)

        def check():
            (listed,) = [one for one in world.fleet.operator.get("/api/v1/extensions").json()["extensions"] if one["slug"] == "example.plain"]
            expect(version in {one["version"] for one in listed["versions"]}, f"{version} is not listed")
            headers = {"x-tenant-id": TENANTS[0]}
            update = world.fleet.operator.post(f"/api/v1/installs/{world.plain['id']}/update", {"version": version}, headers=headers)
            expect_equal(update.status, 200, f"the update to it ({update.text()})")
            ran = world.works(TENANTS[0], "/", "example.plain")
            expect_equal(world.fleet.record(TENANTS[0], ran)["status"], "ok", "what is on record")

        return publish, check

    runner_killed_while(world, "publish", begin)


@test("kill -9 of a runner while it is told of an install: it is acknowledged, whole, and each runner serves it")
def runner_killed_at_install(world):
    def begin(name):
        tenant = world.fleet.tenant(name)
        wanted = {"extension": world.slug, "capabilities": ["cap:config.read", "cap:secrets.get"], "config": {"who": name}}

        def install():
            return world.fleet.operator.post("/api/v1/installs", wanted, headers={"x-tenant-id": tenant})

        def check():
            expect_equal(world.works(tenant, "/config?key=who").json()["value"], {"ok": name}, "its configuration")
            expect_equal(world.works(tenant, "/secret?key=api_key").json()["value"], {"err": "missing"}, "a secret, of which it has none")

        return install, check

    runner_killed_while(world, "install", begin)


@test("afterwards the audit trail is whole, no secret is in a file, a log or the database, and every process ends in order")
def afterwards(world):
    fleet = world.fleet
    report = fleet.operator.get("/api/v1/audit/verify").json()
    expect_equal((report["intact"], report["faults"]), (True, []), "the audit trail")
    expect(CANARY not in fleet.postgres.dump(), "a secret is in the database")
    expect_equal(fleet.files_holding(CANARY), [], "files that hold a secret")
    for server in reversed(fleet.processes()):
        expect_equal(server.stop(), 0, f"exit status of {server.folder.name}: {server.output()[-2000:]}")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder, Fleet(folder, timeout="15s") as fleet:
        return main(World(fleet))


sys.exit(unless_skipped(run, "kill -9 of gateways and runners"))
