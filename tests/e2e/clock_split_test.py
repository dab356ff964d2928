#!/usr/bin/python3
"""The clock of one role an hour ahead or behind, on a platform in processes of its own: what docs/operations/failures.md
says about it. Runners refuse grants by name, whoever is off; a gateway that is off serves on; no request is given what
it should not have; a line of the log names the difference; and everything recovers when the clock is right again."""

import base64
import json
import sys
import tempfile

from harness.authority import Authority
from harness.clock import MovedClock
from harness.fleet import RUNNER_TOKEN, Fleet
from harness.repeated import Repeated
from harness.tap import eventually, expect, expect_equal, main, test, unless_skipped

HOUR, DAY = 3600, 86400
#: A grant key that was rotated signs, and its successor waits, for so long; then it verifies for as long again.
KEY_OVERLAP = 300
#: A gateway may go on with what it holds for half a minute; grants live for one, and runners look at the clock of the
#: control plane twice in it. A busy machine gets four times as long.
PATIENCE = 240
TENANTS = ("acme", "umbrella")
AGREE = "the clocks of this machine and of the control plane agree again"


class MovableFleet(Fleet):
    """Each process has a clock of its own that can be moved: `clocks` by name."""

    def start(self):
        self.clocks = {name: MovedClock(self.folder / "clocks" / name) for name in ("control-plane", "gateway-0", "runner-0")}
        return super().start()

    def _authority(self):
        # Certificates that hold since yesterday: a host an hour behind is not refused by them.
        yesterday = MovedClock(self.folder / "clocks" / "authority")
        yesterday.move(-DAY)
        return Authority(self.folder / "tls", env=yesterday.environment)

    def _environment(self, process):
        return {**super()._environment(process), **self.clocks[process].environment}


class World:
    def __init__(self, fleet):
        self.fleet = fleet
        self.slug = fleet.publish(fleet.publisher("example"))
        self.installs, self.values = {}, {}
        for tenant in TENANTS:
            fleet.tenant(tenant)
            self.installs[tenant] = fleet.install(tenant, self.slug, config={"who": tenant})
            self.set(tenant, f"canary-c10c-{tenant}-0")

    def set(self, tenant, value):
        self.fleet.secret(tenant, self.installs[tenant], "api_key", value)
        self.values[tenant] = value

    def ask(self, tenant=TENANTS[0]):
        """Status and code of a call that reads the secret. One that is answered has been given the right one."""
        answer = self.fleet.call(tenant, self.slug, "/secret?key=api_key")
        if answer.status != 200:
            return answer.status, answer.json()["code"]
        expect_equal(answer.json()["value"], {"ok": self.values[tenant]}, f"what {tenant} is given")
        return 200, None

    def refused_with(self, code):
        seen = []

        def is_refused():
            seen.append(self.ask())
            return seen[-1][1] == code

        eventually(is_refused, PATIENCE, lambda: f"refusals with {code}; the last answers: {seen[-3:]}", every=0.5)
        for tenant in TENANTS:
            eventually(lambda tenant=tenant: self.ask(tenant)[0] != 200, PATIENCE, f"refusals for {tenant}", every=0.5)

    def recovers(self):
        for tenant in TENANTS:
            eventually(lambda tenant=tenant: self.ask(tenant)[0] == 200, PATIENCE, f"{tenant} is served again", every=0.5)

    def named(self, server, ahead):
        """The last line about clocks names the difference, and which way it goes."""
        def found():
            lines = [line for line in server.output().splitlines() if '"code":"clock.skewed"' in line or AGREE in line]
            return lines and AGREE not in lines[-1] and ('"seconds_ahead":-' in lines[-1]) != ahead

        eventually(found, PATIENCE, "a line of the log that names the difference", every=0.5)

    def agreed(self, server):
        eventually(lambda: AGREE in server.output().rpartition("clock.skewed")[2], PATIENCE, "a line that they agree again", every=0.5)


def while_off(world, process, seconds, check):
    """`check` runs while the clock of a process is off; afterwards everything recovers by itself."""
    world.recovers()
    world.fleet.clocks[process].move(seconds)
    try:
        check()
    finally:
        world.fleet.clocks[process].move(0)
    world.recovers()


@test("a runner an hour ahead refuses grants as expired, says why in its log, and serves again when its clock is right")
def runner_ahead(world):
    def check():
        world.refused_with("grant.expired")
        world.named(world.fleet.runners[0], ahead=True)

    while_off(world, "runner-0", HOUR, check)
    world.agreed(world.fleet.runners[0])


@test("a runner an hour behind refuses grants as not yet valid, says why in its log, and serves again when its clock is right")
def runner_behind(world):
    def check():
        world.refused_with("grant.not_yet_valid")
        world.named(world.fleet.runners[0], ahead=False)

    while_off(world, "runner-0", -HOUR, check)
    world.agreed(world.fleet.runners[0])


@test("a control plane an hour ahead: runners refuse its grants; writes go on")
def control_plane_ahead(world):
    def check():
        world.set(TENANTS[0], "canary-c10c-acme-1")
        world.refused_with("grant.not_yet_valid")

    while_off(world, "control-plane", HOUR, check)


@test("a control plane an hour behind: runners refuse its grants; writes go on")
def control_plane_behind(world):
    def check():
        world.set(TENANTS[1], "canary-c10c-umbrella-1")
        world.refused_with("grant.expired")

    while_off(world, "control-plane", -HOUR, check)


@test("a gateway whose clock is an hour off, either way, serves, and what is rotated meanwhile is in effect")
def gateway_off(world):
    for turn, seconds in enumerate((HOUR, -HOUR)):
        def check(turn=turn):
            for number in range(5):
                world.set(TENANTS[0], f"canary-c10c-acme-{turn}-{number}")
                for tenant in TENANTS:
                    expect_equal(world.ask(tenant), (200, None), "a call")

        while_off(world, "gateway-0", seconds, check)


@test("a role that starts with its clock off names the difference from the database's")
def start_off(world):
    server = world.fleet.gateways[0]
    world.fleet.clocks["gateway-0"].move(HOUR)
    try:
        server.stop()
        world.fleet.restart(server)
        world.named(server, ahead=True)
    finally:
        world.fleet.clocks["gateway-0"].move(0)
    world.recovers()


def trusted_grant_keys(fleet):
    """Ids of the keys that runners are told to believe."""
    answer = fleet.internal(fleet.server, "GET", "/internal/grant-keys", headers={"x-runner-auth": RUNNER_TOKEN}, identity="runner")
    return {key["kid"] for key in answer.json()["keys"]}


def signer(world):
    """Id of the key that signs grants now."""
    grant = world.fleet.install_config(TENANTS[0], world.installs[TENANTS[0]]["id"]).json()["grant"]
    payload = grant.partition(".")[0]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["kid"]


@test("a grant key that is rotated: the former one signs until every runner knows the new one, then the new one does, and the former is believed no more")
def grant_key(world):
    fleet, clocks, seen = world.fleet, world.fleet.clocks, set()

    def everywhere(seconds):
        for clock in clocks.values():
            clock.move(seconds)

    def call():
        seen.add(world.ask()[1])

    world.recovers()
    former = signer(world)
    expect_equal(trusted_grant_keys(fleet), {former}, "keys before")
    try:
        with Repeated(call):
            rotated = fleet.operator.post("/api/v1/grant-keys/rotate", {})
            expect_equal(rotated.status, 201, f"the rotation ({rotated.text()})")
            new = rotated.json()["kid"]
            expect_equal((signer(world), trusted_grant_keys(fleet)), (former, {former, new}), "who signs, and who is believed, during the overlap")
            # A runner compares clocks when it asks for the keys: once it names a difference, it has asked since.
            clocks["runner-0"].move(KEY_OVERLAP + 1)
            world.named(fleet.runners[0], ahead=True)
            everywhere(KEY_OVERLAP + 1)
            expect_equal(signer(world), new, "who signs after the overlap")
            (taken,) = fleet.warm_up(TENANTS[0], world.installs[TENANTS[0]])
            expect_equal(taken.status, 200, f"what the runner says to a grant by the new key ({taken.text()})")
            # Grants live for a minute: what the former key signed is over by the runner's clock.
            world.recovers()
            everywhere(2 * KEY_OVERLAP + 2)
            expect_equal((signer(world), trusted_grant_keys(fleet)), (new, {new}), "who signs, and who is believed, after another overlap")
            world.recovers()
        expect(not seen & {"grant.unknown_key", "grant.bad_signature"}, f"a runner met a grant by a key that it did not know: {seen}")
    finally:
        everywhere(0)
    world.recovers()


@test("records and the audit trail are whole afterwards")
def records(world):
    report = world.fleet.operator.get("/api/v1/audit/verify").json()
    expect_equal((report["intact"], report["faults"]), (True, []), "the audit trail")
    for value in world.values.values():
        expect_equal(world.fleet.files_holding(value), [], "files that hold a secret")
    expect("canary-c10c" not in world.fleet.postgres.dump(), "a secret is in the database")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder, MovableFleet(folder, gateways=1, runners=1) as fleet:
        return main(World(fleet))


sys.exit(unless_skipped(run, "clocks of processes of their own"))
