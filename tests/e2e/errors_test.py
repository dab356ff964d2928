#!/usr/bin/python3
"""Error codes that no test nearer to their source provokes, each from the outside, once."""

import hashlib
import io
import json
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
from pathlib import Path

from harness import bundle
from harness.platform import CONFIG, Platform
from harness.server import Algad, fixture, run as algad
from harness.tap import Failed, expect_equal, expect_in, main, test

RUNNER_TOKEN = "service-token-of-a-test"


class World:
    def __init__(self, platform, runner, folder):
        self.platform, self.runner, self.folder = platform, runner, Path(folder)
        self.tenant = {"x-tenant-id": platform.tenant("acme")}
        self.publisher = platform.publisher("example")
        self.slug = platform.publish(self.publisher)
        self.install = platform.install("acme", self.slug)["id"]

    def refused(self, code, method, path, body=None, headers=None, client=None):
        """Expects this code in an answer of the admin API."""
        answer = (client or self.platform.operator).request(method, path, body=body, headers=headers)
        found = answer.json().get("error", {})
        expect_equal(found.get("code"), code, f"{method} {path} ({answer.text()[:300]})")
        return answer

    def refused_bundle(self, detail, manifest, sparse=False):
        """Expects this detail when a bundle is finalized."""
        packed = self.folder / "refused.tar.zst"
        content_hash = pack(packed, manifest, sparse)
        answer = self.platform.upload(self.publisher, packed, content_hash)
        expect_equal(answer.json()["error"].get("detail_code"), detail, f"finalize ({answer.text()[:300]})")


def pack(out, manifest, sparse=False):
    """A bundle of the fixture's component, packed by tar; with a file of holes when it is to be sparse."""
    with tempfile.TemporaryDirectory() as root:
        files = ["manifest.json", "dist/main.wasm"]
        (Path(root) / "dist").mkdir()
        (Path(root) / files[0]).write_text(json.dumps(manifest))
        (Path(root) / files[1]).write_bytes(fixture("js-echo.wasm").read_bytes())
        if sparse:
            files.append("dist/holes")
            with open(Path(root) / files[2], "wb") as holes:
                holes.truncate(1 << 20)
        subprocess.run(["tar", "--format=gnu", *(["-S"] if sparse else []), "-C", root, "-cf", f"{out}.tar", *files], check=True)
    subprocess.run(["zstd", "-q", "-f", "-3", "--rm", f"{out}.tar", "-o", out], check=True)
    return "sha256:" + hashlib.sha256(Path(out).read_bytes()).hexdigest()


def manifest(name, version="1.0.0"):
    about = bundle.manifest(name, version)
    del about["api"]
    return about


@test("people, keys and tenants")
def access(world):
    refused = world.refused
    refused("tenant.exists", "POST", "/api/v1/tenants", {"id": "acme"})
    refused("publisher.exists", "POST", "/api/v1/publishers", {"name": "example"})
    refused("publisher.not_found", "GET", "/api/v1/publishers/nobody/keys")
    refused("publisher.key_exists", "POST", "/api/v1/publishers/example/keys", {"public_key": world.publisher.public_key})
    refused("publisher.key_not_found", "DELETE", "/api/v1/publishers/example/keys/nothing")
    refused("api_key.not_found", "DELETE", "/api/v1/api-keys/0000000000000000")
    refused("auth.missing_token", "GET", "/api/v1/whoami", client=world.platform.server.client())
    user = world.platform.api_key("tenant_user", tenant="acme")
    refused("auth.forbidden", "GET", "/api/v1/tenants", client=user)
    refused("request.invalid", "POST", "/api/v1/tenants", {"id": "not an id"})
    refused("execution.not_found", "GET", "/api/v1/executions/nothing", headers=world.tenant)
    refused("request.tenant_missing", "GET", "/api/v1/installs")


@test("extensions, installs, configuration and secrets")
def installs(world):
    refused, install, tenant = world.refused, f"/api/v1/installs/{world.install}", world.tenant
    refused("extension.not_found", "GET", "/api/v1/extensions/example.nothing")
    refused("extension.version_not_found", "POST", f"{install}/update", {"version": "9.9.9"}, tenant)
    rules = [f"https://h{n}.example.com/{'p' * 100}" for n in range(90)]
    refused("install.too_many_rules", "PUT", f"{install}/grants", {"egress": rules}, tenant)
    refused("config.invalid_key", "PATCH", f"{install}/config", {"set": {"": "x"}}, tenant)
    large = {f"key{n}": "x" * 60000 for n in range(12)}
    refused("config.too_large", "PATCH", f"{install}/config", {"set": large}, tenant)
    refused("secrets.invalid_name", "PUT", f"{install}/secrets/bad%20name", {"value": "x"}, tenant)
    refused("secrets.not_found", "DELETE", f"{install}/secrets/nothing", headers=tenant)
    refused("secrets.too_large", "PUT", f"{install}/secrets/big", {"value": "x" * 70000}, tenant)


@test("publishing")
def publishing(world):
    world.refused_bundle("publish.version_exists", manifest("echo"))
    world.refused_bundle("publish.slug_taken", manifest("ECHO", "2.0.0"))
    world.refused_bundle("archive.sparse_entry", manifest("sparse"), sparse=True)
    world.refused_bundle("publish.file_too_large", {**manifest("large"), "description": "x" * (2 << 20)})


@test("HTTP that is not spoken here")
def http(world):
    def provoke(code, head, body=b""):
        with socket.create_connection(("127.0.0.1", world.platform.server.port), timeout=20) as link:
            link.sendall(head.replace("\n", "\r\n").encode() + b"\r\n" + body)
            answer = b""
            while code.encode() not in answer:
                piece = link.recv(65536)
                if not piece:
                    break
                answer += piece
        expect_in(code, answer.decode("latin-1"), f"answer to {head[:60]!r}")

    host = "Host: a\n"
    provoke("http.bad_request", f"GET / HTTP/1.1\n{host}Content-Length: ten\n")
    provoke("http.unsupported_version", f"GET / HTTP/3.0\n{host}")
    provoke("http.uri_too_long", f"GET /{'x' * 20000} HTTP/1.1\n{host}")
    provoke("http.invalid_query", f'GET /?a#b HTTP/1.1\n{host}')
    provoke("http.too_many_headers", f"GET / HTTP/1.1\n{host}" + "".join(f"X-{n}: 1\n" for n in range(600)))
    provoke("http.header_too_large", f"GET / HTTP/1.1\n{host}" + "".join(f"X-{n}: {'y' * 60000}\n" for n in range(8)))
    provoke("http.unsupported_transfer_encoding", f"POST / HTTP/1.1\n{host}Transfer-Encoding: gzip\n")
    provoke("http.expectation_failed", f"POST / HTTP/1.1\n{host}Expect: miracles\nContent-Length: 1\n", b"x")
    token = world.platform.token_file.read_text().strip()
    bearer = f"Authorization: Bearer {token}\n"
    provoke("http.body_too_large", f"POST /api/v1/tenants HTTP/1.1\n{host}{bearer}Content-Length: 999999999\n")
    provoke("http.method_not_allowed", f"PUT /api/v1/whoami HTTP/1.1\n{host}{bearer}Content-Length: 0\n")


@test("a runner behind somebody else's gateway")
def runner(world):
    sent = {"x-alga-tenant": "t", "x-alga-extension": "e", "x-runner-service-token": RUNNER_TOKEN}

    def refused(code, body, headers=None, without=()):
        kept = {name: value for name, value in {**sent, **(headers or {})}.items() if name not in without}
        answer = world.runner.client(kept).post("/v1/execute", body)
        expect_in(code, answer.text(), f"answer ({answer.status})")

    context = {"request_id": "r", "tenant_id": "t", "extension_id": "e", "content_hash": "sha256:" + "0" * 64}
    body = {"context": context, "http": {"method": "GET", "path": "/"}, "limits": {}}
    refused("runner.unauthenticated", body, without=("x-runner-service-token",))
    refused("runner.not_json", b"text", {"content-type": "text/plain"})
    refused("runner.missing_headers", body, without=("x-alga-tenant",))
    refused("runner.invalid_request", {**body, "http": {"method": "NOT A METHOD", "path": "/"}})
    # The body of the request is the last that is looked at, as in the earlier runner: its component is there.
    packed = world.folder / "there.tar.zst"
    there = bundle.pack(fixture("js-echo.wasm"), bundle.manifest(), packed)
    bundle.place(world.runner.folder / "store", "t", "e", packed, there)
    refused("runner.invalid_body", {"context": {**context, "content_hash": there}, "http": {"method": "POST", "path": "/", "body_b64": "%%%"}, "limits": {}})
    refused("limit.header_count", {**body, "http": {**body["http"], "headers": {f"x-{n}": "1" for n in range(150)}}})
    refused("limit.header_bytes", {**body, "http": {**body["http"], "headers": {f"x-{n}": "y" * 9000 for n in range(9)}}})
    refused("limit.request_body", {**body, "http": {**body["http"], "method": "POST", "body_b64": "AAAA" * (1 << 19)}})
    refused("idempotency.bad_key", body, {"x-idempotency-key": "k" * 256})


@test("an idempotency key that is in use, or was used for something else")
def idempotency(world):
    store = world.runner.folder / "store"
    packed = world.folder / "lone.tar.zst"
    content_hash = bundle.pack(fixture("js-echo.wasm"), bundle.manifest(), packed)
    bundle.place(store, "t", "e", packed, content_hash)

    def call(key, path, timeout=120):
        context = {"request_id": "r", "tenant_id": "t", "extension_id": "e", "install_id": "i", "content_hash": content_hash}
        http = {"method": "POST", "path": path, "query": {"ms": "2500"}}
        body = {"context": context, "http": http, "limits": {"timeout_ms": 10000}}
        headers = {"x-alga-tenant": "t", "x-alga-extension": "e", "x-runner-service-token": RUNNER_TOKEN, "x-idempotency-key": key}
        return world.runner.client(headers, timeout).post("/v1/execute", body)

    expect_equal(call("one", "/echo").json().get("error"), None, "the first call")
    expect_in("idempotency.mismatch", call("one", "/other").text(), "another request with the same key")
    # Whichever comes first runs for seconds; on a busy machine the other may still come too late.
    for attempt in range(5):
        answers = []
        callers = [threading.Thread(target=lambda key=f"two-{attempt}": answers.append(call(key, "/sleep").text())) for _ in range(2)]
        for one in callers:
            one.start()
        for one in callers:
            one.join()
        if any("idempotency.in_progress" in answer for answer in answers):
            return
    raise Failed(f"no call was told that another one runs: {answers}")


@test("a bundle of pages has nothing to execute")
def no_component(world):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in (("manifest.json", json.dumps(manifest("pages")).encode()), ("ui/index.html", b"<p>")):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    packed = world.folder / "pages.tar.zst"
    packed.write_bytes(subprocess.run(["zstd", "-q", "-c"], input=buffer.getvalue(), stdout=subprocess.PIPE, check=True).stdout)
    content_hash = "sha256:" + hashlib.sha256(packed.read_bytes()).hexdigest()
    bundle.place(world.runner.folder / "store", "t", "e", packed, content_hash)
    context = {"request_id": "r", "tenant_id": "t", "extension_id": "e", "content_hash": content_hash}
    headers = {"x-alga-tenant": "t", "x-alga-extension": "e", "x-runner-service-token": RUNNER_TOKEN}
    answer = world.runner.client(headers).post("/v1/execute", {"context": context, "http": {"method": "GET", "path": "/"}, "limits": {}})
    expect_in("runner.no_component", answer.text(), "answer")


@test("tokens that everybody knows are refused wherever they would be accepted, outside development")
def known_tokens(world):
    file = world.folder / "known"
    settings = ("control_plane.token", "runner.storage.token", "runner.registry.key", "runner.service_token")
    for setting, token in [*((setting, "changeme") for setting in settings), (settings[0], "8f0c2d\nlocal-runner-key\n"), (settings[3], "secret")]:
        file.write_text(token)
        file.chmod(0o600)
        given = ["--set", f"{setting}=file:{file}"]
        status, out, err = algad("serve", "--data", world.folder / "known-data", "--listen", "127.0.0.1:0", *given)
        expect_equal(status, 1, f"status with {token!r} as {setting} ({out} {err})")
        expect_in("config.default_token", out + err, f"{token!r} as {setting}")
        status, out, err = algad("check-config", *given)
        expect_equal((status, "config.default_token" in err, "good" in out), (2, True, False), f"check-config with {token!r} as {setting} ({out} {err})")
        expect_equal(algad("check-config", *given, "--set", "server.development=true")[0], 0, "in development")
        with Algad("all", world.folder / "development", arguments=[*given, "--set", "server.development=true"]):
            pass  # it starts


@test("what the command line refuses")
def command_line(world):
    def fails(code, *arguments, status=1):
        got, out, err = algad(*arguments)
        expect_equal(got, status, f"status ({out} {err})")
        expect_in(code, out + err, "output")

    file = world.folder / "a-file"
    file.write_text("no folder")
    fails("config.folder", "serve", "--data", file / "data")
    fails("config.missing", "serve")
    (world.folder / "g").mkdir(exist_ok=True)
    gateway = ["serve", "--role", "gateway", "--data", world.folder / "g", "--listen", "127.0.0.1:0"]
    for setting in ("runner.url=http://127.0.0.1:9", "control_plane.url=http://127.0.0.1:9", f"control_plane.token=file:{file}", f"database.url=sqlite:{world.folder}/old.db"):
        gateway += ["--set", setting]
    fails("sql.schema_too_old", *gateway)
    fails("config.bad_key", "serve", "--role", "runner", "--data", world.folder / "r", "--listen", "127.0.0.1:0", "--set", "control_plane.url=http://127.0.0.1:9", "--set", "engine.compile_processes=0", "--set", "engine.artefact_keys=nonsense", status=2)
    garbage = world.folder / "garbage.wasm"
    garbage.write_bytes(b"\0asm\x0d\0\1\0" + b"\xff" * 64)
    fails("component.malformed", "inspect", garbage)
    fails("smoke.bad_status", "smoke", fixture("js-echo.wasm"), "--path", "/status?code=500")
    fails("smoke.not_json", "smoke", fixture("js-echo.wasm"), "--path", "/body?size=3")
    fails("admin.no_token", "admin", "whoami", status=2)
    fails("admin.bad_argument", "admin", "config", "change", "i", "--set", "no-equals-sign", "--token-file", file, status=2)


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder:
        root = Path(folder)
        store = root / "runner" / "store"
        config = f'[runner]\ntrust = "service-token"\nservice_token = "file:{root}/token"\n[limits]\nrequest_body = "1MiB"\n[engine]\ncold_wait = "2m"\n[bundles]\npath = "{store}"\n'
        (root / "token").write_text(RUNNER_TOKEN)
        (root / "token").chmod(0o600)
        store.mkdir(parents=True)
        with Platform(root / "platform", config=CONFIG) as platform, Algad("runner", root / "runner", config=config) as runner:
            return main(World(platform, runner, root))


sys.exit(run())
