#!/usr/bin/python3
"""Nobody reaches another tenant's anything: every route with every foreign identifier is refused."""

import sys
import tempfile

from harness.platform import Platform
from harness.tap import eventually, expect, expect_equal, main, test


class World:
    """Two tenants with the same extension; an administrator of each."""

    def __init__(self, platform):
        self.platform = platform
        self.slug = platform.publish(platform.publisher("example"))
        self.mine = platform.install(platform.tenant("mine"), self.slug, config={"key": "mine"})
        self.theirs = platform.install(platform.tenant("theirs"), self.slug, config={"key": "theirs"})
        platform.secret("mine", self.mine, "api_key", "secret-of-mine")
        platform.secret("theirs", self.theirs, "api_key", "secret-of-theirs")
        self.admin = platform.api_key("tenant_admin", tenant="mine")
        self.user = platform.api_key("tenant_user", tenant="mine")


ROUTES = [
    ("GET", "", None),
    ("POST", "/update", {"version": "1.0.0"}),
    ("POST", "/enable", {}),
    ("POST", "/disable", {}),
    ("PUT", "/grants", {"capabilities": []}),
    ("GET", "/config", None),
    ("PATCH", "/config", {"set": {"key": "altered"}}),
    ("GET", "/secrets", None),
    ("PUT", "/secrets/api_key", {"value": "altered"}),
    ("DELETE", "/secrets/api_key", None),
    ("GET", "/usage", None),
    ("DELETE", "", None),
]


@test("each route of an install refuses an administrator of another tenant")
def foreign_installs(world):
    for claim, wanted in (({}, (404, "install.not_found")), ({"x-tenant-id": "theirs"}, (403, "auth.forbidden"))):
        for method, path, body in ROUTES:
            answer = world.admin.request(method, f"/api/v1/installs/{world.theirs['id']}{path}", body=body, headers=claim)
            expect_equal((answer.status, answer.json()["error"]["code"]), wanted, f"{method} {path} with {claim} ({answer.text()})")


@test("and each of them changed nothing")
def unchanged(world):
    tenant = {"x-tenant-id": "theirs"}
    path = f"/api/v1/installs/{world.theirs['id']}"
    expect_equal(world.platform.operator.get(f"{path}/config", headers=tenant).json()["config"], {"key": "theirs"}, "config")
    install = world.platform.operator.get(path, headers=tenant).json()["install"]
    expect_equal(install["enabled"], True, "enabled")
    answer = world.platform.call("theirs", world.slug, "/secret?key=api_key")
    expect_equal(answer.json()["value"], {"ok": "secret-of-theirs"}, "secret")


@test("lists show the caller's own tenant only, whatever the query says")
def lists(world):
    paths = {"installs": "/api/v1/installs", "lines": "/api/logs?limit=100", "executions": "/api/v1/executions?limit=100", "events": "/api/v1/audit?limit=100"}
    # Both have something in each list.
    for tenant, install in (("mine", world.mine), ("theirs", world.theirs)):
        expect_equal(world.platform.call(tenant, world.slug, "/log").status, 200, f"a call of {tenant}")
        for path in paths.values():
            eventually(lambda path=path, by={"x-tenant-id": tenant}, own=install["id"]: own in world.platform.operator.get(path, headers=by).text(), 15, f"something of {tenant} in {path}")
    for name, path in paths.items():
        own = world.admin.get(path)
        expect_equal(own.status, 200, path)
        expect(world.mine["id"] in own.text(), f"{path} does not show the caller's own install")
        claimed = world.admin.get(path + ("&" if "?" in path else "?") + "tenant=theirs")
        expect_equal((claimed.status, claimed.json()[name]), (200, own.json()[name]), f"{path} with another tenant in the query")
        expect(world.theirs["id"] not in own.text(), f"{path} shows the install of another tenant")


@test("the gateway resolves an extension in the caller's tenant, and a foreign install not at all")
def gateway(world):
    answer = world.admin.get(f"/api/ext/{world.slug}/config?key=key")
    expect_equal(answer.json()["value"], {"ok": "mine"}, "configuration of the caller's own install")
    for claim, wanted in (({}, (404, "gateway.extension_not_available")), ({"x-tenant-id": "theirs"}, (403, "gateway.tenant_mismatch"))):
        answer = world.admin.get(f"/api/ext/{world.theirs['id']}/config?key=key", headers=claim)
        expect_equal((answer.status, answer.json()["code"]), wanted, f"a foreign install with {claim}")


@test("a claim to another tenant does not move the caller there")
def claims(world):
    answer = world.admin.get(f"/api/ext/{world.slug}/config?key=key", headers={"x-tenant-id": "theirs"})
    expect_equal((answer.status, answer.json()["code"]), (403, "gateway.tenant_mismatch"), "the answer")


@test("what one tenant stores, the other does not find")
def storage(world):
    platform = world.platform
    tenants = [platform.call(tenant, world.slug, "/storage?ns=crossing").json() for tenant in ("mine", "theirs")]
    for result in tenants:
        expect_equal(result["created"], {"ok": 1}, "create-only write in each tenant")


@test("a tenant's user may call extensions but not administer them")
def roles(world):
    expect_equal(world.user.get(f"/api/ext/{world.slug}/counter").status, 200, "a call")
    path = f"/api/v1/installs/{world.mine['id']}"
    for method, rest, body in ROUTES[1:7:2] + ROUTES[8:10]:
        expect_equal(world.user.request(method, path + rest, body=body).status, 403, f"{method} {rest}")


@test("only the operator makes tenants, publishers and operator keys")
def operator_only(world):
    expect_equal(world.admin.post("/api/v1/tenants", {"id": "more", "name": "More"}).status, 403, "a tenant")
    expect_equal(world.admin.post("/api/v1/publishers", {"name": "more"}).status, 403, "a publisher")
    expect_equal(world.admin.post("/api/v1/api-keys", {"label": "x", "role": "operator"}).status, 403, "an operator's key")
    answer = world.admin.post("/api/v1/api-keys", {"label": "x", "role": "tenant_admin", "tenant": "theirs"})
    expect_equal(answer.status, 403, "a key for another tenant")


def body_for(world, path):
    """What an attacker sends to a route: everything in it is the other tenant's."""
    theirs = world.theirs
    identity = {"tenant_id": "theirs", "extension_id": theirs["extension_id"], "content_hash": theirs["content_hash"]}
    return {
        "/v1/execute": {"context": {**identity, "install_id": theirs["id"]}, "http": {"method": "GET", "path": "/config", "url": "/config?key=key"}},
        "/warmup": identity,
    }.get(path, {"any": "body"})


@test("every route of gateways and runners in the document refuses every foreign identifier")
def document(world):
    paths = world.platform.operator.get("/api/v1/openapi.json").json()["paths"]
    attackers = {
        "nobody": world.platform.server.client(),
        "a token that never was": world.platform.client("alga_0000000000000000_" + "x" * 43),
        "another tenant's administrator": world.admin,
        "another tenant's user": world.user,
        "another tenant's client": world.platform.api_key("client_user", tenant="mine"),
    }
    known = {"extension": world.theirs["id"], "path": "config?key=key"}
    routed = {"x-alga-tenant": "theirs", "x-alga-extension": world.theirs["extension_id"]}  # a runner asks for it, to a gateway it is a claim
    claims = ({}, {"x-tenant-id": "theirs"}, routed)
    rows = 0

    def refusal(role, attacker, claim):
        """How a gateway or a runner refuses."""
        if role == "runner":
            return 401, "runner.grant_required"  # whoever it is: what people have is nothing to it
        if attacker in ("nobody", "a token that never was"):
            return 401, "gateway.unauthenticated"
        return (403, "gateway.tenant_mismatch") if claim else (404, "gateway.extension_not_available")

    for path, item in paths.items():
        for method, operation in item.items():
            # A preflight tells no more than which methods there are; pages are public.
            if operation["x-role"] not in ("gateway", "runner") or not operation["security"]:
                continue
            named = [it["name"] for it in operation.get("parameters", []) if it["in"] == "path"]
            expect(set(named) <= set(known), f"no row for the parameters {named} of {path}")
            target = path
            for name in named:
                target = target.replace("{" + name + "}", known[name])
            for attacker, client in attackers.items():
                for claim in claims:
                    sent = None if method in ("get", "head") else body_for(world, path)
                    headers = {**routed, **claim} if operation["x-role"] == "runner" else claim
                    answer = client.request(method.upper(), target, body=sent, headers=headers)
                    rows += 1
                    what = f"{method.upper()} {path} by {attacker} with {claim} answered {answer.status}: {answer.text()}"
                    wanted = refusal(operation["x-role"], attacker, claim)
                    if method == "head":
                        expect_equal((answer.status, answer.body), (wanted[0], b""), what)
                    else:
                        said = answer.json()
                        code = said["error"]["code"] if isinstance(said["error"], dict) else said["code"]
                        expect_equal((answer.status, code), wanted, what)
                    expect("theirs" not in answer.text() and world.theirs["id"] not in answer.text(), what)
    expect(rows >= 200, f"only {rows} rows: is something missing in the document?")
    answer = world.platform.call("theirs", world.slug, "/config?key=key")
    expect_equal(answer.json()["value"], {"ok": "theirs"}, "the rightful caller, with the same identifiers")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder, Platform(folder) as platform:
        return main(World(platform))


sys.exit(run())
