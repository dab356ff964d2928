#!/usr/bin/python3
"""What passes between a gateway, a runner and a control plane in processes of their own beside executions: the
pages of an extension, who has them installed, which host name is whose, and why a record was refused."""

import gzip
import hashlib
import sys
import tempfile

from harness.fleet import DOMAIN_ROOT, Fleet
from harness.tap import eventually, expect, expect_equal, expect_in, main, test, unless_skipped

PAGE = b"<!doctype html><script src=app.js></script><p>the page</p>"
SCRIPT = b"document.title = 'the page of an extension'; // " + b"x" * 4000
UI = {"index.html": PAGE, "app.js": SCRIPT, "app.js.gz": gzip.compress(SCRIPT, mtime=0)}


class World:
    """One tenant that installed an extension with pages, one that did not, and a browser at the gateway."""

    def __init__(self, fleet):
        self.fleet = fleet
        self.tenant, self.other = fleet.tenant("acme"), fleet.tenant("umbrella")
        self.slug = fleet.publish(fleet.publisher("example"), name="pages", ui=UI)
        self.install = fleet.install(self.tenant, self.slug)
        self.browser, self.runner = fleet.gateways[0].client(), fleet.runners[0].client()
        self.base = f"/ext-ui/{self.install['extension_id']}/sha256:{self.install['content_hash'].removeprefix('sha256:')}"

    def get(self, path, tenant="acme", **more):
        """A page as a browser asks the gateway for it."""
        return self.browser.get(f"/runner{self.base}/{path}?tenant={tenant}", **more)

    def manage(self, method, path, body=None):
        return self.fleet.operator.request(method, path, body=body, headers={"x-tenant-id": self.tenant})


@test("a gateway shows the first page as its runner made it, and says 304 to who has it already")
def index(world):
    answer = world.get("index.html")
    expect_equal((answer.status, answer.body), (200, PAGE), f"page ({answer.headers})")
    expect_equal(answer.header("content-type"), "text/html; charset=utf-8", "content type")
    expect_equal(answer.header("etag"), f'"sha256-{hashlib.sha256(PAGE).hexdigest()}"', "entity tag")
    expect_equal(answer.header("cache-control"), "public, max-age=31536000, immutable", "caching")
    expect_equal(answer.header("x-content-type-options"), "nosniff", "sniffing")
    expect_in("frame-ancestors", answer.header("content-security-policy"), "policy")
    again = world.get("index.html", headers={"if-none-match": answer.header("etag")})
    expect_equal((again.status, again.body, again.header("etag")), (304, b"", answer.header("etag")), "the same page again")
    changed = world.get("index.html", headers={"if-none-match": '"sha256-of-another"'})
    expect_equal((changed.status, changed.body), (200, PAGE), "for who has another one")


@test("files of a page come through the gateway packed, plain, in parts and as heads")
def assets(world):
    packed = world.get("app.js", headers={"accept-encoding": "gzip"})
    expect_equal((packed.status, packed.header("content-encoding")), (200, "gzip"), "packed")
    expect_equal(gzip.decompress(packed.body), SCRIPT, "script")
    plain = world.get("app.js")
    expect_equal((plain.body, plain.header("content-encoding"), plain.header("vary")), (SCRIPT, None, "accept-encoding"), "plain")
    part = world.get("app.js", headers={"range": "bytes=0-7"})
    expect_equal((part.status, part.body, part.header("content-range")), (206, SCRIPT[:8], f"bytes 0-7/{len(SCRIPT)}"), "part")
    head = world.browser.request("HEAD", f"/runner{world.base}/app.js?tenant=acme")
    expect_equal((head.status, head.body), (200, b""), "head")


@test("the runner asks the control plane who has the pages installed, and its answer ends with the install")
def installed(world):
    for tenant in ("umbrella", "nobody", ".."):
        expect_equal(world.get("index.html", tenant=tenant).status, 404, tenant)
    by_header = world.browser.get(f"/runner{world.base}/index.html", headers={"x-tenant-id": "umbrella"})
    expect_equal(by_header.status, 404, "the tenant in a header")
    outside = world.get("../manifest.json")
    expect_equal((outside.status, outside.json()["error"]["code"]), (400, "http.invalid_path"), "outside the pages")
    hidden = world.get("manifest.json")
    expect_equal((hidden.status, hidden.json()["code"]), (404, "ui.not_found"), "beside the pages")
    path = f"/api/v1/installs/{world.install['id']}"
    expect_equal(world.manage("POST", f"{path}/disable").status, 200, "disable")
    eventually(lambda: world.get("index.html").status == 404, 10, "404 of a disabled install")
    expect_equal(world.manage("POST", f"{path}/enable").status, 200, "enable")
    eventually(lambda: world.get("index.html").status == 200, 10, "200 of an enabled one")


@test("the host name of an install, which the runner looks up, leads to a page that the gateway shows, too")
def host(world):
    name = f"{world.install['id'].replace('-', '')}.{DOMAIN_ROOT}"
    answer = world.runner.get("/?parentOrigin=https%3A%2F%2Fapp.example.com&tenant=umbrella", headers={"host": f"{name}:443"})
    expect_equal(answer.status, 307, f"status ({answer.text()})")
    where = answer.header("location")
    wanted = f"{world.base}/index.html?tenant=acme&extensionId={world.install['extension_id']}"
    expect_equal(where, wanted + "&parentOrigin=https%3A%2F%2Fapp.example.com", "location")
    expect_equal(world.runner.get(where).body, PAGE, "at the runner")
    expect_equal(world.browser.get(f"/runner{where}").body, PAGE, "at the gateway")
    expect_equal(world.runner.get("/", headers={"host": f"other.{DOMAIN_ROOT}"}).status, 404, "a name of nobody")


@test("nothing else of a runner is behind the gateway's pass-through")
def nothing_else(world):
    for path in ("/runner/healthz", "/runner/metrics", "/runner/v1/execute", "/runner/"):
        expect_equal(world.browser.get(path).status, 404, path)


@test("a value that fits no schema of its namespace is invalid to the guest, and its author reads why in the log")
def misfit(world):
    records = f"/api/ext-storage/install/{world.install['id']}/notes"
    schema = {"schema": {"type": "object", "required": ["count"]}}
    expect_equal(world.manage("PUT", f"{records}/schemas/1", schema).status, 200, "schema")
    answer = world.fleet.call(world.tenant, world.slug, "/storage")
    expect_equal((answer.status, answer.json()["created"]), (200, {"err": "invalid"}), f"what the guest hears ({answer.text()})")
    expect_equal(world.manage("GET", f"{records}/records/a").status, 404, "nothing is stored")
    asked = f"/api/logs?level=warn&request={answer.header('x-request-id')}"
    # Of the three writes of that guest.
    lines = eventually(lambda: (found := world.manage("GET", asked).json()["lines"]) and len(found) == 3 and found, 20, "the lines of its author")
    for line in lines:
        expect(line["message"].startswith("storage: notes/a was not written"), f"line: {line}")
        expect_in("not JSON", line["message"], "the reason")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder, Fleet(folder, gateways=1, runners=1) as fleet:
        return main(World(fleet))


sys.exit(unless_skipped(run, "pages between processes"))
