#!/usr/bin/python3
"""The main job through all roles in one process: publish, install, configure, invoke, rotate, deny."""

import sys
import tempfile

from harness.platform import Platform, loopback_rules
from harness.tap import eventually, expect, expect_equal, expect_in, main, test
from harness.upstream import Upstream

FIRST = "canary-5d2f8a-first-secret"
SECOND = "canary-9be113-second-secret"


class World:
    """What the tests share: one tenant with one install."""

    def __init__(self, platform, upstream):
        self.platform, self.upstream = platform, upstream
        self.tenant = platform.tenant("acme")
        self.slug = platform.publish(platform.publisher("example"))
        rules = loopback_rules(upstream)
        self.install = platform.install(self.tenant, self.slug, egress=rules, config={"key": "value"})
        platform.secret(self.tenant, self.install, "api_key", FIRST)

    def call(self, path, **more):
        return self.platform.call(self.tenant, self.slug, path, **more)

    def get(self, path):
        return self.platform.operator.get(path, headers={"x-tenant-id": self.tenant})


def counted(text, series):
    """The value of one series of /metrics, 0 when it is not there."""
    return next((float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"{series} ")), 0.0)


@test("the first invocation after publish finds its component in memory: the runner was warmed up")
def warm(world):
    def metrics():
        return world.platform.server.client().get("/metrics").text()

    eventually(lambda: counted(metrics(), 'alga_warm_ups_total{outcome="ready"}') >= 2, 30, "warm-up after publish and install")
    eventually(lambda: len(world.platform.server.log_lines("warmed up a runner")) == 2, 5, "log lines of the warm-ups")
    watched = [f'alga_component_loads_total{{from="{place}"}}' for place in ("disk", "compile")] + ["alga_bundle_cache_misses_total"]
    before = {name: counted(metrics(), name) for name in watched}
    expect_equal(world.call("/random").status, 200, "the first invocation")
    expect_equal({name: counted(metrics(), name) for name in watched}, before, "loads, compiles and downloads of the first invocation")


@test("an installed extension reads a secret, calls an allowed API, stores a value and answers")
def the_main_job(world):
    answer = world.call(f"/main-job?url={world.upstream.origin}/tickets")
    expect_equal(answer.status, 200, f"status ({answer.text()})")
    expect_equal(answer.json(), {"upstream": 200, "revision": 1}, "answer")
    method, path, headers, _ = world.upstream.seen()[-1]
    expect_equal((method, path, headers.get("authorization")), ("GET", "/tickets", FIRST), "what the API saw")


@test("configuration reaches the extension, and the guest's content type reaches the caller")
def configuration(world):
    answer = world.call("/config?key=key")
    expect_equal(answer.json()["value"], {"ok": "value"}, "config.get")
    expect_equal(answer.header("content-type"), "application/json", "content type")


@test("install id, registry id and slug name the same install")
def three_names(world):
    for name in (world.install["id"], world.install["extension_id"], world.slug):
        answer = world.platform.call(world.tenant, name, "/counter")
        expect_equal((answer.status, answer.json()), (200, {"counter": 1}), f"by {name}")


@test("an execution never sees what another one left in a global")
def fresh_state(world):
    for _ in range(5):
        expect_equal(world.call("/counter").json(), {"counter": 1}, "counter")


@test("clock and randomness are live in the guest")
def live_randomness(world):
    first, second = world.call("/random").json(), world.call("/random").json()
    expect(first["uuid"] != second["uuid"] and first["random"] != second["random"], "two executions drew the same numbers")
    expect(second["now"] >= first["now"] > 1_700_000_000_000, "the clock stands still")


@test("a rotated secret is used by the very next request")
def rotation(world):
    world.platform.secret(world.tenant, world.install, "api_key", SECOND)
    answer = world.call(f"/main-job?url={world.upstream.origin}/tickets")
    expect_equal(answer.status, 200, f"status ({answer.text()})")
    expect_equal(world.upstream.seen()[-1][2].get("authorization"), SECOND, "what the API saw")


@test("an address without a rule is not allowed, and nothing is sent")
def egress_denied(world):
    before = len(world.upstream.seen())
    other = world.upstream.origin.replace("127.0.0.1", "localhost")
    for url in ("https://example.org/", "http://169.254.169.254/latest/meta-data/", other, "http://127.0.0.1:9/"):
        expect_equal(world.call(f"/fetch?url={url}").json(), {"err": "not-allowed"}, url)
    expect_equal(len(world.upstream.seen()), before, "requests that reached the API")


@test("redirects are returned to the guest, not followed")
def redirects(world):
    answer = world.call(f"/fetch?url={world.upstream.origin}/redirect?http://169.254.169.254/")
    expect_equal(answer.json()["ok"]["status"], 302, "status")


@test("a revoked capability is denied to the very next request, and granted again it works")
def revocation(world):
    path = f"/api/v1/installs/{world.install['id']}/grants"
    tenant = {"x-tenant-id": world.tenant}
    granted = world.get(f"/api/v1/installs/{world.install['id']}").json()["install"]["granted"]
    less = [name for name in granted if name != "cap:secrets.get"]
    expect_equal(world.platform.operator.put(path, {"capabilities": less}, headers=tenant).status, 200, "revoke")
    expect_equal(world.call("/secret?key=api_key").json()["value"], {"err": "denied"}, "secrets.get")
    expect_equal(world.platform.operator.put(path, {"capabilities": granted}, headers=tenant).status, 200, "grant")
    expect_equal(world.call("/secret?key=api_key").json()["value"], {"ok": SECOND}, "secrets.get")


@test("a disabled install answers 404 at once, and works again when enabled")
def disabling(world):
    tenant = {"x-tenant-id": world.tenant}
    path = f"/api/v1/installs/{world.install['id']}"
    expect_equal(world.platform.operator.post(f"{path}/disable", headers=tenant).status, 200, "disable")
    expect_equal(world.call("/counter").status, 404, "a call while disabled")
    expect_equal(world.platform.operator.post(f"{path}/enable", headers=tenant).status, 200, "enable")
    expect_equal(world.call("/counter").status, 200, "a call afterwards")


@test("the guest's log lines and every execution are on record")
def records(world):
    world.call("/log?message=a-line-of-the-guest")

    def line():
        lines = world.get(f"/api/logs?install={world.install['id']}&limit=200").json()["lines"]
        return [entry for entry in lines if "a-line-of-the-guest" in entry["message"]]

    found = eventually(line, 15, "the guest's line in /api/logs")
    expect_equal(found[0]["tenant"], world.tenant, "tenant of the line")

    def ended_well():
        executions = world.get(f"/api/v1/executions?install={world.install['id']}&limit=50").json()["executions"]
        return any(entry["end_class"] == "ok" for entry in executions)

    eventually(ended_well, 15, "executions that ended ok")


@test("what administrators did is in the audit trail, without values")
def audit(world):
    events = world.get("/api/v1/audit?limit=200").json()["events"]
    actions = " ".join(event["action"] for event in events)
    for wanted in ("install", "secret"):
        expect_in(wanted, actions, "audited actions")


@test("each request that reads a secret is in the audit trail: who read, its shortened name and what came of it, the same every time")
def secret_audit(world):
    def events(answer, count):
        request = answer.header("x-request-id")

        def recorded():
            page = world.get("/api/v1/audit?limit=500").json()["events"]
            found = [event for event in page if event["request_id"] == request]
            return found if len(found) >= count else None

        found = eventually(recorded, 15, f"{count} events of one request in the audit trail")
        return sorted((event["action"], event["actor"], event["target"], event["details"]["reason"]) for event in found)

    actor = f"extension:{world.install['id']}"
    for _ in range(3):  # the same request leaves the same events, each time
        given = world.call("/secret?key=api_key")
        expect_equal(given.json(), {"value": {"ok": SECOND}, "keys": {"ok": ["api_key"]}}, "what the guest read")
        expect_equal(events(given, 1), [("guest.secret_read", actor, "ap…ey", "given")], "a secret that is there")
        missing = world.call("/secret?key=password-of-root")
        expect_equal(missing.json()["value"], {"err": "missing"}, "what the guest read")
        expect_equal(events(missing, 1), [("guest.secret_read", actor, "pa…ot", "missing")], "a secret that is not there")


@test("metrics are served in the form of Prometheus")
def metrics(world):
    answer = world.platform.server.client().get("/metrics")
    expect_equal(answer.status, 200, "status")
    expect_in("# TYPE alga_", answer.text(), "metrics")


@test("a call without credentials is refused")
def no_credentials(world):
    answer = world.platform.server.client().get(f"/api/ext/{world.slug}/counter", headers={"x-tenant-id": world.tenant})
    expect_equal(answer.status, 401, f"status ({answer.text()})")


@test("no file of the server, its log included, holds a secret in clear")
def canary(world):
    for needle in (FIRST, SECOND):
        expect_equal(world.platform.files_holding(needle), [], "files that hold a secret")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder, Upstream() as upstream:
        with Platform(folder) as platform:
            return main(World(platform, upstream))


sys.exit(run())
