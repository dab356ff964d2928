#!/usr/bin/python3
"""A guest that means harm, through every function of the host and in everything that it answers."""

import json
import re
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from harness.loopback import LoopbackServer  # noqa: E402
from harness.platform import ALL_CAPABILITIES, CONFIG, Platform, loopback_rules  # noqa: E402
from harness.tap import eventually, expect, expect_equal, expect_in, main, test  # noqa: E402
from harness.upstream import Upstream  # noqa: E402

GIB = 1 << 30
DENIED = {"err": "denied"}
DEFAULTS = ("cap:context.read", "cap:log.emit", "cap:user.read")
REBOUND = "rebound.example.test"


def once(reason):
    """Without the number of its repetitions, which the trail has in a record of its own."""
    return re.sub(r" \(\d+ times? more\)$", "", reason)


class Host(LoopbackServer):
    """The host application behind ui-proxy: answers `{}`, or leads to `location` with the status `redirect`."""

    def __init__(self):
        super().__init__()
        self.redirect = self.location = None
        self.requests = 0

    def serve(self, handler, body):
        self.requests += 1
        if self.redirect:
            self.reply(handler, self.redirect, b"", {"location": self.location})
        else:
            self.reply(handler, 200, b"{}")


class World:
    """The guest installed with everything, with nothing, for another tenant, with what a test grants, and twice with much time."""

    def __init__(self, platform, upstream, host, canary):
        self.platform, self.upstream, self.host, self.canary = platform, upstream, host, canary
        self.slug = platform.publish(platform.publisher("example"), name="hostile", component="js-hostile.wasm")
        gateway = platform.server.port
        rules = [*loopback_rules(upstream), *loopback_rules(canary), f"http://127.0.0.1:{gateway}", f"cidr:127.0.0.1/32:{gateway}", f"http://{REBOUND}:{upstream.port}"]
        self.all = platform.install(platform.tenant("acme"), self.slug, egress=rules, config={"key": "v"}, limits={"timeout_ms": 4000})
        self.none = platform.install(platform.tenant("bare"), self.slug, capabilities=(), config={"key": "v"})
        self.other = platform.install(platform.tenant("umbrella"), self.slug, capabilities=("cap:storage.kv",))
        self.each = platform.install(platform.tenant("each"), self.slug, egress=loopback_rules(upstream), config={"key": "v"})
        # Have so much time that no other limit comes too late on a slow machine; one the more memory, one the less.
        for tenant, memory in (("roomy", 1024), ("tight", 32)):
            platform.install(platform.tenant(tenant), self.slug, egress=rules, limits={"timeout_ms": 120_000, "memory_mb": memory})
        for tenant, install in (("acme", self.all), ("bare", self.none), ("each", self.each)):
            platform.secret(tenant, install, "key", "a-secret")
        self.user = platform.api_key("tenant_user", tenant="acme")

    def call(self, path, asked=None, tenant="acme", headers=None):
        return self.platform.call(tenant, self.slug, path, method="POST", body=asked if asked is not None else {}, headers=headers)

    def everything(self, tenant, status=200):
        """What each function answers; the address that it fetches is that of a rule."""
        answer = self.call("/everything", {"url": f"{self.upstream.origin}/everything"}, tenant=tenant)
        expect_equal(answer.status, status, f"{tenant}: {answer.text()[:300]}")
        return answer

    def grant(self, capabilities, withhold=()):
        """What the install of `each` may do."""
        wanted = {"capabilities": list(capabilities), "withhold": list(withhold)}
        answer = self.platform.operator.put(f"/api/v1/installs/{self.each['id']}/grants", wanted, headers={"x-tenant-id": "each"})
        expect_equal(answer.status, 200, f"grants ({answer.text()})")

    def denials(self, tenant, answer, count):
        """What the audit trail says was denied to one request, as (what, capability); waits for that many."""
        request = answer.header("x-request-id")

        def recorded():
            events = self.platform.operator.get("/api/v1/audit?limit=200", headers={"x-tenant-id": tenant}).json()["events"]
            found = {(event["target"], once(event["details"]["reason"])) for event in events if event["action"] == "guest.denied" and event["request_id"] == request}
            return found if len(found) >= count else None

        return eventually(recorded, 15, f"{count} denials of one request of {tenant} in the audit trail")

    def lines(self, tenant):
        """Requests of a tenant that logged `a line`."""
        page = self.platform.operator.get("/api/logs?limit=200", headers={"x-tenant-id": tenant}).json()["lines"]
        return [line["request_id"] for line in page if line["message"] == "a line"]


#: What `/everything` answers with every grant, the host application at hand and no user.
GRANTED = {
    "context": {"ok": "each"},
    "config": {"ok": "v"},
    "entries": {"ok": [["key", "v"]]},
    "secret": {"ok": "a-secret"},
    "keys": {"ok": ["key"]},
    "fetch": {"ok": 200},
    "put": {"ok": 1},
    "get": {"ok": {"namespace": "n", "key": "k", "value": "v", "revision": 1}},
    "list": {"ok": {"entries": [{"namespace": "n", "key": "k", "value": "v", "revision": 1}]}},
    "delete": {"ok": None},
    "log": {"ok": None},
    "route": {"ok": "{}"},
    "user": {"err": "not-available"},
}
#: What is denied without a capability, and how. Logging has no answer: its lines go nowhere.
NOT_ALLOWED = {"err": "not-allowed"}
WITHOUT = {
    "cap:config.read": ("config", {"config": DENIED, "entries": DENIED}),
    "cap:secrets.get": ("secrets", {"secret": DENIED, "keys": DENIED}),
    "cap:http.fetch": ("http", {"fetch": NOT_ALLOWED}),
    "cap:storage.kv": ("storage", {"put": DENIED, "get": DENIED, "list": DENIED, "delete": DENIED}),
    "cap:ui.proxy": ("ui-proxy", {"route": DENIED}),
    "cap:user.read": ("user", {"user": NOT_ALLOWED}),
    "cap:log.emit": ("logging", {}),
}


@test("with nothing granted every function that needs a grant is denied, and each denial is on record")
def missing(world):
    before = (len(world.upstream.seen()), world.host.requests)
    answer = world.everything("bare")
    denied = {name: outcome for capability in ALL_CAPABILITIES for name, outcome in WITHOUT[capability][1].items()}
    expect_equal(answer.json(), {**GRANTED, "context": {"ok": "bare"}, **denied}, "answers")
    recorded = world.denials("bare", answer, len(ALL_CAPABILITIES))
    expect_equal(recorded, {(WITHOUT[capability][0], capability) for capability in ALL_CAPABILITIES}, "on record")
    audited = world.platform.operator.get("/api/v1/audit?limit=200", headers={"x-tenant-id": "bare"}).text()
    expect("a-secret" not in audited, "the audit trail holds a secret")
    expect_equal((len(world.upstream.seen()), world.host.requests), before, "requests to the API and to the host application")


@test("what was granted answers, so that the denials mean something")
def granted(world):
    answer = world.everything("each")
    expect_equal(answer.json(), GRANTED, "answers")
    request = answer.header("x-request-id")
    eventually(lambda: world.lines("each") == [request], 15, "the line of this request, and no other")


@test("each capability that is missing is denied in its own words, and nothing else is")
def each(world):
    expect_equal(set(WITHOUT) | {"cap:context.read"}, {*ALL_CAPABILITIES, *DEFAULTS}, "capabilities that are tried")
    silent = None
    # Without logging first, so that a line of it would be there long before those of the others.
    for capability in sorted(WITHOUT, key=lambda name: name != "cap:log.emit"):
        target, denied = WITHOUT[capability]
        world.grant([name for name in ALL_CAPABILITIES if name != capability], [capability] if capability in DEFAULTS else [])
        answer = world.everything("each")
        expect_equal(answer.json(), {**GRANTED, **denied}, f"without {capability}")
        expect_equal(world.denials("each", answer, 1), {(target, capability)}, f"denials without {capability}")
        if capability == "cap:log.emit":
            silent = answer.header("x-request-id")
        else:
            eventually(lambda answer=answer: answer.header("x-request-id") in world.lines("each"), 15, "the line of this request")
    expect(silent not in world.lines("each"), "a line that was logged without the capability")


@test("an extension without the capability of its context ends when it asks for it")
def no_context(world):
    world.grant(ALL_CAPABILITIES, ["cap:context.read"])
    answer = world.everything("each", status=502)
    expect_equal(answer.json()["code"], "engine.capability_denied", "code")
    expect("cap:context.read" not in answer.text(), "the end user is told the author's error")
    record = world.platform.record("each", answer)
    expect_equal((record["end_class"], record["code"]), ("capability_denied", "engine.capability_denied"), "on record")
    expect_in("cap:context.read is not granted", record["author_error"], "what the author is told")
    expect_equal(world.denials("each", answer, 1), {("context", "cap:context.read")}, "denials")
    world.grant(ALL_CAPABILITIES)
    expect_equal(world.everything("each").json(), GRANTED, "with it again")


@test("redirects lead nowhere: neither the host application's nor an API's are followed, also where a rule allows their target")
def redirects(world):
    for status in (301, 302, 303, 307, 308):
        world.host.redirect, world.host.location = status, f"{world.canary.origin}/stolen"
        before = world.host.requests
        for payload in ({}, {"payload": "{}"}):
            expect_equal(world.call("/route", {"route": "/api/x", **payload}).json(), {"err": "internal"}, f"route, status {status}")
        expect_equal(world.host.requests, before + 2, "requests to the host application")
    world.host.redirect = None
    expect_equal(world.call("/route", {"route": "/api/x"}).json(), {"ok": "{}"}, "without a redirect")
    got = world.call("/fetch", {"url": f"{world.upstream.origin}/redirect?{world.canary.origin}/fetched"}).json()
    expect_equal((got["ok"]["status"], [field["value"] for field in got["ok"]["headers"] if field["name"] == "location"]), (302, [f"{world.canary.origin}/fetched"]), "fetch")
    expect_equal(world.canary.seen(), [], "requests to where the redirects lead")
    expect_equal(world.call("/fetch", {"url": f"{world.canary.origin}/allowed"}).json()["ok"]["status"], 200, "the target itself")


@test("code that runs while the host takes the answer, and code that never yields, ends at its limit")
def endless(world):
    def ends(path, asked, tenant, end, status):
        answer = world.call(path, asked, tenant=tenant)
        record = world.platform.record(tenant, answer)
        expect_equal((record["end_class"], answer.status, answer.json()["code"]), (end, status, f"engine.{end}"), f"{path} ({answer.text()[:200]})")

    # They may compute for longer than they may run.
    for path in ("/getter", "/microtasks", "/sort"):
        ends(path, {}, "acme", "wall_limit", 504)
    # So short a text leaves little behind, so long a one is more than all of its memory.
    ends("/json", {"count": 10_000}, "acme", "wall_limit", 504)
    ends("/json", {"count": 4_000_000}, "tight", "memory_limit", 502)


#: What each function says to a text of 300 KB and of 4 MB. A key that nobody set is no error, and bodies may be long.
HUGE = {
    "config": {"ok": None},
    "secret": {"err": "missing"},
    "url": {"err": "invalid-url"},
    "header": {"err": "too-large"},
    "header-name": {"err": "too-large"},
    "method": {"err": "invalid-url"},
    "body": {"ok": 200},
    "namespace": {"err": "invalid"},
    "key": {"err": "invalid"},
    "value": {"err": "invalid"},
    "prefix": {"err": "invalid"},
    "cursor": {"err": "invalid"},
    "log": {"ok": None},
    # The host application says that it is too long; of 4 MB it is longer than a request line that curl sends.
    "route": {300_000: {"err": "bad-request"}, 4_000_000: {"err": "internal"}},
    "payload": {"ok": "{}"},
}
#: And to 40 MB: bytes only, which a guest makes faster than texts.
ENORMOUS = {"body": {"err": "too-large"}, "value": HUGE["value"], "payload": {"err": "bad-request"}}


@test("a text of any size into any function is taken or refused in the function's own words, or is more than its guest's memory, and costs bounded memory")
def huge(world):
    for sizes, table in (((300_000, 4_000_000), HUGE), ((40_000_000,), ENORMOUS)):
        for size in sizes:
            for what, wanted in table.items():
                answer = world.call("/huge", {"what": what, "size": size, "url": world.upstream.origin}, tenant="roomy")
                expect_equal((answer.status, answer.json()), (200, wanted.get(size, wanted)), f"{what} of {size}")
    for what in ENORMOUS:
        answer = world.call("/huge", {"what": what, "size": 40_000_000, "url": world.upstream.origin}, tenant="tight")
        expect_equal((answer.status, answer.json().get("code")), (502, "engine.memory_limit"), f"{what} of 40 MB with less memory ({answer.text()[:200]})")
    expect(world.platform.server.peak_memory_bytes() < 3 * GIB, "more than 3 GiB")


@test("a million header fields in a request go nowhere")
def many_headers(world):
    few = world.call("/many-headers", {"count": 10, "url": f"{world.upstream.origin}/many"}, tenant="roomy")
    expect_equal(few.json(), {"ok": 200}, "ten of them")
    before = len(world.upstream.seen())
    expect_equal(sum(name.startswith("x-") and name[2:].isdigit() for name in world.upstream.seen()[-1][2]), 10, "fields that arrived")
    for count in (101, 10_000):
        answer = world.call("/many-headers", {"count": count, "url": world.upstream.origin}, tenant="roomy")
        expect_equal((answer.status, answer.json()), (200, {"err": "too-large"}), f"{count}")
        request = answer.header("x-request-id")
        line = world.platform.server.logged("execution", lambda line, request=request: line["request_id"] == request)[0]
        expect_equal(line["limits"], "limit.header_count", f"the limit that {count} ran into")
    # Of a million the script's own engine has no room for the objects, however much memory there is; with little the server's limit comes first.
    for tenant, end, said in (("roomy", "guest_error", "out of memory"), ("tight", "memory_limit", "33554432 allowed")):
        answer = world.call("/many-headers", {"count": 1_000_000, "url": world.upstream.origin}, tenant=tenant)
        expect_equal((answer.status, answer.json().get("code")), (502, f"engine.{end}"), f"a million, {tenant} ({answer.text()[:200]})")
        expect_in(said, world.platform.record(tenant, answer)["author_error"], "what the author is told")
    expect_equal(len(world.upstream.seen()), before, "requests that reached the API")


@test("headers of an answer cannot begin another header, another answer, or a cookie")
def header_injection(world):
    plain = world.call("/answer", {})
    expect_equal((plain.status, plain.header("x-ext-warning")), (200, None), "an answer without fields")

    def dropped(name, value):
        answer = world.call("/answer", {"headers": [[name, value]]})
        expect_equal((answer.status, [name for name, _ in answer.headers], answer.body), (200, [name for name, _ in plain.headers], b""), f"{name!r}: {value!r}")

    evil = ["x\r\nset-cookie: a=1", "x\nset-cookie: a=1", "x\rset-cookie: a=1", "x\0y", "x\r\n\r\nHTTP/1.1 200 OK", "x\x7fy", "\x01"]
    for value in evil:
        dropped("x-ext-warning", value)
    for name in ("set-cookie\r\nx", "x y", "", "x:", "content-length\0", "ä", "Set-Cookie", "content-length", "transfer-encoding"):
        dropped(name, "1")
    expect_equal(world.call("/answer", {"headers": [["x-ext-warning", "y"]]}).header("x-ext-warning"), "y", "a field without harm")


@test("statuses that are none, and bodies where there must be none, do not reach the caller")
def statuses(world):
    for status in (0, 1, 99, 100, 101, 199, 600, 999, 1000, 65535):
        answer = world.call("/answer", {"status": status})
        expect_equal((answer.status, answer.json()["code"]), (502, "runner.bad_guest_status"), f"status {status}")
    for status in (200, 599):
        expect_equal(world.call("/answer", {"status": status}).status, status, f"status {status}")
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
    request = next(entry["request_id"] for entry in page if "mark-of-the-end" in entry["message"])
    expect_equal(sum(entry["request_id"] == request for entry in page), len(lines), "a line each")
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
    answer = world.call("/log", {"lines": ["flood"] * 5_000})
    expect_equal((answer.status, answer.json()), (200, {"logged": 5_000}), "logging")
    tenant = {"x-tenant-id": "acme"}
    dropped = eventually(
        lambda: [entry for entry in world.platform.operator.get("/api/logs?limit=200", headers=tenant).json()["lines"] if "dropped" in entry["message"]], 15, "the count"
    )
    expect_equal([entry["request_id"] for entry in dropped], [answer.header("x-request-id")], "counts")
    expect_in("4000", dropped[0]["message"], "the count")


@test("keys with separators, dots and look-alikes stay within their install")
def keys(world):
    names = ["../k", "a/b", "..", "", "a\0b", ":", "acme:k", "k\u00e4", "ka\u0308", "K", "k", "x" * 257, "a\nb", "%2e%2e"]
    got = world.call("/keys", {"ns": "n", "keys": names}).json()
    refused = ("../k", "a/b", "", "a\0b", "x" * 257, "a\nb")
    expect_equal(got, [{"err": "invalid"} if name in refused else {"ok": 1} for name in names], "keys")
    for ns in ("", "x" * 129):
        expect_equal(world.call("/keys", {"ns": ns, "keys": ["k"]}).json(), [{"err": "invalid"}], f"{ns!r} as a namespace")
    expect_equal(world.call("/read", {"ns": "n", "key": "k"}).json(), {"ok": "v"}, "own record")
    expect_equal(world.call("/read", {"ns": "n", "key": "k"}, tenant="umbrella").json(), {"err": "missing"}, "another tenant's record")


@test("a guest finds no process, no environment, no files and no network of its own")
def ambient(world):
    expect_equal(world.call("/eval").json(), {"ok": "undefinedundefinedundefined"}, "globals of other runtimes")
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
    # Spellings that only some parsers read as an address are no host for anybody.
    odd = ("2130706433", "0177.0.0.1", "0x7f000001", "127.1", "%31%32%37.0.0.1", "１２７.0.0.1", "127。0。0。1")
    for host in hosts:
        got = world.call("/fetch", {"url": f"http://{host}:{port}/"}).json()
        expect_equal(got, {"err": "invalid-url" if host in odd else "not-allowed"}, host)
    origin = world.upstream.origin
    urls = ["file:///etc/passwd", "gopher://127.0.0.1/", "ws://127.0.0.1/", "ftp://127.0.0.1/", f"https://127.0.0.1@evil.example:{port}/", f"http://evil.example\\@127.0.0.1:{port}/", f"{origin}\n.evil/", "http://127.0.0.1:0/"]
    urls += ["http://127.0.0.1:65536/", f"http://user:pass@example.com:{port}/", "//127.0.0.1/", "http:/127.0.0.1", "http://", "", "http://127.0.0.1:22/", "\thttp://127.0.0.1:1/", "http://[::1", "http://exa mple/"]
    for url in urls:
        got = world.call("/fetch", {"url": url}).json()
        expect_equal(got, {"err": "not-allowed" if url == "http://127.0.0.1:22/" else "invalid-url"}, url)
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
        expect_equal(got, {"err": "invalid-url"}, f"{header!r}")


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
    with tempfile.TemporaryDirectory(prefix="alga-hostile.") as folder, Upstream() as upstream, Upstream() as canary, Host() as host:
        config = CONFIG + f'\n[limits]\ncpu_time = "60s"\n[egress]\nfixed_addresses = ["{REBOUND}:{upstream.port}:127.0.0.9"]\n[runner.ui_proxy]\nurl = "{host.origin}"\n'
        with Platform(folder, config=config) as platform:
            return main(World(platform, upstream, host, canary))


if __name__ == "__main__":
    sys.exit(run())
