#!/usr/bin/python3
"""The pages of a published extension: by address and by host name, and nothing else of its bundle."""

import gzip
import hashlib
import json
import socket
import sys
import tempfile

from harness.platform import CONFIG, Platform
from harness.tap import eventually, expect, expect_equal, expect_in, main, test

PAGE = b"<!doctype html><script src=app.js></script><p>the page</p>"
SCRIPT = b"document.title = 'the page of an extension'; // " + b"x" * 4000
UI = {
    "index.html": PAGE,
    "app.js": SCRIPT,
    "app.js.gz": gzip.compress(SCRIPT, mtime=0),
    "img/logo.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
}
SETTINGS = (
    CONFIG
    + """
[control_plane]
domain_root = "ext.example.com"

[runner.ui]
frame_ancestors = ["https://app.example.com"]
max_file_bytes = "64KiB"
"""
)


class World:
    """One tenant that installed an extension with pages, and one that did not."""

    def __init__(self, platform):
        self.platform = platform
        self.tenant, self.other = platform.tenant("acme"), platform.tenant("umbrella")
        files = {**UI, "large.bin": b"0" * (65 * 1024)}
        self.slug = platform.publish(platform.publisher("example"), name="pages", ui=files)
        self.install = platform.install(self.tenant, self.slug)
        self.browser = platform.server.client()
        self.base = f"/ext-ui/{self.install['extension_id']}/sha256:{self.install['content_hash'].removeprefix('sha256:')}"

    def get(self, path, tenant="acme", **more):
        return self.browser.get(f"{self.base}/{path}?tenant={tenant}", **more)


@test("a page comes with its type, its policy, its digest and an immutable address")
def page(world):
    answer = world.get("index.html")
    expect_equal((answer.status, answer.body), (200, PAGE), "page")
    expect_equal(answer.header("content-type"), "text/html; charset=utf-8", "content type")
    expect_equal(answer.header("etag"), f'"sha256-{hashlib.sha256(PAGE).hexdigest()}"', "entity tag")
    expect_equal(answer.header("cache-control"), "public, max-age=31536000, immutable", "caching")
    expect_equal(answer.header("x-content-type-options"), "nosniff", "sniffing")
    expect_in("frame-ancestors https://app.example.com", answer.header("content-security-policy"), "policy")
    again = world.get("index.html", headers={"if-none-match": answer.header("etag")})
    expect_equal((again.status, again.body), (304, b""), "the same page again")


@test("files of a page need no tenant once the page was shown, and come packed to who takes it")
def files(world):
    world.get("index.html")
    answer = world.browser.get(f"{world.base}/app.js", headers={"accept-encoding": "gzip"})
    expect_equal((answer.status, answer.header("content-encoding")), (200, "gzip"), "packed")
    expect_equal(gzip.decompress(answer.body), SCRIPT, "script")
    plain = world.browser.get(f"{world.base}/app.js")
    expect_equal((plain.body, plain.header("content-encoding")), (SCRIPT, None), "plain")
    expect_equal(plain.header("vary"), "accept-encoding", "vary")


@test("parts and heads of a file are answered")
def parts(world):
    part = world.get("app.js", headers={"range": "bytes=0-7"})
    expect_equal((part.status, part.body), (206, SCRIPT[:8]), "part")
    head = world.browser.request("HEAD", f"{world.base}/app.js?tenant=acme")
    expect_equal((head.status, head.body, head.header("content-length")), (200, b"", str(len(SCRIPT))), "head")


@test("an unknown route is the first page, an unknown file is not found, a large one refused")
def fallback(world):
    expect_equal(world.get("tickets/7").body, PAGE, "route")
    expect_equal(world.get("gone.js").status, 404, "missing script")
    expect_equal(world.get("large.bin").status, 413, "large file")


@test("nothing outside the folder of the pages can be reached, however it is spelt")
def traversal(world):
    outside, hidden, missing = (400, "http.invalid_path"), (400, "ui.invalid_path"), (404, "ui.not_found")
    paths = {path: outside for path in ("../manifest.json", "%2e%2e/manifest.json", "..%2fmanifest.json", "%2e%2e%2fdist%2fmain.wasm", "a/../../x", "..%5cmanifest.json", "a%00")}
    paths |= {".ready": hidden, "....//x": hidden, "%252e%252e/manifest.json": missing, "manifest.json": missing, "dist/main.wasm": missing}
    for path, wanted in paths.items():
        # By hand: clients tidy such paths up.
        with socket.create_connection(("127.0.0.1", world.platform.server.port), 10) as wire:
            wire.sendall(f"GET {world.base}/{path}?tenant=acme HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
            answer = b""
            while piece := wire.recv(65536):
                answer += piece
        head, _, body = answer.partition(b"\r\n\r\n")
        refusal = json.loads(body)
        code = refusal["error"]["code"] if isinstance(refusal["error"], dict) else refusal["code"]
        expect_equal((int(head.split()[1]), code), wanted, f"{path}: {answer[:300]}")


@test("whoever has not installed the extension sees none of its pages")
def foreign(world):
    for tenant in ("umbrella", "nobody", "..", "acme'--"):
        expect_equal(world.get("index.html", tenant=tenant).status, 404, tenant)
    expect_equal(world.browser.get(f"/ext-ui/{world.slug}/sha256:{'0' * 64}/index.html?tenant=acme").status, 404, "hash")
    expect_equal(world.browser.get(f"/ext-ui/{world.slug}/sha256:zz/index.html?tenant=acme").status, 400, "no hash")


@test("the host name of an install leads to its pages, with the query of the browser")
def host(world):
    name = f"{world.install['id'].replace('-', '')}.ext.example.com"
    answer = world.browser.get("/?parentOrigin=https%3A%2F%2Fapp.example.com&tenant=umbrella", headers={"host": f"{name}:443"})
    expect_equal(answer.status, 307, f"status ({answer.text()})")
    expect_equal(answer.header("cache-control"), "no-store", "caching")
    wanted = f"{world.base}/index.html?tenant=acme&extensionId={world.install['extension_id']}"
    expect_equal(answer.header("location"), wanted + "&parentOrigin=https%3A%2F%2Fapp.example.com", "location")
    expect_equal(world.browser.get(answer.header("location")).body, PAGE, "the page behind it")
    expect_equal(world.browser.get("/", headers={"host": "other.ext.example.com"}).status, 404, "another name")


@test("a pass-through path shows pages and nothing else of the server")
def pass_through(world):
    expect_equal(world.browser.get(f"/runner{world.base}/index.html?tenant=acme").body, PAGE, "page")
    for path in ("/runner/healthz", "/runner/metrics", "/runner/v1/execute", "/runner/"):
        expect_equal(world.browser.get(path).status, 404, path)


@test("pages of a disabled install are gone within seconds")
def disabled(world):
    path, tenant = f"/api/v1/installs/{world.install['id']}", {"x-tenant-id": "acme"}
    expect_equal(world.platform.operator.post(f"{path}/disable", headers=tenant).status, 200, "disable")
    eventually(lambda: world.get("index.html").status == 404, 10, "404")
    name = f"{world.install['id'].replace('-', '')}.ext.example.com"
    expect_equal(world.browser.get("/", headers={"host": name}).status, 404, "host name")
    expect_equal(world.platform.operator.post(f"{path}/enable", headers=tenant).status, 200, "enable")
    eventually(lambda: world.get("index.html").status == 200, 10, "200")


with tempfile.TemporaryDirectory() as folder, Platform(f"{folder}/platform", config=SETTINGS) as platform:
    sys.exit(main(World(platform)))
