#!/usr/bin/python3
"""A control plane, two gateways and two runners as processes of their own, with PostgreSQL, an S3 server,
mutual TLS, and wires between them that are cut and slowed: nothing old is used after an acknowledgement,
nothing on record is lost, and everything recovers without hands."""

import signal
import ssl
import sys
import tempfile
import threading
import time
from functools import partial
from typing import NamedTuple

from harness.fleet import INSTALL_CONFIG_TOKEN, RUNNER_TOKEN, Fleet, internal_port
from harness.platform import loopback_rules
from harness.repeated import Repeated
from harness.tap import eventually, expect, expect_equal, expect_in, main, test, unless_skipped
from harness.upstream import Upstream

SECRETS = [f"canary-7c40-secret-{number}" for number in range(5)]


LEASE = 1.0  # seconds; the default of control_plane.lease


class World:
    """One tenant with one install, reached through each gateway."""

    def __init__(self, fleet, upstream):
        self.fleet, self.upstream = fleet, upstream
        self.tenant = fleet.tenant("acme")
        self.slug = fleet.publish(fleet.publisher("example"))
        self.install = fleet.install(self.tenant, self.slug, egress=loopback_rules(upstream), config={"key": "value"})
        fleet.secret(self.tenant, self.install, "api_key", SECRETS[0])
        self.first, self.second = fleet.gateway_clients()
        self.lost = ""  # the execution of a gateway that was killed

    def call(self, path, client=None, **more):
        return self.fleet.call(self.tenant, self.slug, path, client=client or self.first, **more)

    def manage(self, method, path, body=None):
        headers = {"x-tenant-id": self.tenant}
        return self.fleet.operator.request(method, f"/api/v1/installs/{self.install['id']}{path}", body=body, headers=headers)

    def grant(self, capabilities):
        expect_equal(self.manage("PUT", "/grants", {"capabilities": capabilities}).status, 200, "grants")


class Seen(NamedTuple):
    """One request and its answer: JSON where the status is 200, else text."""

    began: float
    ended: float
    gateway: int
    status: int
    said: object


class Load(Repeated):
    """Asks for one path through both gateways without a pause until it is told to stop. `seen` holds a
    Seen of every request, on the clock of time.monotonic()."""

    def __init__(self, world, path, threads=2):
        self.world, self.path = world, path
        self.seen = []
        clients = world.fleet.gateway_clients(timeout=20.0)
        super().__init__(*(partial(self._ask, index, client) for index, client in enumerate(clients) for _ in range(threads)))

    def _ask(self, gateway, client):
        began = time.monotonic()
        try:
            answer = self.world.call(self.path, client=client)
            said = answer.json() if answer.status == 200 else answer.text()
            self.seen.append(Seen(began, time.monotonic(), gateway, answer.status, said))
        except OSError as error:
            self.seen.append(Seen(began, time.monotonic(), gateway, 0, str(error)))

    def after(self, moment, gateway=None):
        """What began after a moment."""
        return [one for one in list(self.seen) if one.began >= moment and gateway in (None, one.gateway)]

    def between(self, moment, end, gateway=None):
        """What began after a moment and was answered before another."""
        return [one for one in self.after(moment, gateway) if one.ended <= end]

    def count(self, moment, gateway, status=200):
        return sum(1 for one in self.after(moment, gateway) if one.status == status)


def counted(server, series):
    """The value of one series of /metrics of a process, 0 when it is not there."""
    lines = server.client().get("/metrics").text().splitlines()
    return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{series} ")), 0.0)


@test("the control plane tells every runner what was published, before anybody invokes it")
def told_at_publish(world):
    control = world.fleet.server
    # At publish and at install, to each of two runners; who has not begun with the first order carries both out at once.
    eventually(lambda: counted(control, 'alga_warm_ups_total{outcome="ready"}') >= 2, 30, "orders that runners have carried out")
    for runner in world.fleet.runners:
        eventually(lambda runner=runner: counted(runner, 'alga_component_loads_total{from="disk"}') == 1, 30, "components that a runner has loaded")
    for client in (world.first, world.second):
        expect_equal(world.call("/counter", client=client).status, 200, "the first call")
    for runner in world.fleet.runners:
        expect_equal(counted(runner, 'alga_component_loads_total{from="disk"}'), 1, "components loaded after the first calls")
        expect_equal(counted(runner, 'alga_component_loads_total{from="compile"}'), 0, "compiles of a runner")


@test("a runner that nobody told maps what the control plane compiled when its first call comes")
def not_told(world):
    runner, wire = world.fleet.another_runner(), world.fleet.wires["execute-0"]
    known = wire.targets

    def lead_to(ports):
        wire.cut()  # whoever asks again does it on a new connection
        wire.targets = ports
        wire.mend()

    def loads(source):
        return counted(runner, f'alga_component_loads_total{{from="{source}"}}')

    try:
        expect_equal((loads("disk"), loads("compile")), (0, 0), "loads and compiles before")
        lead_to([internal_port(runner)])
        began = time.monotonic()
        expect_equal(world.call("/counter").status, 200, "its first call")
        print(f"# {1000 * (time.monotonic() - began):.0f} ms")
        expect_equal((loads("disk"), loads("compile")), (1, 0), "loads and compiles")
    finally:
        lead_to(known)
        runner.stop()


@test("runners warm up by what was compiled at publish, and compile nothing themselves")
def warm_up(world):
    for answer in world.fleet.warm_up(world.tenant, world.install):
        expect_equal((answer.status, answer.json()), (200, {"status": "ready"}), "warm up")
    for runner in world.fleet.runners:
        metrics = runner.client().get("/metrics").text()
        expect_in('alga_artefacts_shared_total{direction="fetched"} 1', metrics, "artefacts taken from the store")
        expect_in('alga_component_loads_total{from="compile"} 0', metrics, "compiles of a runner")
    for client in (world.first, world.second):
        expect_equal(world.call("/counter", client=client).status, 200, "the first call")


@test("the control plane counts the compiled code that stands in the bundle store")
def shared_artefacts(world):
    objects = world.fleet.objects
    sizes = [path.stat().st_size for path in (objects.folder / "s3" / objects.bucket / "artefacts").glob("*/*.cwasm")]
    expect(sizes and min(sizes) > 100_000, f"artefacts in the bucket: {sizes}")
    expect_equal(counted(world.fleet.server, "alga_shared_artefact_bytes"), sum(sizes), "bytes, as the control plane counts them")


@test("the main job runs through every gateway: secret, allowed API, stored value, answer")
def main_job(world):
    for turn, client in enumerate((world.first, world.second), 1):
        answer = world.call(f"/main-job?url={world.upstream.origin}/tickets", client=client)
        expect_equal(answer.status, 200, f"status ({answer.text()})")
        expect_equal(answer.json(), {"upstream": 200, "revision": turn}, "answer; the storage is one for all runners")
        method, path, headers, _ = world.upstream.seen()[-1]
        expect_equal((method, path, headers.get("authorization")), ("GET", "/tickets", SECRETS[0]), "what the API saw")


@test("what two gateways are asked with one idempotency key runs once, and both answer the same")
def once(world):
    def ask(client, key, answers):
        answers.append(world.call("/random", client=client, method="POST", body={}, headers={"x-idempotency-key": key}))

    for turn in range(5):
        key, answers = f"key-{turn}", []
        callers = [threading.Thread(target=ask, args=(client, key, answers)) for client in (world.first, world.second) * 2]
        for one in callers:
            one.start()
        for one in callers:
            one.join()
        for client in (world.first, world.second):
            ask(client, key, answers)
        expect(all(answer.status in (200, 409) for answer in answers), f"{[answer.text() for answer in answers]}")
        expect_equal([answer.status for answer in answers[-2:]], [200, 200], "answers once it has run")
        expect_equal(len({answer.text() for answer in answers if answer.status == 200}), 1, "executions of one key")


@test("internal routes are on the internal listener only, and only for certificates of our authority")
def internal_listener(world):
    fleet = world.fleet
    asked = {"tenantId": world.tenant, "extensionId": world.slug}
    token = {"x-runner-auth": INSTALL_CONFIG_TOKEN}
    for server, path in ((fleet.server, "/internal/runner/install-config"), (fleet.runners[0], "/v1/execute")):
        expect_equal(server.client().post(path, asked, headers=token).status, 404, f"{path} on the public listener")
        try:
            answer = fleet.internal(server, "POST", path, asked, token, identity=None)
            expect(False, f"{path} answered {answer.status} to a caller without certificate")
        except (ssl.SSLError, OSError):
            pass
    expect_equal(fleet.internal(fleet.server, "POST", "/internal/runner/install-config", asked, token).status, 200, "install-config")
    for wrong in ({}, {"x-runner-auth": RUNNER_TOKEN}, {"x-runner-auth": "local-runner-key"}):
        answer = fleet.internal(fleet.server, "POST", "/internal/runner/install-config", asked, wrong)
        expect_equal(answer.status, 401, f"install-config with {wrong}")
    answer = fleet.internal(fleet.runners[0], "POST", "/v1/execute", {}, identity="stranger")
    expect_equal(answer.status, 401, "/v1/execute for a certificate that is none of runner.client_names")


@test("the database user of gateways reaches no secret, key, configuration or stored value, and makes no key, grant or install")
def least_rights(world):
    postgres = world.fleet.postgres
    expect_equal(postgres.refusal("SELECT count(*) FROM api_keys", "alga_gateway"), "", "what a gateway does read")
    hidden = postgres.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND NOT has_table_privilege('alga_gateway', schemaname || '.' || tablename, 'SELECT')")
    for table in ("tenant_extension_install_secrets", "tenant_data_keys", "signing_keys", "tenant_extension_install_config", "ext_storage_records"):
        expect_in(table, hidden.split(), "tables that a gateway cannot read")
        expect_in("permission denied", postgres.refusal(f"SELECT * FROM {table}", "alga_gateway"), table)
    written = postgres.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND has_table_privilege('alga_gateway', schemaname || '.' || tablename, 'INSERT, UPDATE, DELETE, TRUNCATE')")
    counts = {"extension_quota_usage", "tenant_quota_usage", "idempotency_usage"}
    rows = counts | {"extension_execution_log", "idempotency_records", "lease_holders"}
    expect_equal(set(written.split()), rows, "tables that a gateway writes")
    for statement in ("UPDATE api_keys SET role = 'operator'", "CREATE TABLE own (a INT)", "DELETE FROM extension_execution_log", "TRUNCATE lease_holders"):
        expect_in("permission denied", postgres.refusal(statement, "alga_gateway"), statement)


@test("a runner believes no caller about a tenant, only the grant")
def no_grant(world):
    headers = {"x-alga-tenant": world.tenant, "x-alga-extension": world.install["extension_id"]}
    context = {"request_id": "r1", "tenant_id": world.tenant, "extension_id": world.install["extension_id"]}
    body = {"context": {**context, "content_hash": world.install["content_hash"], "config": {}}, "http": {"method": "GET", "path": "/", "url": "/"}}
    answer = world.fleet.internal(world.fleet.runners[0], "POST", "/v1/execute", body, headers)
    expect_equal((answer.status, answer.json()["code"]), (401, "runner.grant_required"), "an execution without grant")


def settled_by(world, what):
    """Changes so far whose acknowledgement `what` ended the wait for: `confirmation` or `lease`."""
    return counted(world.fleet.server, f'alga_changes_settled_total{{by="{what}"}}')


def check_rotations(load, acknowledged):
    """No request that started after the acknowledgement of one value was given an older one."""
    for number, moment in acknowledged:
        for one in load.after(moment):
            if one.status == 200:
                used = SECRETS.index(one.said["value"].get("ok"))
                expect(used >= number, f"gateway {one.gateway} used secret {used} {one.began - moment:.3f} s after {number} was acknowledged")


@test("no request that starts after the acknowledgement of a rotation uses the old secret, whatever the network does")
def rotation(world):
    wire = world.fleet.wires["gateway-1"]
    acknowledged = []

    def rotate(number):
        world.fleet.secret(world.tenant, world.install, "api_key", SECRETS[number])
        acknowledged.append((number, time.monotonic()))

    def confirmed():
        before = settled_by(world, "confirmation")
        rotate(1)
        return settled_by(world, "confirmation") > before

    # Whoever asks like a gateway and confirms nothing has the acknowledgements wait for its lease.
    time.sleep(LEASE * 3)
    with Load(world, "/secret?key=api_key") as load:
        eventually(lambda: load.count(0, 0) and load.count(0, 1), 30, "answers of both gateways")
        eventually(confirmed, 30, "an acknowledgement that both gateways had confirmed")
        wire.delay = 0.15
        rotate(2)
        wire.cut()
        cut = time.monotonic()
        rotate(3)
        eventually(lambda: load.between(cut + 1.2, time.monotonic(), 1), 15, "answers of the gateway that is cut off")
        mended = time.monotonic()
        wire.mend()
        rotate(4)
        last = acknowledged[-1][1]
        eventually(lambda: load.count(last, 0) and load.count(last, 1), 30, "answers of both gateways at the end")
        time.sleep(0.3)
    check_rotations(load, acknowledged)
    refused = load.between(cut + 1.2, mended, 1)
    expect(refused and all(one.status == 503 for one in refused), f"a gateway that cannot renew its lease refuses: {refused[:3]}")
    expect(load.count(cut, 0) > 0 and all(one.status == 200 for one in load.after(cut, 0)), "the other gateway never noticed")


@test("no request that starts after the acknowledgement of a revocation is permitted, whatever the network does")
def revocation(world):
    granted = world.manage("GET", "").json()["install"]["granted"]
    less = [name for name in granted if name != "cap:secrets.get"]
    wire = world.fleet.wires["gateway-0"]
    with Load(world, "/secret?key=api_key") as load:
        eventually(lambda: load.count(0, 0) and load.count(0, 1), 30, "answers of both gateways")
        wire.delay = 0.15
        world.grant(less)
        revoked = time.monotonic()
        eventually(lambda: load.count(revoked, 0) and load.count(revoked, 1), 30, "answers of both gateways")
        wire.cut()
        time.sleep(0.4)
        until = time.monotonic()
        wire.mend()
        world.grant(granted)
        again = time.monotonic()
        eventually(lambda: load.count(again, 0) and load.count(again, 1), 15, "answers after the grant")
    denied = [one for one in load.between(revoked, until) if one.status == 200]
    for one in denied:
        expect_equal(one.said["value"], {"err": "denied"}, f"gateway {one.gateway}, {one.began - revoked:.3f} s after the revocation")
    expect_equal({one.gateway for one in denied}, {0, 1}, "gateways that answered while it was revoked")
    expect(any(one.said["value"] == {"ok": SECRETS[4]} for one in load.after(again) if one.status == 200), "the secret is there again")


@test("a gateway that hangs holds an acknowledgement up for one lease, and serves nothing old when it wakes")
def hung_gateway(world):
    """The push reaches nobody there, and nothing is confirmed: what is left is the lease."""
    hung = world.fleet.gateways[1].process
    with Load(world, "/secret?key=api_key") as load:
        eventually(lambda: load.count(0, 0) and load.count(0, 1), 30, "answers of both gateways")
        hung.send_signal(signal.SIGSTOP)
        try:
            world.fleet.secret(world.tenant, world.install, "api_key", SECRETS[3])  # answered while it hangs
            acknowledged = time.monotonic()
        finally:
            hung.send_signal(signal.SIGCONT)
        eventually(lambda: load.count(acknowledged, 0) > 5 and load.count(acknowledged, 1) > 5, 30, "answers of both gateways")
        # Once it renews its lease again, acknowledgements are quick again.
        eventually(lambda: timed(lambda: world.fleet.secret(world.tenant, world.install, "api_key", SECRETS[4])) < LEASE * 0.7, 60, "a quick one")
        last = time.monotonic()
        eventually(lambda: load.count(last, 0) and load.count(last, 1), 30, "answers with the newest")
    check_rotations(load, [(3, acknowledged), (4, last)])


def timed(work):
    began = time.monotonic()
    work()
    return time.monotonic() - began


@test("a gateway that is killed while a guest runs leaves its start on record; changes wait for its lease at most, and the others go on")
def killed_gateway(world):
    fleet, tenant = world.fleet, {"x-tenant-id": world.tenant}

    def begun(status):
        found = fleet.operator.get(f"/api/v1/executions?status={status}&install={world.install['id']}&limit=1000", headers=tenant).json()["executions"]
        return {one["id"]: one for one in found}

    world.upstream.hold()
    before = set(begun("started"))
    target = f"/main-job?url={world.upstream.origin}/held"
    caller = threading.Thread(target=lambda: left_alone(lambda: world.call(target, client=world.second)))
    caller.start()
    eventually(lambda: [one for one in world.upstream.seen() if one[1].startswith("/held")], 20, "a guest that waits for its API")
    fleet.gateways[1].stop(signal.SIGKILL)
    caller.join()
    mine = set(begun("started")) - before
    expect_equal(len(mine), 1, "executions on record that nobody has finished")
    (lost,) = mine
    world.lost = lost
    names = world.manage("GET", "/secrets").json()
    expect_equal(begun("started")[lost]["secrets_version"], names["version"], "the version of the secrets that it was given")
    took = timed(lambda: expect_equal(world.manage("PATCH", "/config", {"set": {"killed": "yes"}}).status, 200, "a change"))
    expect(took < 3 * LEASE, f"it waits for the lease of a gateway that is dead ({took:.1f} s)")
    expect_equal(world.call("/config?key=killed").json()["value"], {"ok": "yes"}, "what the other gateway serves")
    world.upstream.let_go()
    # The runner tells what became of it, whoever asked.
    eventually(lambda: any(one.get("end_class") for one in [begun("started").get(lost, {"end_class": "ok"})]), 20, "its end")
    fleet.restart(fleet.gateways[1])
    world.first, world.second = fleet.gateway_clients()
    expect_equal(world.call("/config?key=killed", client=world.second).json()["value"], {"ok": "yes"}, "what it serves after its restart")


def left_alone(work):
    """A request whose server may die."""
    try:
        work()
    except OSError:
        pass


@test("a runner that is killed under load fails what it ran, nothing else, and comes back without hands")
def killed_runner(world):
    fleet = world.fleet
    with Load(world, "/counter") as load:
        eventually(lambda: load.count(0, 0) > 5 and load.count(0, 1) > 5, 30, "load")
        killed = time.monotonic()
        fleet.runners[0].stop(signal.SIGKILL)
        eventually(lambda: load.count(killed + 0.5, 0) > 5 and load.count(killed + 0.5, 1) > 5, 20, "the other runner takes over")
        fleet.restart(fleet.runners[0])
        restarted = time.monotonic()
        eventually(lambda: load.count(restarted, 0) > 20, 20, "answers with both runners")
    failed = [one for one in load.after(killed - 1.0) if one.status != 200]
    for one in failed:
        expect_equal(one.status, 502, f"status of a lost execution ({one.said})")
        expect_in("runner.unreachable", one.said, "its code")
    expect(len(failed) <= 8, f"only what the runner held when it was killed is lost, not {len(failed)} requests: {failed[:3]}")
    late = [one for one in load.after(killed + 1.0) if one.status != 200]
    expect_equal(late, [], "failures a second later")


@test("a gateway answers 504 when an execution is lost on the way, and the next one works")
def lost_execution(world):
    wire = world.fleet.wires["execute-0"]
    wire.stall()
    began = time.monotonic()
    answer = world.call("/counter")  # comes although nothing of the runner does
    took = time.monotonic() - began
    wire.cut()
    wire.mend()
    expect_equal(answer.status, 504, f"status ({answer.text()})")
    expect(answer.header("x-request-id") and answer.json()["request_id"], "the answer names the request")
    expect(took > 5.5, f"it took {took:.1f} s; the limit of the guest and the grace are 6 s together")
    expect_equal(world.call("/counter").status, 200, "the next call")


@test("a control plane that is killed stops nothing that is being served for longer than its restart takes")
def killed_control_plane(world):
    fleet = world.fleet
    expect_equal([world.call("/counter", client=client).status for client in fleet.gateway_clients()], [200, 200], "before")
    fleet.server.stop(signal.SIGKILL)
    killed = time.monotonic()
    # What a gateway holds it goes on with, as long as the database tells of no change.
    while time.monotonic() < killed + 2 * LEASE:
        expect_equal(world.call("/counter").status, 200, f"{time.monotonic() - killed:.1f} s after the kill")
    # What it does not hold it refuses.
    refused = world.fleet.call(world.tenant, world.install["extension_id"], "/counter", client=world.first)
    expect_equal((refused.status, refused.json()["code"]), (503, "gateway.policy_unavailable"), f"refusal ({refused.text()})")
    fleet.restart(fleet.server)
    fleet.operator = fleet.client(fleet.operator.headers["authorization"].removeprefix("Bearer "))
    for client in fleet.gateway_clients():
        eventually(lambda client=client: world.call("/counter", client=client).status == 200, 15, "the gateway serves again")


@test("log lines and executions that a runner could not deliver arrive once the network is whole, each once")
def records(world):
    fleet = world.fleet
    for name in ("runner-0", "runner-1"):
        fleet.wires[name].cut()
    said = [f"line-{number}-of-the-guest" for number in range(20)]
    for number, line in enumerate(said):
        client = (world.first, world.second)[number % 2]
        expect_equal(world.call(f"/log?message={line}", client=client).status, 200, "call while records cannot be delivered")
    # Both are restarted with what they have not delivered on their disks, one of them after a kill.
    eventually(lambda: counted(fleet.runners[0], "alga_records_unwritten") == 0, 30, "what is in memory only")
    fleet.runners[0].stop(signal.SIGKILL)
    fleet.restart(fleet.runners[0])
    expect_equal(fleet.runners[1].stop(signal.SIGTERM), 0, "exit status of a runner that cannot deliver")
    fleet.restart(fleet.runners[1])
    for name in ("runner-0", "runner-1"):
        fleet.wires[name].mend()

    def lines():
        answer = fleet.operator.get(f"/api/logs?install={world.install['id']}&limit=1000", headers={"x-tenant-id": world.tenant})
        return [entry["message"] for entry in answer.json()["lines"] if "-of-the-guest" in entry["message"]]

    # The fixture says each message once at every level.
    once_each = sorted(f"{line}" for line in said for _ in range(4))
    eventually(lambda: all(any(line in entry for entry in lines()) for line in said), 30, "every line of the guest")
    time.sleep(1.0)
    found = sorted(next(line for line in said if entry.startswith(line) or entry.endswith(line)) for entry in lines())
    expect_equal(found, once_each, "lines of the guest")


@test("every execution is on record with its start, its end and what it used")
def complete(world):
    fleet = world.fleet

    def open_rows():
        # The control plane writes off what its gateway cannot finish any more, but not within the minutes of a test.
        return fleet.postgres.sql(f"SELECT count(*) FROM extension_execution_log WHERE finished_at IS NULL AND id <> '{world.lost}'").strip()

    eventually(lambda: open_rows() == "0", 30, "executions without an end")
    rows = fleet.postgres.sql("SELECT request_id, count(*) FROM extension_execution_log GROUP BY 1 HAVING count(*) > 1")
    expect_equal(rows, "", "requests with more than one row")


@test("no file, no log and no row of the database holds a secret in clear")
def canary(world):
    dump = world.fleet.postgres.dump()
    expect(len(dump) > 10_000, "the dump of the database is one")
    for needle in (*SECRETS, INSTALL_CONFIG_TOKEN, RUNNER_TOKEN, world.fleet.objects.secret_key):
        expect(needle not in dump, f"{needle} is in the database")
        expect_equal(world.fleet.files_holding(needle), [], f"files that hold {needle}")


@test("every process ends in order")
def orderly(world):
    for server in reversed(world.fleet.processes()):
        expect_equal(server.stop(), 0, f"exit status of {server.folder.name}: {server.output()[-2000:]}")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder, Upstream() as upstream, Fleet(folder) as fleet:
        return main(World(fleet, upstream))


sys.exit(unless_skipped(run, "the platform in separate processes"))
