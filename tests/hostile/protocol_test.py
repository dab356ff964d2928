#!/usr/bin/python3
"""Hostile requests on the wire: smuggling, slow and huge ones, and what they leave in the log."""

import json
import re
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from harness.platform import CONFIG, Platform  # noqa: E402
from harness.tap import expect, expect_equal, main, test  # noqa: E402

SETTINGS = (
    CONFIG
    + """
[server]
header_timeout = "1s"
body_timeout = "1s"
"""
)
SMUGGLED = b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-request-id: smuggled\r\n\r\n"


class World:
    def __init__(self, platform):
        self.platform = platform
        self.tenant = platform.tenant("acme")
        self.slug = platform.publish(platform.publisher("example"))
        platform.install(self.tenant, self.slug)
        self.key = platform.api_key("tenant_user", tenant=self.tenant).headers["authorization"]

    @property
    def port(self):
        return self.platform.server.port

    def say(self, wire, finish=False, seconds=10):
        """Sends bytes on a connection of their own; returns everything that comes back."""
        with socket.create_connection(("127.0.0.1", self.port), seconds) as connection:
            connection.settimeout(seconds)
            try:
                connection.sendall(wire)
                if finish:
                    connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the server has had enough already
            return drain(connection)

    def head(self, method="POST", path=None, extra=b""):
        path = path or f"/api/ext/{self.slug}/echo"
        return f"{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: {self.key}\r\n".encode() + extra

    def well(self):
        expect_equal(self.platform.server.client().get("/readyz").status, 200, "/readyz")


def drain(connection):
    answer = b""
    try:
        while piece := connection.recv(65536):
            answer += piece
    except OSError:
        pass
    return answer


def statuses(answer):
    """The status of each answer in what came back; no body of this server holds a status line."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


def refusal(answer):
    """Status and code of what came back, which is one answer; (0, "") when there is none."""
    found = re.search(rb'"code":"([a-z0-9_.]+)"', answer)
    expect(len(statuses(answer)) <= 1, f"answers to one request: {answer[:400]}")
    return (statuses(answer) or [0])[0], found[1].decode() if found else ""


#: What each malformed message is answered.
BAD = (400, "http.bad_request")


@test("a message whose length can be read in two ways is refused, and nothing behind it is a request")
def smuggling(world):
    chunked = b"0\r\n\r\n"
    not_spoken = (501, "http.unsupported_transfer_encoding")
    others = {"two encodings": not_spoken, "list of encodings": not_spoken, "unknown encoding": not_spoken}
    cases = {
        "both": b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n" + chunked,
        "two lengths": b"content-length: 0\r\ncontent-length: 5\r\n\r\n",
        "equal lengths": b"content-length: 0\r\ncontent-length: 0\r\n\r\n",
        "list of lengths": b"content-length: 0, 5\r\n\r\n",
        "signed length": b"content-length: +5\r\n\r\n",
        "hexadecimal length": b"content-length: 0x5\r\n\r\n",
        "length beyond 64 bits": b"content-length: 99999999999999999999\r\n\r\n",
        "two encodings": b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n" + chunked,
        "list of encodings": b"transfer-encoding: gzip, chunked\r\n\r\n" + chunked,
        "unknown encoding": b"transfer-encoding: xchunked\r\n\r\n" + chunked,
        "blank before the colon": b"transfer-encoding : chunked\r\n\r\n" + chunked,
        "folded": b"x: y\r\n transfer-encoding: chunked\r\n\r\n" + chunked,
        "bare line feed": b"x: y\ntransfer-encoding: chunked\r\n\r\n" + chunked,
        "carriage return in a value": b"x: y\rtransfer-encoding: chunked\r\n\r\n" + chunked,
        "zero in a name": b"transfer-encoding\0: chunked\r\n\r\n" + chunked,
        "vertical tab": b"transfer-encoding:\x0bchunked\r\n\r\n" + chunked,
    }
    for name, rest in cases.items():
        answer = world.say(world.head(extra=rest) + SMUGGLED, finish=True)
        expect_equal(refusal(answer), others.get(name, BAD), f"{name}: {answer[:200]}")
        expect(b"smuggled" not in answer, f"{name}: what stood behind it was answered: {answer[:400]}")


@test("chunks that are none end the connection")
def chunks(world):
    head = world.head(extra=b"transfer-encoding: chunked\r\n\r\n")
    cases = (b"zz\r\n", b"-1\r\nx\r\n", b"ffffffffffffffffff\r\n", b"5\r\nab\r\n0\r\n\r\n", b"1;" + b"x" * 100_000 + b"\r\na\r\n0\r\n\r\n", b"0\r\n" + b"x: y\r\n" * 50_000 + b"\r\n")
    for wire in cases:
        answer = world.say(head + wire + SMUGGLED, finish=True)
        expect_equal(refusal(answer), BAD, f"{wire[:20]}: {answer[:300]}")
        expect(b"smuggled" not in answer, f"{wire[:20]}: {answer[:300]}")


@test("large heads, targets and many fields are refused before they are kept")
def large_heads(world):
    cases = (
        (world.head(extra=b"x: " + b"a" * 200_000 + b"\r\n\r\n"), 431, "http.header_too_large"),
        (world.head(extra=b"".join(b"x-%d: 1\r\n" % i for i in range(5_000)) + b"\r\n"), 431, "http.too_many_headers"),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", 414, "http.uri_too_long"),
        (world.head(extra=b"x-idempotency-key: " + b"k" * 1_000_000 + b"\r\ncontent-length: 0\r\n\r\n"), 431, "http.header_too_large"),
        (b"A" * 1_000_000, 431, "http.header_too_large"),
    )
    for wire, status, code in cases:
        answer = world.say(wire, finish=True)
        expect_equal(refusal(answer), (status, code), f"{wire[:40]}: {answer[:200]}")


@test("a body that is announced too large is refused before it is sent")
def announced(world):
    answer = world.say(world.head(extra=b"content-length: 1000000000\r\nexpect: 100-continue\r\n\r\n"))
    expect_equal(refusal(answer), (413, "limit.request_body"), f"{answer[:200]}")


@test("a head that drips and a body that drips are given up, while others are served")
def slow(world):
    given_up = []

    def drip(start):
        with socket.create_connection(("127.0.0.1", world.port), 20) as connection:
            connection.settimeout(20)
            try:
                connection.sendall(start)
                for _ in range(600):
                    connection.sendall(b"x")
                    time.sleep(0.1)
            except OSError:
                given_up.append(start)  # by the server: a minute of drops would have been taken otherwise
            drain(connection)

    starts = [b"GET / HTTP/1.1\r\nx: ", world.head(extra=b"content-length: 100000\r\n\r\n")] * 20
    threads = [threading.Thread(target=drip, args=(start,)) for start in starts]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    for _ in range(5):
        expect_equal(world.platform.call(world.tenant, world.slug, "/counter").status, 200, "a neighbour's call")
    for thread in threads:
        thread.join()
    expect_equal(len(given_up), len(starts), "slow connections that were given up")


@test("methods, versions, targets and hosts that are none are refused")
def malformed(world):
    good = b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    expect_equal(statuses(world.say(good)), [200], "an ordinary request")
    version, path = (505, "http.unsupported_version"), (400, "http.invalid_path")
    cases = (
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", version),
        (b"GET /readyz HTTP/3.0\r\nhost: x\r\n\r\n", version),
        (b"GET /readyz\r\n\r\n", BAD),
        (b"G\0T /readyz HTTP/1.1\r\nhost: x\r\n\r\n", BAD),
        (b"GET  /readyz HTTP/1.1\r\nhost: x\r\n\r\n", path),
        (b"GET http://x/readyz HTTP/1.1\r\nhost: x\r\n\r\n", path),
        (b"GET /readyz HTTP/1.1\r\n\r\n", BAD),
        (b"GET /readyz HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n", BAD),
        (b"GET /ready%zz HTTP/1.1\r\nhost: x\r\n\r\n", path),
        (b"GET /a%00 HTTP/1.1\r\nhost: x\r\n\r\n", path),
        (b"GET /a%0d%0aset-cookie:x HTTP/1.1\r\nhost: x\r\n\r\n", path),
        (b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n", path),
        (b"GET /..%2f..%2fetc HTTP/1.1\r\nhost: x\r\n\r\n", path),
        (b"GET /a/../readyz HTTP/1.1\r\nhost: x\r\n\r\n", path),
        (b"CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\n", path),
        (bytes(range(256)) * 40, BAD),
    )
    for wire, wanted in cases:
        answer = world.say(wire, finish=True)
        expect_equal(refusal(answer), wanted, f"{wire[:40]}: {answer[:200]}")


@test("requests in one packet are answered one after the other, each once")
def pipelining(world):
    wire = b"".join(b"GET /readyz HTTP/1.1\r\nhost: x\r\nx-request-id: p%d\r\n\r\n" % i for i in range(50))
    answer = world.say(wire, finish=True)
    expect_equal(statuses(answer), [200] * 50, "answers")
    order = [line.split(b": ")[1] for line in answer.split(b"\r\n") if line.startswith(b"x-request-id")]
    expect_equal(order, [b"p%d" % i for i in range(50)], "order")


@test("hosts of other alphabets and spellings lead nowhere")
def hosts(world):
    names = ("xn--a", "127.0.0.1", "..")
    for host in (*names, "pägés.example", "a@b", "a/b", "a?b", "[::1]", "\u0660", "x" * 300, "a b"):
        answer = world.say(f"GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
        expect_equal(refusal(answer), (404, "ui.not_found") if host in names else (400, "ui.invalid_host"), f"{host}: {answer[:200]}")


@test("an identity that a request forges is not believed")
def forged(world):
    client = world.platform.server.client
    path = f"/api/ext/{world.slug}/echo"
    doubled = world.head("GET", extra=b"x-tenant-id: acme\r\nX-Tenant-Id: umbrella\r\nconnection: close\r\n\r\n")
    expect_equal(refusal(world.say(doubled)), (400, "gateway.ambiguous_header"), "two tenants in one request")
    for headers, status, code in (
        ({"authorization": world.key, "x-alga-tenant": "umbrella"}, 403, "gateway.tenant_mismatch"),
        ({"authorization": world.key, "x-alga-tenant": "acme", "x-tenant-id": "umbrella"}, 403, "gateway.tenant_mismatch"),
        ({"authorization": world.key, "x-tenant-id": "acme, umbrella"}, 403, "gateway.tenant_mismatch"),
        ({"authorization": "Bearer eyJhbGciOiJub25lIn0.e30."}, 401, "gateway.unauthenticated"),
        ({"x-runner-service-token": "x", "x-alga-tenant": "acme"}, 401, "gateway.unauthenticated"),
        ({"x-alga-admin": "true"}, 401, "gateway.unauthenticated"),
    ):
        answer = client(headers).get(path)
        expect_equal((answer.status, answer.json()["code"]), (status, code), f"{headers}")
    body = {"context": {"tenant_id": "acme", "extension_id": "x", "content_hash": "sha256:" + "0" * 64}, "http": {"method": "GET", "path": "/"}}
    answer = client({"x-alga-tenant": "acme", "x-alga-extension": "x"}).post("/v1/execute", body)
    expect_equal((answer.status, answer.json()["code"]), (401, "runner.grant_required"), "the runner without a grant")
    for grant in ("e30.e30", "a" * 10_000, "eyJhbGciOiJub25lIn0.e30."):
        answer = client({"x-alga-tenant": "acme", "x-alga-extension": "x", "x-alga-grant": grant}).post("/v1/execute", body)
        expect_equal((answer.status, answer.json()["code"]), (401, "grant.malformed"), f"a made-up grant {grant[:20]}")


@test("JSON that is deep, doubled, huge or no UTF-8 is refused")
def json_bombs(world):
    deep, doubled, malformed = "json.too_deep", "json.duplicate_member", "json.malformed"
    bodies = {b"[" * 1_000_000: deep, b'{"a":' * 100_000: deep, b'{"id":"a","id":"b"}': doubled, b'{"id":"\xff\xfe"}': malformed}
    bodies |= {body: malformed for body in (b'"' + b"a" * 900_000, b"1e999999999", b"nul", b'{"id":"a"}x', b"")}
    for body, code in bodies.items():
        answer = world.platform.operator.post("/api/v1/tenants", body, headers={"content-type": "application/json"})
        expect_equal((answer.status, answer.json()["error"]["code"]), (400, code), f"{body[:20]}")


@test("nothing that a caller sends begins a line or a field of the log")
def log_injection(world):
    client = world.platform.client(world.key.removeprefix("Bearer "))
    evil = '\u2028{"level":"error","message":"forged"}'.encode().decode("latin-1")
    for headers in ({"x-request-id": 'a","message":"forged'}, {"user-agent": evil}, {"x-request-id": "\x1b[31mred"}):
        try:
            client.get(f"/api/ext/{world.slug}/echo?x=%0a%22forged", headers=headers)
        except (ValueError, UnicodeError):
            pass  # the client itself would not send it
    world.say(world.head("GET", extra=b'x-request-id: x","message":"forged\r\nconnection: close\r\n\r\n'))
    lines = [line for line in world.platform.server.output().splitlines() if line.startswith("{")]
    for line in lines:
        record = json.loads(line)
        expect(record.get("message") != "forged" and "\x1b" not in line, f"a forged line: {line[:300]}")
    expect(any(json.loads(line).get("message") == "execution" for line in lines), "the log has no line of an execution")


@test("after all of that the server is well")
def still_well(world):
    world.well()
    expect_equal(world.platform.call(world.tenant, world.slug, "/counter").json(), {"counter": 1}, "a call")
    expect(world.platform.server.peak_memory_bytes() < 3 << 30, "the server used more than 3 GiB")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-hostile.") as folder, Platform(folder, config=SETTINGS) as platform:
        return main(World(platform))


if __name__ == "__main__":
    sys.exit(run())
