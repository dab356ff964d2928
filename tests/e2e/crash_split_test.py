#!/usr/bin/python3
"""kill -9 of the control plane, of `algad keys rotate` and of runners on a platform in processes of its own, at one
message of their work after another; and a runner that hangs or is slow. Nothing acknowledged is lost, nothing is there
by halves, no install is given another's secret, and everything recovers without hands."""

import hashlib
import http.client
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from harness import bundle
from harness.fleet import Fleet, internal_port
from harness.network import Relay, SocketRelay
from harness.platform import loopback_rules
from harness.repeated import Repeated
from harness.server import fixture, program, surroundings
from harness.tap import eventually, expect, expect_equal, main, test, unless_skipped
from harness.upstream import Upstream

#: How many messages of a wire pass before it is held: others use the wire, too. Ends with an operation that is not held.
MOMENTS = (0, 2, 5, 9, 14, 20, 28, 40, 56)
TENANTS = ("acme", "umbrella")
CANARY = "canary-93e5"
#: Compiles in no time.
PLAIN = Path(__file__).resolve().parents[1] / "guests" / "text" / "echo.wasm"
PATIENCE = 120  # seconds in which a busy machine does anything


class CrashFleet(Fleet):
    """With wires from the control plane to PostgreSQL and to the bundle store."""

    def _control_plane(self):
        self.database_wire = self._stack.enter_context(SocketRelay(self.postgres.folder / ".s.PGSQL.5432"))
        self.store_wire = self._stack.enter_context(Relay(self.objects.port))
        config = super()._control_plane()
        config = config.replace(self.postgres.url, f"postgresql://alga@127.0.0.1:{self.database_wire.port}/alga?sslmode=disable")
        return config.replace(self.objects.origin, f"http://127.0.0.1:{self.store_wire.port}")

    def restart_control_plane(self):
        """Kills what is left of it and starts it on whole wires."""
        self.server.stop(signal.SIGKILL)
        self.mend()
        self.restart(self.server)
        self.operator = self.client(self.operator.headers["authorization"].removeprefix("Bearer "))

    def mend(self):
        for wire in (self.database_wire, self.store_wire):
            wire.cut()
            wire.mend()


class World:
    """Two tenants with the same extension, each with a secret that names it. `secrets` holds, for each, the values
    that may be in effect: what was acknowledged last, and what was tried after it."""

    def __init__(self, fleet, upstream):
        self.fleet, self.upstream = fleet, upstream
        self.publisher = fleet.publisher("example")
        self.slug = fleet.publish(self.publisher)
        fleet.publish(self.publisher, name="plain", component=PLAIN)
        self.versions = {}
        self.installs, self.secrets = {}, {}
        for tenant in TENANTS:
            fleet.tenant(tenant)
            self.installs[tenant] = fleet.install(tenant, self.slug, config={"who": tenant}, egress=loopback_rules(upstream))
            fleet.secret(tenant, self.installs[tenant], "api_key", f"{CANARY}-{tenant}-0")
            self.secrets[tenant] = [f"{CANARY}-{tenant}-0"]
        self.plain = fleet.install(TENANTS[0], "example.plain")

    def call(self, tenant, path, slug=None):
        return self.fleet.call(tenant, slug or self.slug, path)

    def works(self, tenant, path, slug=None):
        """The answer of a call that succeeds, by itself, within some time."""
        seen = []

        def answer():
            seen.append(self.call(tenant, path, slug))
            return seen[-1].status == 200 and seen[-1]

        return eventually(answer, PATIENCE, lambda: f"{path} of {tenant} works again ({seen[-1].status} {seen[-1].text()})", every=0.2)

    def check_secrets(self):
        """Each install is given one of its own values, and the same one by every runner."""
        for tenant in TENANTS:
            given = {self.works(tenant, "/secret?key=api_key").json()["value"].get("ok") for _ in range(4)}
            expect(len(given) == 1 and given <= set(self.secrets[tenant]), f"{tenant} is given {given}, which may be {self.secrets[tenant]}")
            self.secrets[tenant] = list(given)

    def answer_of(self, method, path, body=None, tenant=None, headers=None):
        """The answer, or None when the server died under the request."""
        sent = {**({"x-tenant-id": tenant} if tenant else {}), **(headers or {})}
        try:
            return self.fleet.operator.request(method, path, body=body, headers=sent)
        except (OSError, http.client.HTTPException):
            return None


def held_and_killed(world, wire, moment, answers, attempt):
    """Kills the control plane while `attempt` waits for one message. Returns whether that ended before, and its answer."""
    wire.hold_after(moment, answers)
    outcome = []
    thread = threading.Thread(target=lambda: outcome.append(attempt()))
    thread.start()
    eventually(lambda: wire.held.is_set() or not thread.is_alive(), PATIENCE, "the message, or the end")
    ended = not thread.is_alive()
    world.fleet.server.stop(signal.SIGKILL)
    thread.join()
    world.fleet.restart_control_plane()
    return ended, outcome[0]


def at_every_moment(world, wire, what, begin):
    """`begin(name)` prepares one more attempt and returns two functions: the attempt, which gives its answer or None, and
    what checks the state after it, which is told whether it was acknowledged."""
    for answers in (False, True):
        for moment in MOMENTS:
            name = f"{what}-{'answer' if answers else 'request'}-{moment}"
            attempt, check = begin(name)
            ended, answer = held_and_killed(world, wire, moment, answers, attempt)
            status = answer.status if answer else None
            print(f"# {name}: {'ended' if ended else 'held'}, {status}", flush=True)
            expect(status in (None, 200, 201, 502, 503, 504), f"{name}: {answer and answer.text()}")
            check(status in (200, 201))
            if ended:
                break


@test("kill -9 while a secret is set: the old value or the new one, of its own install, and what was acknowledged stays")
def secret(world):
    fleet, count = world.fleet, [0]

    def begin(_):
        count[0] += 1
        tenant = TENANTS[count[0] % 2]
        value = f"{CANARY}-{tenant}-{count[0]}"
        path = f"/api/v1/installs/{world.installs[tenant]['id']}/secrets/api_key"
        world.secrets[tenant].append(value)

        def check(acknowledged):
            if acknowledged:
                world.secrets[tenant] = [value]
            world.check_secrets()
            expect_equal(fleet.operator.get("/api/v1/audit/verify").json()["intact"], True, "the audit trail")

        return lambda: world.answer_of("PUT", path, {"value": value}, tenant), check

    at_every_moment(world, fleet.database_wire, "secret", begin)


@test("kill -9 while an extension is installed: wholly or not at all, and it can be installed then")
def install(world):
    def begin(name):
        tenant = world.fleet.tenant(name)
        wanted = {"extension": world.slug, "capabilities": ["cap:config.read", "cap:secrets.get"], "config": {"who": name}}

        def attempt():
            return world.answer_of("POST", "/api/v1/installs", wanted, tenant)

        def check(acknowledged):
            there = [one["id"] for one in world.fleet.operator.get("/api/v1/installs", headers={"x-tenant-id": tenant}).json()["installs"]]
            expect(len(there) == 1 or not (there or acknowledged), f"installs of {tenant}: {there}, acknowledged: {acknowledged}")
            again = attempt()
            expect_equal(again.status, 409 if there else 201, f"installing it again ({again.text()})")
            expect_equal(world.works(tenant, "/config?key=who").json()["value"], {"ok": name}, "its configuration")
            expect_equal(world.works(tenant, "/secret?key=api_key").json()["value"], {"err": "missing"}, "a secret, of which it has none")

        return attempt, check

    at_every_moment(world, world.fleet.database_wire, "install", begin)


class Release:
    """A version of the extension `plain` and how it is published."""

    number = 0

    def __init__(self, world, component=PLAIN, path="/"):
        Release.number += 1
        self.path = path
        self.world, self.version = world, f"2.{Release.number}.0"
        self.packed = world.fleet.folder / f"plain-{self.version}.tar.zst"
        manifest = {**bundle.manifest("plain", self.version), "publisher": "example"}
        del manifest["api"]
        self.hash = bundle.pack(component, manifest, self.packed)

    def attempt(self):
        body = self.packed.read_bytes()
        path = f"/api/ext-bundles/upload-proxy?filename=b.tar.zst&size={len(body)}&declaredHash={self.hash}"
        answer = self.world.answer_of("POST", path, body, headers={"content-type": "application/octet-stream"})
        if answer is None or answer.status != 200:
            return answer
        wanted = {"key": answer.json()["upload"]["key"], "signature": self.world.publisher.sign(self.hash)}
        return self.world.answer_of("POST", "/api/ext-bundles/finalize", wanted)

    def check(self, acknowledged):
        """Whole or not there; published again it is there; and a runner, which compiles nothing, runs it."""
        world = self.world
        listed = published(world)
        expect(self.version in listed or not acknowledged, f"{self.version} was acknowledged and is not listed")
        expect_equal({version for version, digest in listed.items() if digest not in stored(world)}, set(), "listed versions whose bundle is not there")
        again = self.attempt()
        expect_equal(again.status, 409 if self.version in listed else 200, f"publishing {self.version} again ({again.text()})")
        update = world.answer_of("POST", f"/api/v1/installs/{world.plain['id']}/update", {"version": self.version}, TENANTS[0])
        expect_equal(update.status, 200, f"the update to it ({update.text()})")
        world.works(TENANTS[0], self.path, "example.plain")
        expect(world.versions.keys() <= listed.keys() | {self.version}, "earlier versions are listed")
        world.versions = published(world)


def published(world):
    extensions = world.fleet.operator.get("/api/v1/extensions").json()["extensions"]
    found = next(one for one in extensions if one["slug"] == "example.plain")
    return {one["version"]: one["content_hash"].removeprefix("sha256:") for one in found["versions"]}


def stored(world):
    """Digests of the bundles that are in the store."""
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in (world.fleet.objects.folder / "s3").rglob("bundle.tar.zst")}


@test("kill -9 while a version is published, at messages to the database: listed when it is whole, else published then")
def publish_database(world):
    def begin(_):
        release = Release(world)
        return release.attempt, release.check

    at_every_moment(world, world.fleet.database_wire, "publish-database", begin)


@test("kill -9 while a version is published, at messages to the bundle store: listed when it is whole, else published then")
def publish_store(world):
    def begin(_):
        release = Release(world)
        return release.attempt, release.check

    at_every_moment(world, world.fleet.store_wire, "publish-store", begin)


def compiles(process):
    """Whether a child of the process compiles."""
    for children in Path(f"/proc/{process.pid}/task").glob("*/children"):
        for child in children.read_text().split():
            try:
                if b"compile-worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return True
            except OSError:
                continue
    return False


@test("kill -9 while a component is compiled for publishing: nothing is listed, and it can be published then")
def publish_compile(world):
    release, outcome = Release(world, fixture("js-echo.wasm"), "/random"), []
    thread = threading.Thread(target=lambda: outcome.append(release.attempt()))
    thread.start()
    eventually(lambda: compiles(world.fleet.server.process) or not thread.is_alive(), PATIENCE, "a compile", every=0.002)
    world.fleet.server.stop(signal.SIGKILL)
    thread.join()
    world.fleet.restart_control_plane()
    expect_equal(outcome, [None], "answers to the publisher")
    expect(release.version not in published(world), "a version whose component was not compiled is listed")
    release.check(False)


def rotation(world):
    server = world.fleet.server
    command = [program(), "keys", "rotate", "--config", str(server.config), "--data", str(server.folder / "data")]
    return subprocess.Popen(command, env=surroundings(server.env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wrapping_keys(world):
    """How many keys wrap what the database holds."""
    keys = "SELECT wrapping_key_id FROM tenant_data_keys UNION SELECT wrapping_key_id FROM signing_keys"
    return int(world.fleet.postgres.sql(f"SELECT count(*) FROM ({keys}) AS used"))


@test("kill -9 of a rotation of the wrapping key, or of the control plane in the middle of it: every secret opens, and the next rotation ends it")
def rotate(world):
    fleet = world.fleet
    for answers in (False, True):
        for turn, moment in enumerate(MOMENTS):
            fleet.database_wire.hold_after(moment, answers)
            process = rotation(world)
            eventually(lambda: fleet.database_wire.held.is_set() or process.poll() is not None, PATIENCE, "the message, or the end")
            ended = process.poll() is not None
            print(f"# rotate-{'answer' if answers else 'request'}-{moment}: {'ended' if ended else 'held'}", flush=True)
            if turn % 2 == 0:
                process.kill()  # else it hears of a connection that broke
            # A control plane that starts has to unwrap what it needs anew.
            fleet.restart_control_plane()
            process.communicate(timeout=PATIENCE)
            world.check_secrets()
            repeated = rotation(world)
            said, _ = repeated.communicate(timeout=PATIENCE)
            expect_equal((repeated.returncode, wrapping_keys(world)), (0, 1), f"exit status of the next rotation, and keys in use after it ({said})")
            if ended:
                break
    fleet.restart_control_plane()
    world.check_secrets()


@test("kill -9 of a runner while it executes: its caller hears so, the execution is on record as ended, and the other runner goes on")
def runner_killed(world):
    fleet, tenant, answers = world.fleet, TENANTS[0], []
    busy, wire = fleet.runners[0], fleet.wires["execute-0"]
    both = wire.targets
    wire.cut()  # who asks next does it on a new connection, which leads to this runner
    wire.targets = [internal_port(busy)]
    wire.mend()
    world.upstream.hold()
    caller = threading.Thread(target=lambda: answers.append(world.call(tenant, f"/main-job?url={world.upstream.origin}/held")))
    caller.start()
    try:
        eventually(lambda: [one for one in world.upstream.seen() if one[1].startswith("/held")], 20, "a guest that waits for its API")
        wire.targets = both
        busy.stop(signal.SIGKILL)
        caller.join()
        expect_equal((answers[0].status, answers[0].json()["code"]), (502, "runner.unreachable"), f"its caller's answer ({answers[0].text()})")
        path = f"/api/v1/executions?request={answers[0].header('x-request-id')}"

        def ended():
            (row,) = fleet.operator.get(path, headers={"x-tenant-id": tenant}).json()["executions"]
            return row["finished_at"] and row

        record = eventually(ended, PATIENCE, "the end on record")
        expect_equal((record["status"], record["error"]), ("error", "runner.unreachable"), f"what is on record ({record})")
        expect_equal(world.call(tenant, "/config?key=who").status, 200, "the next call")
    finally:
        world.upstream.let_go()
        caller.join()
        busy.stop(signal.SIGKILL)
        fleet.restart(busy)
    world.check_secrets()


class Callers(Repeated):
    """Four callers without a pause; `seen` holds status and code of each answer, in the order in which they came."""

    def __init__(self, world):
        super().__init__(*[self._call] * 4)
        self.world, self.seen = world, []

    def _call(self):
        answer = self.world.call(TENANTS[0], "/config?key=who")
        self.seen.append((answer.status, answer.json().get("code"), answer.header("x-request-id")))

    def statuses(self, since=0):
        return [status for status, _, _ in self.seen[since:]]


@test("a runner that hangs costs those who are in it a 504 within their deadline; the others go on, and it comes back without hands")
def runner_hangs(world):
    hung = world.fleet.runners[0].process
    with Callers(world) as callers:
        eventually(lambda: callers.statuses().count(200) > 20, PATIENCE, "answers of both runners")
        hung.send_signal(signal.SIGSTOP)
        try:
            stopped = len(callers.seen)
            # These answers come although the runner says nothing: the deadline is the gateway's.
            eventually(lambda: 504 in callers.statuses(stopped), PATIENCE, "an answer to who is in the runner that hangs")
            first = len(callers.seen)
            eventually(lambda: callers.statuses(first).count(200) > 20, PATIENCE, "answers of the other runner")
        finally:
            hung.send_signal(signal.SIGCONT)
        eventually(lambda: len(callers.seen) > 20 and set(callers.statuses()[-20:]) == {200}, PATIENCE, "answers without a failure again")
    wrong = [one for one in callers.seen if one[0] != 200]
    for status, code, request in wrong:
        # Whose clock was first, that of the gateway or of its request to the runner.
        expect((status, code) in ((504, "gateway.timeout"), (504, "runner.timeout")), f"what a caller of the runner that hangs is answered: {status} {code}")
        expect(request, "the answer names its request")


@test("a slow way to the runners makes answers late, not wrong, under load, too")
def slow_wire(world):
    wire = world.fleet.wires["execute-0"]
    wire.delay = 0.2
    try:
        for tenant in TENANTS:
            answer = world.call(tenant, "/secret?key=api_key")
            expect_equal((answer.status, answer.json().get("value")), (200, {"ok": world.secrets[tenant][-1]}), f"an answer ({answer.text()})")
        with Callers(world) as callers:
            eventually(lambda: len(callers.seen) > 40, PATIENCE, "answers")
            expect_equal(set(callers.statuses()), {200}, "what callers are answered")
    finally:
        wire.mend()


@test("afterwards no secret is in a file, a log or the database")
def canary(world):
    expect(CANARY not in world.fleet.postgres.dump(), "a secret is in the database")
    expect_equal(world.fleet.files_holding(CANARY), [], "files that hold a secret")


@test("every process ends in order")
def orderly(world):
    for server in reversed(world.fleet.processes()):
        expect_equal(server.stop(), 0, f"exit status of {server.folder.name}: {server.output()[-2000:]}")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder, Upstream() as upstream:
        with CrashFleet(folder, gateways=1, timeout="15s") as fleet:
            return main(World(fleet, upstream))


sys.exit(unless_skipped(run, "kill -9 of processes of their own"))
