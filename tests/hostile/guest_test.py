#!/usr/bin/python3
"""A guest that means harm, through every function of the host and in everything that it answers."""

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from harness.platform import CONFIG, Platform, loopback_rules  # noqa: E402
from harness.tap import eventually, expect, expect_equal, expect_in, main, test  # noqa: E402
from harness.upstream import Upstream  # noqa: E402

GIB = 1 << 30
DENIED = {"err": "denied"}
REBOUND = "rebound.example.test"


class World:
    """The guest installed thrice: with everything, with nothing, and for another tenant."""

    def __init__(self, platform, upstream):
        self.platform, self.upstream = platform, upstream
        self.slug = platform.publish(platform.publisher("example"), name="hostile", component="js-hostile.wasm")
        gateway = platform.server.port
        rules = [*loopback_rules(upstream), f"http://127.0.0.1:{gateway}", f"cidr:127.0.0.1/32:{gateway}", f"http://{REBOUND}:{upstream.port}"]
        self.all = platform.install(platform.tenant("acme"), self.slug, egress=rules, config={"key": "v"}, limits={"timeout_ms": 4000})
        self.none = platform.install(platform.tenant("bare"), self.slug, capabilities=(), config={"key": "v"})
        self.other = platform.install(platform.tenant("umbrella"), self.slug, capabilities=("cap:storage.kv",))
        platform.secret("acme", self.all, "key", "a-secret")
        platform.secret("bare", self.none, "key", "a-secret")
        self.user = platform.api_key("tenant_user", tenant="acme")

    def call(self, path, asked=None, tenant="acme", headers=None):
        return self.platform.call(tenant, self.slug, path, method="POST", body=asked if asked is not None else {}, headers=headers)


@test("every capability that was not granted is denied, and each denial is on record")
def missing(world):
    got = world.call("/everything", tenant="bare").json()
    wanted = {"config": DENIED, "entries": DENIED, "secret": DENIED, "fetch": {"err": "not-allowed"}, "put": DENIED, "get": DENIED, "list": DENIED, "delete": DENIED, "route": DENIED}
    for name, outcome in wanted.items():
        expect_equal(got[name], outcome, name)
    expect_in(got["keys"], ({"ok": []}, DENIED), "names of secrets")
    expect_equal(got["context"], {"ok": "bare"}, "the context is everybody's")
    audited = eventually(lambda: (page := world.platform.operator.get("/api/v1/audit?limit=200", headers={"x-tenant-id": "bare"}).text()) and "denied" in page and page, 15, "denials in the audit trail")
    expect("a-secret" not in audited, "the audit trail holds a secret")


@test("what was granted answers, so that the denials above mean something")
def granted(world):
    got = world.call("/everything").json()
    expect_equal((got["config"], got["secret"], got["keys"]), ({"ok": "v"}, {"ok": "a-secret"}, {"ok": ["key"]}), "granted")
    expect("ok" in got["put"] and "ok" in got["list"], f"storage: {got}")


@test("code that runs while the host takes the answer, and code that never yields, ends at its limit")
def endless(world):
    # Parsing without end may also use all memory first: when the collector runs is the engine's affair.
    ends = {"wall_limit": 504, "cpu_limit": 504, "memory_limit": 502}
    for path in ("/getter", "/microtasks", "/sort", "/json"):
        answer = world.call(path)
        end = world.platform.record("acme", answer)["end_class"]
        expect_in(end, ends if path == "/json" else ("wall_limit", "cpu_limit"), f"{path} ({answer.text()[:200]})")
        expect_equal(answer.status, ends[end], f"{path} ({answer.text()[:200]})")


@test("a text of any size into any function is an error or an end, and costs bounded memory")
def huge(world):
    functions = ("config", "secret", "url", "header", "header-name", "method", "body", "namespace", "key", "value", "prefix", "cursor", "log", "route", "payload")
    for size in (300_000, 40_000_000):
        for what in functions:
            answer = world.call("/huge", {"what": what, "size": size})
            expect(answer.status in (200, 413, 429, 500, 502, 503, 504), f"{what} of {size}: {answer.status}")
            if answer.status == 200 and what not in ("log", "body"):
                # A configuration key that nobody set is no error.
                expect("err" in answer.json() or answer.json() == {"ok": None}, f"{what} of {size} was taken: {answer.text()[:200]}")
    expect(world.platform.server.peak_memory_bytes() < 3 * GIB, "more than 3 GiB")


@test("a million header fields in a request go nowhere")
def many_headers(world):
    before = len(world.upstream.seen())
    for count in (101, 10_000, 1_000_000):
        answer = world.call("/many-headers", {"count": count})
        expect(answer.status >= 500 or "err" in answer.json(), f"{count}: {answer.text()[:200]}")
    expect_equal(len(world.upstream.seen()), before, "requests that reached the API")


@test("headers of an answer cannot begin another header, another answer, or a cookie")
def header_injection(world):
    evil = ["x\r\nset-cookie: a=1", "x\nset-cookie: a=1", "x\rset-cookie: a=1", "x\0y", "x\r\n\r\nHTTP/1.1 200 OK", "x\x7fy", "\x01"]
    for value in evil:
        answer = world.call("/answer", {"headers": [["x-ext-warning", value]]})
        expect(answer.header("set-cookie") is None and b"set-cookie" not in answer.body, f"{value!r}: {answer.headers}")
        expect(answer.status >= 500 or answer.header("x-ext-warning") is None, f"{value!r} came through")
    for name in ("set-cookie\r\nx", "x y", "", "x:", "content-length\0", "ä"):
        answer = world.call("/answer", {"headers": [[name, "1"]]})
        expect(answer.header("set-cookie") is None, f"{name!r}: {answer.headers}")
        expect(answer.status in (200, 500, 502), f"{name!r}: {answer.status}")


@test("statuses that are none, and bodies where there must be none, do not reach the caller")
def statuses(world):
    for status in (0, 1, 99, 100, 101, 199, 600, 999, 1000, 65535):
        answer = world.call("/answer", {"status": status})
        expect_in(answer.status, (500, 502), f"status {status}")
    for status in (204, 205, 304):
        answer = world.call("/answer", {"status": status, "body": "smuggled"})
        expect_equal((answer.status, answer.body), (status, b""), f"status {status}")


@test("log lines keep to themselves: one line each, no terminal sequences, no forged fields")
def log_lines(world):
    lines = ["one\ntwo", "\x1b[31mred\x1b]0;title\x07", "a\rb", "c\u2028d", '{"level":"error","tenant":"umbrella"}', "tenant=umbrella level=error", "x" * 100_000, "\u202egnirts", "nul\0nul", "mark-of-the-end"]
    expect_equal(world.call("/log", {"lines": lines}).status, 200, "logging")
    tenant = {"x-tenant-id": "acme"}

    def arrived():
        page = world.platform.operator.get("/api/logs?limit=200", headers=tenant).json()["lines"]
        return any("mark-of-the-end" in entry["message"] for entry in page) and page

    page = eventually(arrived, 15, "the lines")
    for entry in page:
        expect(not any(ord(c) < 32 or c in "\x7f\u2028\u2029" for c in entry["message"]), f"raw control character: {entry}")
        expect_equal(entry["tenant"], "acme", "attribution")
        expect(len(entry["message"]) <= 40_000, "the length of a line")
    foreign = world.platform.operator.get("/api/logs?limit=200", headers={"x-tenant-id": "umbrella"}).text()
    expect("mark-of-the-end" not in foreign, "lines of another tenant")
    for line in world.platform.server.output().splitlines():
        expect("\x1b" not in line, "a terminal sequence in the server's log")


@test("a flood of lines is cut and counted once")
def log_flood(world):
    expect(world.call("/log", {"lines": ["flood"] * 5_000}).status in (200, 502), "logging")
    tenant = {"x-tenant-id": "acme"}
    dropped = eventually(
        lambda: [entry for entry in world.platform.operator.get("/api/logs?limit=200", headers=tenant).json()["lines"] if "dropped" in entry["message"]], 15, "the count"
    )
    expect_equal(len(dropped), 1, "counts")


@test("keys with separators, dots and look-alikes stay within their install")
def keys(world):
    names = ["../k", "a/b", "..", "", "a\0b", ":", "acme:k", "k\u00e4", "ka\u0308", "K", "k", "x" * 257, "a\nb", "%2e%2e"]
    got = world.call("/keys", {"ns": "n", "keys": names}).json()
    for name in ("../k", "a/b", "", "a\0b", "x" * 257, "a\nb"):
        expect("err" in got[names.index(name)], f"{name!r} was taken as a key")
    for ns in ("", "x" * 129):
        expect("err" in world.call("/keys", {"ns": ns, "keys": ["k"]}).json()[0], f"{ns!r} was taken as a namespace")
    expect_equal(world.call("/read", {"ns": "n", "key": "k"}).json(), {"ok": "v"}, "own record")
    expect_equal(world.call("/read", {"ns": "n", "key": "k"}, tenant="umbrella").json(), {"err": "missing"}, "another tenant's record")


@test("a guest finds no process, no environment, no files and no network of its own")
def ambient(world):
    expect_in(world.call("/eval").json(), ({"ok": "undefinedundefinedundefined"},), "globals of other runtimes")
    names = world.call("/environment").json()["globals"]
    for name in ("process", "require", "Deno", "Bun", "WebSocket", "XMLHttpRequest", "SharedArrayBuffer", "Worker"):
        expect(name not in names, f"{name} is there")


@test("no spelling of an address leads a request inside")
def inside(world):
    before = len(world.upstream.seen())
    port = world.upstream.port
    hosts = ["0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.2]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[2001::1]", "[fe80::1]", "[fd00:ec2::254]", "169.254.169.254"]
    hosts += ["100.64.0.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "192.0.0.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "2130706433", "0177.0.0.1", "0x7f000001", "127.1"]
    hosts += ["localhost", "localhost.", "LOCALHOST", "127.0.0.2", "%31%32%37.0.0.1", "１２７.0.0.1", "127。0。0。1", "metadata.google.internal", "kubernetes.default.svc"]
    for host in hosts:
        got = world.call("/fetch", {"url": f"http://{host}:{port}/"}).json()
        expect_in(got.get("err"), ("not-allowed", "invalid-url"), host)
    origin = world.upstream.origin
    urls = ["file:///etc/passwd", "gopher://127.0.0.1/", "ws://127.0.0.1/", "ftp://127.0.0.1/", f"https://127.0.0.1@evil.example:{port}/", f"http://evil.example\\@127.0.0.1:{port}/", f"{origin}\n.evil/", "http://127.0.0.1:0/"]
    urls += ["http://127.0.0.1:65536/", f"http://user:pass@example.com:{port}/", "//127.0.0.1/", "http:/127.0.0.1", "http://", "", "http://127.0.0.1:22/", "\thttp://127.0.0.1:1/", "http://[::1", "http://exa mple/"]
    for url in urls:
        got = world.call("/fetch", {"url": url}).json()
        expect_in(got.get("err"), ("not-allowed", "invalid-url"), url)
    expect_equal(len(world.upstream.seen()), before, "requests that reached the server inside")


@test("an allowed name that resolves to an address inside is not connected to")
def rebinding(world):
    before = len(world.upstream.seen())
    got = world.call("/fetch", {"url": f"http://{REBOUND}:{world.upstream.port}/"}).json()
    # The operator opened this very port for 127.0.0.1, and another loopback address is behind the name.
    expect_equal(got, {"err": "not-allowed"}, "fetch")
    expect_equal(len(world.upstream.seen()), before, "requests that reached it")


@test("fields that belong to the connection are not the guest's to send")
def hop_by_hop(world):
    evil = [["Host", "evil.example"], ["Content-Length", "999"], ["Transfer-Encoding", "chunked"], ["Connection", "x-kept"], ["X-Kept", "1"], ["Upgrade", "h2c"], ["Proxy-Authorization", "x"], ["X-Alga-Depth", "0"], ["TE", "trailers"], ["Expect", "100-continue"]]
    got = world.call("/fetch", {"url": f"{world.upstream.origin}/hop", "method": "POST", "headers": evil, "body": "body"}).json()
    expect_equal(got["ok"]["status"], 200, f"status ({got})")
    _, _, headers, body = world.upstream.seen()[-1]
    expect_equal((headers["host"], headers["content-length"], body), (f"127.0.0.1:{world.upstream.port}", "4", b"body"), "framing")
    expect_equal(headers.get("x-alga-depth"), "1", "the depth is the host's")
    for name in ("transfer-encoding", "upgrade", "proxy-authorization", "te", "expect", "x-kept"):
        expect(name not in headers, f"{name} was sent: {headers}")
    for header in (["x", "a\r\nb: c"], ["x\r\ny", "1"], ["x", "a\0b"], ["", "x"], ["x y", "1"]):
        got = world.call("/fetch", {"url": world.upstream.origin, "headers": [header]}).json()
        expect("err" in got, f"{header!r} was sent")


@test("extensions that call one another end at the depth that the operator allows")
def recursion(world):
    own = f"{world.platform.server.origin}/api/ext/{world.slug}/fetch"
    key = world.user.headers["authorization"]

    def nested(depth):
        inner = {"url": f"{world.upstream.origin}/deep"} if depth == 0 else nested(depth - 1)
        return {"url": own, "method": "POST", "headers": [["authorization", key], ["content-type", "application/json"], ["x-alga-depth", "0"]], "body": json.dumps(inner)}

    def deepest(answer):
        while "ok" in answer:
            try:
                answer = {"last": answer, **json.loads(answer["ok"]["body"])} if answer["ok"]["body"] else answer
            except ValueError:
                return answer
            if "ok" not in answer:
                return answer
        return answer

    before = len(world.upstream.seen())
    shallow = world.call("/fetch", nested(2)).json()
    expect_equal(len(world.upstream.seen()), before + 1, f"three deep arrives ({shallow})")
    deep = deepest(world.call("/fetch", nested(6)).json())
    expect_equal(deep.get("code"), "gateway.too_deep", f"seven deep ({json.dumps(deep)[:400]})")
    expect_equal(len(world.upstream.seen()), before + 1, "seven deep does not arrive")


@test("after all of that the server is well")
def still_well(world):
    expect_equal(world.platform.server.client().get("/readyz").status, 200, "/readyz")
    expect_equal(world.call("/answer", {"body": "fine"}).body, b"fine", "a call")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-hostile.") as folder, Upstream() as upstream:
        config = CONFIG + f'\n[egress]\nfixed_addresses = ["{REBOUND}:{upstream.port}:127.0.0.9"]\n'
        with Platform(folder, config=config) as platform:
            return main(World(platform, upstream))


if __name__ == "__main__":
    sys.exit(run())
