#!/usr/bin/python3
"""A lone runner in the place of the earlier one: set up by that one's environment variables alone, with that
one's registry, storage, bundle store and host application around it (harness/reference.py)."""

import base64
import json
import sys
import tempfile
from pathlib import Path

from harness import bundle
from harness.reference import ReferenceInstallation
from harness.server import Algad, fixture
from harness.tap import eventually, expect, expect_equal, expect_in, main, test

TENANT, EXTENSION, INSTALL = "acme", "0b6b6f5e-6c9e-4c7e-9d0a-2f6f9f8a1c11", "5e1f7a52-2a53-4b0e-8f0f-6a53a3f0c7d1"
SERVICE, STORAGE, AUTH_KEY = "service-token-of-a-test", "storage-token-of-a-test", "auth-key-of-a-test"
PAGE = b"<!doctype html><p>the page of an extension</p>"
ALL = ["cap:config.read", "cap:secrets.get", "cap:http.fetch", "cap:storage.kv", "cap:ui.proxy"]
SAMPLE = Path(__file__).resolve().parents[2] / "deploy" / "samples" / "drop-in-runner.toml"
#: A busy machine compiles for a while.
COLD_SECONDS = 300
SETTINGS = """
[server]
development = true
[runner]
trust = "service-token"
[engine]
cold_wait = "2m"
[secrets]
allow_inline = true
"""


class World:
    def __init__(self, folder, installation):
        self.folder, self.installation = folder, installation
        packed = folder / "echo.tar.zst"
        manifest = {**bundle.manifest(capabilities=ALL), "ui": {"type": "iframe", "entry": "ui/index.html"}}
        self.hash = bundle.pack(fixture("js-echo.wasm"), manifest, packed, files={"ui/index.html": PAGE})
        digest = self.hash.removeprefix("sha256:")
        installation.bundles[f"tenants/{TENANT}/extensions/{EXTENSION}/sha256/{digest}/bundle.tar.zst"] = packed.read_bytes()
        installation.installed.add((TENANT, EXTENSION, self.hash))
        installation.hosts["acme-ext.example.com"] = (TENANT, EXTENSION, self.hash)
        key_file = folder / "alga_auth_key"
        key_file.write_text(AUTH_KEY)
        environment = {
            "REGISTRY_BASE_URL": installation.origin,
            "ALGA_AUTH_KEY_FILE": str(key_file),
            "BUNDLE_STORE_BASE": f"{installation.origin}/store/",
            "STORAGE_API_BASE_URL": f"{installation.origin}/api",
            "RUNNER_STORAGE_API_TOKEN": STORAGE,
            "RUNNER_SERVICE_TOKEN": SERVICE,
            "UI_PROXY_BASE_URL": f"{installation.origin}/host",
            "EXT_EGRESS_ALLOWLIST": "api.example.test",
            "EXT_CACHE_ROOT": str(folder / "cache"),
        }
        self.server = Algad("runner", folder / "runner", config=SETTINGS, env=environment).start()

    def execute(self, path, query=None, payload=None, install=INSTALL, headers=None, **more):
        http = {"method": "POST" if payload is not None else "GET", "path": path, "query": query or {}, "headers": {}}
        if payload is not None:
            http["body_b64"] = base64.b64encode(payload).decode()
        context = {"request_id": "r-1", "tenant_id": TENANT, "extension_id": EXTENSION, "install_id": install, "content_hash": self.hash}
        body = {"context": context, "http": http, "limits": {"timeout_ms": 15000}, "providers": ALL, **more}
        sent = {"x-alga-tenant": TENANT, "x-alga-extension": EXTENSION, "x-runner-service-token": SERVICE, **(headers or {})}
        return self.server.client(sent).post("/v1/execute", body)

    def answer(self, *arguments, **more):
        result = self.execute(*arguments, **more).json()
        expect_equal(result.get("error"), None, f"error ({result})")
        return json.loads(base64.b64decode(result["body_b64"]))


@test("the bundle comes over plain HTTP under its canonical key and runs")
def bundle_store(world):
    expect_equal(world.answer("/echo")["context"]["tenantId"], TENANT, "tenant")
    fetched = world.installation.seen("/store/tenants/")
    expect_equal(len([request for request in fetched if request[0] == "GET"]), 1, "downloads")
    world.answer("/echo")
    expect_equal(len([request for request in world.installation.seen("/store/tenants/") if request[0] == "GET"]), 1, "downloads in all")


@test("storage speaks the internal API: path, token, base64 with its mark, revisions, errors by name")
def storage(world):
    got = world.answer("/storage", {"ns": "notes"})
    # The earlier API cannot say "only when it is missing"; asking first and looking at the new revision comes near.
    expect_equal((got["created"], got["again"]), ({"ok": 1}, {"err": "conflict"}), "create-only")
    expect_equal((got["read"]["ok"]["value"], got["stale"]), ("one", {"err": "conflict"}), "what was created, and a stale revision")
    expect_equal((got["deleted"], got["missing"]), ({}, {"err": "missing"}), "deleted")
    calls = world.installation.seen("/api/internal/ext-storage/")
    expect_equal({path for _, path, _, _ in calls}, {f"/api/internal/ext-storage/install/{INSTALL}"}, "path, without a second /api")
    expect_equal({headers["x-runner-auth"] for _, _, headers, _ in calls}, {STORAGE}, "token")
    put = json.loads(calls[0][3])
    expect_equal(put["metadata"], {"encoding": "base64-bytes"}, "mark")
    expect_equal((put["operation"], base64.b64decode(put["value"]), put["ifRevision"]), ("put", b"one", 0), "write")
    world.answer("/big-call", {"size": "3"})
    stored = world.installation.records[(INSTALL, "n", "k")]
    expect_equal((base64.b64decode(stored["value"]), stored["revision"]), (b"\0\0\0", 1), "what was stored")
    world.answer("/big-call", {"size": "4"})
    expect_equal(world.installation.records[(INSTALL, "n", "k")]["revision"], 2, "the next revision")


@test("records that others wrote are read: JSON as its text, strings as they are, pages to their end")
def foreign_records(world):
    records = world.installation.records
    records[(INSTALL, "foreign", "a")] = {"value": {"x": [1, 2]}, "metadata": {}, "revision": 4}
    got = world.answer("/storage", {"ns": "foreign"})
    expect_equal(json.loads(got["read"]["ok"]["value"]), {"x": [1, 2]}, "JSON")
    expect_equal(got["listed"]["ok"]["entries"][0]["key"], "a", "listed")
    expect("(" not in str(got["stale"].get("ok", "")) and got["stale"] == {"err": "conflict"}, f"a stale revision: {got['stale']}")
    expect_equal(got["deleted"], {}, "deleted")
    expect((INSTALL, "foreign", "a") not in records, "it is gone")


@test("every record is listed once, over pages of any length, though the earlier storage's own cursor loses one at each border")
def pages(world):
    for number in range(57):
        world.installation.records[(INSTALL, "many", f"key{number:02}")] = {"value": number, "metadata": {}, "revision": 1}
    world.installation.records[(INSTALL, "many", "other")] = {"value": 1, "metadata": {}, "revision": 1}
    keys = [f"key{number:02}" for number in range(57)]
    for limit, count in ((25, 3), (10, 6), (1, 57), (19, 3), (56, 2), (57, 1), (100, 1)):
        got = world.answer("/pages", {"ns": "many", "prefix": "key", "limit": str(limit)})
        expect_equal([key for page in got for key in page], keys, f"pages of {limit}")
        expect_equal(len(got), count, f"number of pages of {limit}")


@test("of two that create the same record only one is told that it did")
def create_race(world):
    installation, lost = world.installation, []
    put = installation._put

    def overtaken(install, ns, key, asked):
        if not lost:  # somebody else was between the look and the write
            lost.append(put(install, ns, key, {"value": "theirs"}))
        return put(install, ns, key, asked)

    installation._put = overtaken
    got = world.answer("/storage", {"ns": "raced"})
    installation._put = put
    expect_equal((lost[0]["revision"], got["created"]), (1, {"err": "conflict"}), "the second one")


@test("a storage that refuses the token, or is away, is a typed error in the guest")
def storage_trouble(world):
    world.installation.runner_token, kept = "another", world.installation.runner_token
    expect_equal(world.answer("/big-call", {"size": "1"}), {"err": "denied"}, "401")
    world.installation.runner_token = kept
    world.installation.up = False
    expect_equal(world.answer("/big-call", {"size": "1"}), {"err": "internal"}, "503")
    world.installation.up = True
    expect("ok" in world.answer("/big-call", {"size": "1"}), "and again when it is back")


@test("ui-proxy calls the host application as the earlier runner did, and tells it the depth")
def ui_proxy(world):
    envelope = {"ciphertext_b64": base64.b64encode(b'{"api_key":"key-of-the-host"}').decode(), "algorithm": "inline/base64", "version": "1"}
    expect_equal(world.answer("/proxy", {"route": "/api/x?a=1"}, headers={"x-alga-depth": "2"}, secret_envelope=envelope), {"ok": '{"from":"host"}'}, "answer")
    method, path, headers, _ = world.installation.seen("/host/")[-1]
    expect_equal((method, path), ("GET", "/host/api/x?a=1"), "request")
    wanted = {"x-alga-tenant": TENANT, "x-alga-extension": EXTENSION, "x-ext-install-id": INSTALL, "x-request-id": "r-1", "x-api-key": "key-of-the-host", "x-alga-depth": "3"}
    expect_equal({name: headers.get(name) for name in wanted}, wanted, "headers")
    world.answer("/proxy", {"route": "orders"}, payload=b"{}")
    method, path, headers, body = world.installation.seen("/host/")[-1]
    expect_equal((method, path, headers["content-type"], body), ("POST", f"/host/{EXTENSION}/orders", "application/json", b"{}"), "with a payload")
    for status, error in ((403, "denied"), (429, "denied"), (404, "route-not-found"), (422, "bad-request"), (500, "internal"), (302, "internal")):
        world.installation.host_answer = (status, b"secret of the host")
        expect_equal(world.answer("/proxy", {"route": "/api/x"}), {"err": error}, f"status {status}")
    world.installation.host_answer = (200, b"{}")


@test("the egress list of the earlier runner is a list of hosts, and an empty policy never means everything")
def egress(world):
    expect_equal(world.answer("/fetch", {"url": "https://other.example.test/"}), {"err": "not-allowed"}, "another host")
    got = world.answer("/fetch", {"url": "https://api.example.test/"})
    expect(got["err"] != "not-allowed", f"the listed host is judged allowed: {got}")


@test("pages are shown to the tenants that the registry names, and to nobody else")
def pages(world):
    browser = world.server.client()
    base = f"/ext-ui/{EXTENSION}/{world.hash}/index.html"
    expect_equal((browser.get(f"{base}?tenant={TENANT}").status, browser.get(f"{base}?tenant={TENANT}").body), (200, PAGE), "the page")
    expect_equal(browser.get(f"{base}?tenant=umbrella").status, 404, "another tenant")
    asked = world.installation.seen("/api/installs/validate")
    expect_equal({headers["x-api-key"] for _, _, headers, _ in asked}, {AUTH_KEY}, "key")
    expect_in(f"tenant={TENANT}&extension={EXTENSION}&hash=", asked[0][1], "question")


@test("a host name leads to its page, an unknown one nowhere, and a registry in trouble is no answer either")
def host_names(world):
    browser = world.server.client()
    found = browser.get("/", headers={"host": "acme-ext.example.com"})
    expect_equal(found.status, 307, "status")
    expect(found.header("location").startswith(f"/ext-ui/{EXTENSION}/{world.hash}/index.html?"), f"location {found.header('location')}")
    expect_equal(found.header("cache-control"), "no-store", "the redirect is not for ever")
    expect_equal(browser.get("/", headers={"host": "nobody.example.com"}).status, 404, "unknown")
    def in_trouble(host, what):
        answer = browser.get("/", headers={"host": host})
        expect_equal((answer.status, answer.json()["code"]), (502, "install.unavailable"), what)

    world.installation.up = False
    in_trouble("later.example.com", "no registry")
    world.installation.up = True
    world.installation.auth_key, kept = "changed", world.installation.auth_key
    in_trouble("acme-ext.example.com", "a key that is not taken")
    world.installation.auth_key = kept


@test("what guests log and how they fail stands in the runner's log, as no control plane keeps it")
def guest_lines(world):
    world.answer("/log", {"message": "hello from the guest"}, headers={"x-request-id": "r-1"})
    world.server.logged("log", lambda line: (line["level"], line["text"]) == ("error", "hello from the guest"))
    said = [line for line in world.server.log_lines("log") if line["text"] == "hello from the guest"]
    expect_equal([(line["component"], line["level"]) for line in said], [("guest", level) for level in ("info", "warn", "error")], "lines")
    expect_equal((said[0]["tenant"], said[0]["extension"], said[0]["install"]), (TENANT, EXTENSION, INSTALL), "whose lines")
    world.server.logged("log", lambda line: line["stream"] == "stdout" and line["text"] == "to standard output")
    result = world.execute("/throw").json()
    expect("on purpose" not in json.dumps(result), f"the caller is told how the guest failed: {result}")
    [failed] = world.server.logged("failed")
    expect_in("thrown on purpose", failed["author_error"], "what the author needs to know")
    expect(not (world.server.folder / "data" / "spool").exists(), "records wait for nobody")


@test("the bundle store may be away once a bundle was fetched, and health says so in the earlier form")
def offline(world):
    world.installation.up = False
    health = eventually(lambda: (answer := world.server.client().get("/healthz")).json()["bundle_store"] != "ok" and answer, 15, "the store is missed")
    expect_equal((health.status, health.json()["bundle_store"], health.json()["cache_writable"]), (200, "bundle_store_unreachable", True), "health")
    ready = world.server.client().get("/readyz")
    expect_equal((ready.status, ready.json()["ready"], ready.json()["store_reachable"]), (200, True, False), "ready for what it has")
    expect_equal(world.answer("/echo")["context"]["tenantId"], TENANT, "from the cache")
    world.installation.up = True


@test("deploy's sample of such a runner starts and runs, with nothing changed but addresses and paths")
def sample(world):
    folder = world.folder / "sample"
    folder.mkdir()
    for name, value in (("runner_service_token", SERVICE), ("alga_auth_key", AUTH_KEY), ("runner_storage_api_token", STORAGE)):
        (folder / name).write_text(value)
        (folder / name).chmod(0o600)
    config = SAMPLE.read_text()
    moved = {
        "/run/secrets/": f"{folder}/",
        "http://bundle-store:9000/bundles": f"{world.installation.origin}/store",
        "http://server:3000": world.installation.origin,
    }
    for there, here in moved.items():
        expect_in(there, config, "the sample")
        config = config.replace(there, here)
    usual = world.server
    with Algad("runner", folder, config=config) as world.server:
        try:
            # It compiles for itself, and a cold call is told to come back.
            eventually(lambda: world.execute("/echo").status == 200, COLD_SECONDS, "its first call")
            expect_equal(world.answer("/echo")["context"]["tenantId"], TENANT, "who it runs for")
            expect_equal(world.answer("/storage", {"ns": "of-the-sample"})["created"], {"ok": 1}, "storage")
        finally:
            world.server = usual


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as name, ReferenceInstallation(STORAGE, AUTH_KEY) as installation:
        world = World(Path(name), installation)
        try:
            return main(world)
        finally:
            world.server.stop()


sys.exit(run())
