#!/usr/bin/python3
"""The administration API against callers who try everything: each operation of its own document with odd methods,
parameters, bodies and members, requests that come several times at once, and keys that are revoked meanwhile."""

import json
import re
import socket
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from harness.platform import CONFIG, Platform, Publisher  # noqa: E402
from harness.servers import Postgres  # noqa: E402
from harness.tap import Skip, expect, expect_equal, expect_in, main, test  # noqa: E402

PLAIN = Path(__file__).resolve().parents[1] / "guests" / "text" / "echo.wasm"
#: Through these, guests are called; tests/hostile/protocol_test.py and guest_test.py are about them.
OF_GUESTS = ("/api/ext/", "/api/ext-proxy/")
METHODS = ("get", "put", "post", "patch", "delete")
PARAMETERS = (
    "%2e%2e", "..%2f..", "%2e", "%00", "a%00b", "%ff%fe", "%e2%85%b0", "acm%d0%b5", "x" * 9000, "-1", "%2F", "%5c", "a%0d%0ab",
    "%252e%252e", "*", "..;", "%c0%ae", "%20", "1e999", "%", "%zz", "'", "';--", "0" * 36, "{}",
)  # fmt: skip
QUERIES = ("", "0", "-1", "1000000000", "99999999999999999999", "1e3", "0.5", "%00", "abc", "%ff", "1%00", "x" * 5000, "9999-99-99T99:99:99Z", "+1", "0x10")
#: What is wrong with each; of the member that nobody knows it depends on whether others are missing.
BODIES = {
    **{body: ("json.malformed",) for body in (
        b"", b"\0", b"\xef\xbb\xbf{}", b"{}{}", b'{"a":NaN}', b'{"a":1e999}', b'{"x":"\\ud800"}', b'{"x":"\xff"}', b"{", b'{"a":01}', b"{'a':1}", b'{"a":1,}',
    )},
    **{body: ("json.wrong_type",) for body in (b"[]", b"null", b"1", b'"x"')},
    **{body: ("json.too_deep",) for body in (b"[" * 5000, b'{"a":' * 2000)},
    b'{"a":1,"a":2}': ("json.duplicate_member",),
    b'{"\\u0000":1}': ("json.missing_member", "json.unknown_member"),
}  # fmt: skip
#: Routes that say it in the earlier form, whatever is wrong, or ask first who is there.
ANSWERS = {
    "/api/ext-bundles/": (400, "BAD_REQUEST"),
    "/api/ext-storage/install/{installId}/{namespace}/records": (400, "VALIDATION_FAILED"),
    "/api/ext-storage/install/{installId}/{namespace}/schemas": (400, "request.invalid"),
    "/api/internal/ext-storage/": (401, "UNAUTHORIZED"),
    "/api/internal/ext-runner/": (401, "auth.invalid_token"),
    "/internal/runner/": (401, "auth.invalid_token"),
    "/internal/secrets/": (401, "broker.certificate_required"),
}
#: Routes that take short bodies only, and how long.
SHORT = {"/warmup": 4096, "/internal/secrets/redeem": 8192}
#: As they stand in a document.
VALUES = (
    "1e400", "-0", "1e308", "99999999999999999999", "-1", "0", "0.5", "18446744073709551616", "9223372036854775808", '"a\\u0000b"',
    '["a\\u0000b"]', '{"a":"x\\u0000y"}', '"\\ud800"', "[]", "{}", "true", "null", '"%s"' % ("x" * 70000), '"\\u202e"', "[null]", '{"":""}',
    '"../../x"', '"acm\u0435"', '""', '" "', '"\\r\\nx: y"', '[""]', '{"__proto__":"x"}', '["*"]', '["https://user:pw@a.example"]',
    '["cidr:::/999"]', '{"timeout_ms":-1}', '{"timeout_ms":1e30}', '"9999-99-99T99:99:99Z"', '{"$ref":"http://x/"}', '{"pattern":"(a+)+$"}',
)  # fmt: skip


class World:
    def __init__(self, platform):
        self.platform = platform
        self.tenant = platform.tenant("acme")
        self.publisher = platform.publisher("example")
        self.slug = platform.publish(self.publisher, component=PLAIN)
        self.other = platform.publish(self.publisher, name="other", component=PLAIN)
        self.install = platform.install(self.tenant, self.slug)["id"]
        self.paths = platform.operator.get("/api/v1/openapi.json").json()["paths"]
        self.token = platform.operator.headers["authorization"]
        self.made = 0

    def name(self):
        """One that nobody had."""
        self.made += 1
        return f"n{self.made}"

    def path(self, pattern, **other):
        known = {"id": self.install, "installId": self.install, "extension": self.slug, "tenant": "acme", "version": "1.0.0", **other}
        return re.sub(r"{(\w+)}", lambda match: known.get(match[1], "x"), pattern)

    def open(self, method, target, headers=(), body=None, length=None):
        """Begins a request on a connection of its own."""
        lines = [f"{method} {target} HTTP/1.1", "host: x", "connection: close", f"authorization: {self.token}", "x-tenant-id: acme", *headers]
        if body is not None:
            lines += [f"content-length: {len(body) if length is None else length}"]
        connection = socket.create_connection(("127.0.0.1", self.platform.server.port), 60)
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + (body or b""))
        return connection

    def ask(self, method, target, body=None, what=""):
        """(status, head, body) of an answer that is none of a broken server: no 5xx, and every refusal has a code."""
        with self.open(method, target, ["content-type: application/json"], body) as connection:
            status, head, answer = answer_on(connection)
        about = f"{method} {target[:80]} {what or (body or b'')[:80]}: {status} {answer[:200]}"
        expect(100 < status < 500, about)
        if status >= 400 and method != "HEAD":
            expect(code_of(answer), about)
        return status, head, answer

    def operations(self):
        for pattern, item in self.paths.items():
            if not pattern.startswith(OF_GUESTS):
                yield pattern, item, [method for method in METHODS if method in item]


def answer_on(connection):
    received = b""
    while piece := connection.recv(65536):
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    match = re.match(rb"HTTP/1\.1 (\d{3}) ", head)
    return int(match[1]) if match else 0, head.decode("latin-1").lower(), body


def code_of(answer):
    document = json.loads(answer)
    error = document.get("error")
    return error.get("code") if isinstance(error, dict) else document.get("code")


@test("every method on every path is answered: HEAD like GET and without a body, others with 405 and what there is")
def methods(world):
    for pattern, item, offered in world.operations():
        path = world.path(pattern)
        for method in ("OPTIONS", "TRACE", "FOO", "get", "HEAD", *(name.upper() for name in METHODS if name not in offered)):
            status, head, body = world.ask(method, path)
            if method == "HEAD" and "get" in item:
                expect_equal((status, body), (world.ask("GET", path)[0], b""), f"HEAD {path}")
            elif method != "HEAD" and status == 405:
                expect("\r\nallow: " in head, f"{method} {path}: what is allowed")
            else:
                expect(status in (404, 405), f"{method} {path}: {status}")


@test("no path parameter, however it is spelt, leads anywhere or breaks anything")
def path_parameters(world):
    for pattern, _, offered in world.operations():
        for name in re.findall(r"{(\w+)}", pattern):
            for value in PARAMETERS:
                for method in offered:
                    world.ask(method.upper(), world.path(pattern, **{name: value}), b"{}" if method in ("put", "post", "patch") else None)


@test("odd query parameters are refused or mean nothing; one that is there twice is refused")
def query_parameters(world):
    for pattern, item, _ in world.operations():
        for parameter in item.get("get", {}).get("parameters", []):
            name = parameter["name"]
            if parameter["in"] != "query" or name == "follow":
                continue
            for value in QUERIES:
                world.ask("GET", f"{world.path(pattern)}?{name}={value}")
            status, _, answer = world.ask("GET", f"{world.path(pattern)}?{name}=1&{name}=1")
            expect(status == 400 and b'"request.ambiguous"' in answer, f"{name} twice at {pattern}: {status} {answer[:200]}")


@test("bodies that are no JSON, too deep, doubled or of another kind are refused")
def bodies(world):
    for pattern, item, offered in world.operations():
        for method in offered:
            if "application/json" not in item[method].get("requestBody", {}).get("content", {}):
                continue
            said = next((wanted for head, wanted in ANSWERS.items() if pattern.startswith(head)), None)
            for body, codes in BODIES.items():
                status, _, answer = world.ask(method.upper(), world.path(pattern), body)
                wanted = [said] if said else [(400, code) for code in codes]
                if len(body) > SHORT.get(pattern, len(body)):
                    wanted = [(413, "http.body_too_large")]
                expect_in((status, code_of(answer)), wanted, f"{method} {pattern} with {body[:40]}: {answer[:200]}")


def wanted(world):
    """Operations with a body that they take; each call makes another one."""
    storage = f"/api/ext-storage/install/{world.install}"
    install = f"/api/v1/installs/{world.install}"
    return (
        ("POST", "/api/v1/tenants", lambda: {"id": world.name(), "name": "T"}),
        ("POST", "/api/v1/publishers", lambda: {"name": world.name()}),
        ("POST", "/api/v1/publishers/example/keys", lambda: {"public_key": Publisher(world.platform.folder, world.name()).public_key}),
        ("POST", "/api/v1/api-keys", lambda: {"label": "l", "role": "tenant_admin", "tenant": "acme", "expires_at": "2090-01-01T00:00:00Z"}),
        ("POST", "/api/v1/api-keys", lambda: {"label": "l", "role": "publisher", "publisher": "example"}),
        ("PUT", f"{install}/grants", lambda: {"capabilities": ["cap:http.fetch"], "withhold": [], "egress": ["https://a.example"], "limits": {"timeout_ms": 9}}),
        ("POST", f"{install}/update", lambda: {"version": "1.0.0"}),
        ("PATCH", f"{install}/config", lambda: {"set": {"a": "b"}, "unset": ["c"]}),
        ("PUT", f"{install}/secrets/api_key", lambda: {"value": "v"}),
        ("PUT", "/api/v1/tenants/acme/quota", lambda: {"cpu_ms": None, "memory_mb_s": None, "egress_bytes": None}),
        ("PUT", f"/api/v1/extensions/{world.other}/pilot", lambda: {"tenants": ["acme"]}),
        ("POST", f"{storage}/ns/records", lambda: {"key": world.name(), "value": {"a": 1}, "metadata": {"m": 1}, "ttlSeconds": 100, "ifRevision": None}),
        ("PUT", f"{storage}/ns/records/k", lambda: {"value": {"a": 1}, "metadata": {"m": 1}, "ttlSeconds": 100}),
        ("PUT", f"{storage}/schemed/schemas/1", lambda: {"schema": {"type": "object"}, "status": "active"}),
    )


@test("odd values in each member of each body are refused or kept as they are, and break nothing")
def members(world):
    for method, path, make in wanted(world):
        status, _, answer = world.ask(method, path, json.dumps(make()).encode())
        expect(200 <= status < 300, f"{method} {path} does not take what it should: {status} {answer[:300]}")
        for name in make():
            for value in VALUES:
                others = [f"{json.dumps(key)}:{json.dumps(one)}" for key, one in make().items() if key != name]
                body = "{" + ",".join([*others, f"{json.dumps(name)}:{value}"]) + "}"
                world.ask(method, path, body.encode("utf-8", "surrogatepass"), f"{name}={value[:40]}")


@test("what is submitted eight times at once is done once")
def at_once(world):
    world.ask("PUT", f"/api/v1/extensions/{world.other}/pilot", b"{}")
    key = Publisher(world.platform.folder, world.name()).public_key
    for path, body, good, rest in (
        ("/api/v1/tenants", {"id": "twice"}, 201, 409),
        ("/api/v1/publishers", {"name": "twice"}, 201, 409),
        ("/api/v1/publishers/example/keys", {"public_key": key}, 201, 409),
        ("/api/v1/installs", {"extension": world.other}, 201, 409),
        ("/api/v1/extensions/uninstall", {"registryId": world.other}, 202, 404),
        ("/api/v1/extensions/install", {"registryId": world.other, "version": "1.0.0"}, 202, 409),
    ):
        statuses, start = [], threading.Barrier(8)

        def submit(path=path, body=body, statuses=statuses, start=start):
            start.wait()
            statuses.append(world.ask("POST", path, json.dumps(body).encode())[0])

        threads = [threading.Thread(target=submit) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expect_equal(Counter(statuses), Counter({good: 1, rest: 7}), path)


@test("a key that is revoked in the middle of an upload stores nothing")
def revoked(world):
    made = world.platform.operator.post("/api/v1/api-keys", {"label": "x", "role": "publisher", "publisher": "example"}).json()
    operator, world.token = world.token, f"Bearer {made['key']}"
    try:
        connection = world.open("POST", "/api/ext-bundles/upload-proxy?filename=b.tar.zst", ["expect: 100-continue"], b"", 10)
    finally:
        world.token = operator
    with connection:
        # The server has seen the key and asks for the body.
        expect(connection.recv(4096).startswith(b"HTTP/1.1 100 "), "what it says to the head")
        connection.sendall(b"12345")
        expect_equal(world.platform.operator.delete(f"/api/v1/api-keys/{made['id']}").status, 204, "revoking the key")
        connection.sendall(b"67890")
        status, _, answer = answer_on(connection)
    expect_equal((status, json.loads(answer)["error"]["detail_code"]), (401, "auth.invalid_token"), "the answer")


@test("after all of that the server is well, and has nothing to complain about")
def still_well(world):
    expect_equal(world.platform.server.client().get("/readyz").status, 200, "/readyz")
    errors = [line for line in world.platform.server.output().splitlines() if '"level":"error"' in line]
    expect_equal(errors, [], "errors in its log")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-hostile.") as folder:
        try:
            # Minds more than SQLite does what a text holds.
            with Postgres() as postgres, Platform(folder, config=f'{CONFIG}\n[database]\nurl = "{postgres.url}"\n') as platform:
                return main(World(platform))
        except Skip:
            with Platform(folder) as platform:
                return main(World(platform))


if __name__ == "__main__":
    sys.exit(run())
