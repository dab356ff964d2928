#!/usr/bin/python3
"""What one process shows and whom it believes: listeners apart, traces to a collector, lines for people,
tokens of an OpenID issuer and of a host application."""

import base64
import hashlib
import hmac
import json
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from harness.authority import Authority
from harness.client import Client
from harness.platform import CONFIG, Platform
from harness.ports import free_port
from harness.server import Algad
from harness.tap import eventually, expect, expect_equal, expect_in, main, test

SESSION_KEY = bytes(range(32))
PLAIN = Path(__file__).resolve().parents[1] / "guests" / "text" / "echo.wasm"


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Collector:
    """Answers as an OpenID issuer and takes what is posted: one server for both, on loopback."""

    def __init__(self, folder):
        self.posted = []
        self.takes = True  # what is posted
        self.keys = {}
        self.folder = Path(folder)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                known = {
                    "/.well-known/openid-configuration": {"issuer": outer.origin, "jwks_uri": outer.origin + "/jwks"},
                    "/jwks": {"keys": list(outer.keys.values())},
                }
                self._answer(200 if self.path in known else 404, known.get(self.path, {}))

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                if outer.takes:
                    outer.posted.append((self.path, json.loads(body)))
                self._answer(200 if outer.takes else 400, {})

            def _answer(self, status, body):
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def new_key(self, kid):
        """A new Ed25519 key of the issuer, published at once."""
        file = self.folder / f"{kid}.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", file], check=True, capture_output=True)
        der = subprocess.run(["openssl", "pkey", "-in", file, "-pubout", "-outform", "DER"], check=True, capture_output=True).stdout
        self.keys[kid] = {"kty": "OKP", "crv": "Ed25519", "kid": kid, "use": "sig", "alg": "EdDSA", "x": b64(der[-32:])}

    def token(self, kid, **claims):
        about = {"iss": self.origin, "aud": "alga", "exp": int(time.time()) + 300, **claims}
        text = b64(json.dumps({"alg": "EdDSA", "kid": kid, "typ": "JWT"}).encode()) + "." + b64(json.dumps(about).encode())
        with tempfile.NamedTemporaryFile() as message:
            message.write(text.encode())
            message.flush()
            command = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", self.folder / f"{kid}.pem", "-in", message.name]
            return text + "." + b64(subprocess.run(command, check=True, capture_output=True).stdout)

    def spans(self):
        return [
            span
            for path, body in list(self.posted)
            if path == "/v1/traces"
            for resource in body["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]


def session(**claims):
    """A session token as the host application makes it."""
    first = b64(json.dumps({"exp": int(time.time()) + 300, **claims}).encode())
    mac = hmac.new(SESSION_KEY, b"alga-session:v1." + first.encode(), hashlib.sha256).digest()
    return f"alga_sess_{first}.{b64(mac)}"


class World:
    def __init__(self, platform, collector, ports):
        self.platform, self.collector = platform, collector
        self.internal, self.metrics = (Client(f"http://127.0.0.1:{port}") for port in ports)
        self.tenant = platform.tenant("acme")
        self.slug = platform.publish(platform.publisher("example"))
        self.install = platform.install(self.tenant, self.slug, config={"key": "value"})

    def call(self, path, token=None, headers=None):
        client = self.platform.client(token) if token else self.platform.operator
        sent = {"x-tenant-id": self.tenant, **(headers or {})}
        return client.get(f"/api/ext/{self.slug}{path}", headers=sent)


@test("each listener serves what is its own, and nothing else")
def listeners(world):
    public = world.platform.server.client()
    for path in ("/metrics", "/healthz", "/readyz"):
        expect_equal(world.metrics.get(path).status, 200, f"{path} on the listener for metrics")
        expect_equal(public.get(path).status, 404, f"{path} on the public listener")
        expect_equal(world.internal.get(path).status, 404, f"{path} on the internal listener")
    incomplete, unknown = (400, "json.missing_member"), (401, "auth.invalid_token")
    for path, wanted in (("/v1/execute", incomplete), ("/warmup", incomplete), ("/internal/runner/install-config", unknown), ("/internal/records", unknown)):
        expect_equal(public.post(path, {}).status, 404, f"{path} on the public listener")
        answer = world.internal.post(path, {})
        said = answer.json()  # of install-config in the earlier form
        code = said["error"]["code"] if isinstance(said["error"], dict) else said["code"]
        expect_equal((answer.status, code), wanted, f"{path} on the internal listener")
    for path in ("/api/v1/tenants", f"/api/ext/{world.slug}/counter"):
        expect_equal(world.internal.get(path).status, 404, f"{path} on the internal listener")
        expect_equal(world.metrics.get(path).status, 404, f"{path} on the listener for metrics")


@test("a user of an OpenID issuer acts for the own tenant, with the rights of the own role")
def openid(world):
    world.collector.new_key("first")
    user = world.collector.token("first", sub="u1", tenant=world.tenant, roles=["tenant_user"], name="Ada")
    expect_equal(world.call("/counter", user).status, 200, "a call of the tenant's user")
    seen = world.call("/user", user)
    expect_equal((seen.status, "u1" in seen.text()), (200, True), f"what the guest knows of the user ({seen.text()})")
    client = world.platform.client(user)
    expect_equal(client.get("/api/v1/installs").status, 403, "installs are for administrators")
    admin = world.platform.client(world.collector.token("first", sub="u2", tenant=world.tenant, roles=["tenant_admin"]))
    expect_equal(admin.get("/api/v1/installs").status, 200, "installs for the tenant's administrator")
    other = world.collector.token("first", sub="u1", tenant="globex", roles=["tenant_user"])
    expect_equal(world.call("/counter", other).status, 403, "a call for another tenant")


@test("tokens that are expired, for somebody else or signed by nobody are refused; new keys are followed")
def bad_tokens(world):
    claims = {"sub": "u1", "tenant": world.tenant, "roles": ["tenant_user"]}
    good = world.collector.token("first", **claims)
    for name, token in (
        ("expired", world.collector.token("first", **claims, exp=int(time.time()) - 3600)),
        ("for another audience", world.collector.token("first", **claims, aud="other")),
        ("of another issuer", world.collector.token("first", **claims, iss="https://elsewhere.example")),
        ("without a role", world.collector.token("first", sub="u1", tenant=world.tenant)),
        ("with another signature", good[:-8] + ("A" * 8 if not good.endswith("A" * 8) else "B" * 8)),
        ("without algorithm", b64(b'{"alg":"none","kid":"first"}') + "." + good.split(".")[1] + "."),
    ):
        expect_equal(world.call("/counter", token).status, 401, f"a token {name}")
    world.collector.new_key("second")
    rotated = world.collector.token("second", **claims)
    eventually(lambda: world.call("/counter", rotated).status == 200, 15, "a token with the issuer's new key", every=0.5)


@test("a host application vouches for its users with session tokens, but makes no operator")
def sessions(world):
    claims = {"sub": "u7", "tenant": world.tenant}
    expect_equal(world.call("/counter", session(**claims, roles=["tenant_user"])).status, 200, "a session")
    admin = world.platform.client(session(**claims, roles=["tenant_admin"]))
    expect_equal(admin.get("/api/v1/installs").status, 200, "a session at the API")
    expect_equal(world.call("/counter", session(**claims, roles=["operator"])).status, 401, "a session as operator")
    forged = session(**claims, roles=["tenant_user"])[:-4] + "AAAA"
    expect_equal(world.call("/counter", forged).status, 401, "a forged session")


@test("where a claim is named for permissions, a user needs extension:read to call with GET and extension:write for the rest")
def permissions(world):
    key = world.platform.folder / "session.key"
    key.write_text(base64.b64encode(SESSION_KEY).decode())
    config = f"""{CONFIG}
[gateway.oidc]
permissions_claim = "permissions"

[gateway.session]
key = "file:{key}"
"""
    with Platform(world.platform.folder / "permissions", config=config) as platform:
        tenant = platform.tenant("acme")
        slug = platform.publish(platform.publisher("example"), component=PLAIN)
        platform.install(tenant, slug)
        read, write = "extension:read", "extension:write"
        for given, wanted in (([read], (200, 403)), ([write], (403, 200)), ([read, write], (200, 200)), ([], (403, 403)), (None, (403, 403))):
            about = {} if given is None else {"permissions": given}
            user = platform.client(session(sub="u1", tenant=tenant, roles=["tenant_user"], **about))
            path = f"/api/ext/{slug}/x"
            expect_equal((user.get(path).status, user.post(path, {}).status), wanted, f"GET and POST with {given}")
        expect_equal(platform.call(tenant, slug, "/x").status, 200, "an operator, of whom no permission is asked")


@test("a sampled trace arrives at the collector with the spans of gateway and runner, and without values")
def traces(world):
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    expect_equal(world.call("/config?key=canary-in-a-query", headers={"traceparent": f"00-{trace}-{parent}-01"}).status, 200, "call")

    def spans():
        mine = [span for span in world.collector.spans() if span["traceId"] == trace]
        return mine if any(span["name"] == "execute" for span in mine) and any(span.get("parentSpanId") == parent for span in mine) else None

    mine = eventually(spans, 15, "the spans of the trace")
    gateway = next(span for span in mine if span.get("parentSpanId") == parent)
    execute = next(span for span in mine if span["name"] == "execute")
    expect_equal(execute["parentSpanId"], gateway["spanId"], "the execution is below the request")
    steps = {span["name"] for span in mine if span.get("parentSpanId") == execute["spanId"]}
    expect_in("call", steps, "steps of the execution")
    for span in mine:
        expect(int(span["endTimeUnixNano"]) >= int(span["startTimeUnixNano"]), f"times of {span['name']}")
    expect("canary-in-a-query" not in json.dumps(mine), "a query string is in a span")
    unsampled = "1af7651916cd43dd8448eb211c80319c"
    world.call("/counter", headers={"traceparent": f"00-{unsampled}-{parent}-00"})
    time.sleep(1.5)
    expect(all(span["traceId"] != unsampled for span in world.collector.spans()), "a caller's decision not to sample is kept")


@test("a collector that takes nothing costs spans, not requests, and one line says so")
def refused_spans(world):
    world.collector.takes = False
    for trace in ("2af7651916cd43dd8448eb211c80319c", "3af7651916cd43dd8448eb211c80319c"):
        answer = world.call("/counter", headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
        expect_equal(answer.status, 200, "call")
    eventually(lambda: "telemetry.refused" in world.platform.server.output(), 30, "a line about it")

    def dropped():
        lines = world.metrics.get("/metrics").text().splitlines()
        return any(float(line.split()[1]) > 0 for line in lines if line.startswith("alga_spans_dropped_total "))

    eventually(dropped, 30, "spans that were dropped, in the metrics")
    expect_equal(world.platform.server.output().count("telemetry.refused"), 1, "lines about it")
    world.collector.takes = True


@test("with log.format = text the lines are for people, and only the asked-for share of good executions is logged")
def text_lines(world):
    before = world.platform.server.output().count(": \"execution\"")
    for _ in range(20):
        world.call("/counter")
    world.call("/throw")
    output = world.platform.server.output()
    line = next(line for line in output.splitlines() if "\"ready\"" in line)
    expect(" info  algad: \"ready\" port=" in line and not line.startswith("{"), f"a line for people: {line}")
    eventually(lambda: "end_class=\"guest_error\"" in world.platform.server.output(), 30, "the line of an execution that failed")
    good = [line for line in world.platform.server.output().splitlines() if ": \"execution\"" in line and "end_class=\"ok\"" in line]
    expect_equal((before, good), (0, []), "lines of executions that ended well, of which none are asked for")


@test("the public listener speaks TLS, asks for a client certificate where it shall, and follows a renewed certificate")
def public_tls(world):
    folder = world.platform.folder / "tls"
    authority = Authority(folder / "ca")
    certificate, key = authority.issue("public.test")
    visitor = authority.issue("visitor.test")
    watched = free_port()
    config = f"""
[server]
metrics_listen = "127.0.0.1:{watched}"

[tls]
certificate = "{certificate}"
key = "{key}"
client_ca = "{authority.ca}"
"""
    server = Algad("all", folder / "server", config=config)
    server.ready_origin = f"http://127.0.0.1:{watched}"

    def serial():
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as plain:
            with authority.context(visitor).wrap_socket(plain, server_hostname="public.test") as secure:
                secure.sendall(b"GET /api/v1/tenants HTTP/1.1\r\nhost: public.test\r\nconnection: close\r\n\r\n")
                expect_in(b" 401 ", secure.recv(1000).split(b"\r\n")[0], "an answer over TLS")
                return secure.getpeercert()["serialNumber"]

    with server:
        first = serial()
        try:
            with socket.create_connection(("127.0.0.1", server.port), timeout=5) as plain:
                with authority.context().wrap_socket(plain, server_hostname="public.test") as secure:
                    secure.sendall(b"GET / HTTP/1.1\r\nhost: public.test\r\n\r\n")
                    expect_equal(secure.recv(1000), b"", "an answer without a client certificate")
        except (ssl.SSLError, ConnectionError):
            pass
        authority.issue("public.test")
        eventually(lambda: serial() != first, 15, "the renewed certificate", every=0.5)


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder, Collector(folder) as collector:
        ports = free_port(), free_port()
        key = Path(folder) / "session.key"
        key.write_text(base64.b64encode(SESSION_KEY).decode())
        config = f"""{CONFIG}
[server]
internal_listen = "127.0.0.1:{ports[0]}"
metrics_listen = "127.0.0.1:{ports[1]}"

[gateway.oidc]
issuer = "{collector.origin}"
audience = "alga"

[gateway.session]
key = "file:{key}"

[telemetry]
otlp_url = "{collector.origin}"
trace_sample = 0.0

[log]
format = "text"
execution_sample = 0.0
"""
        platform = Platform(Path(folder) / "platform", config=config)
        platform.server.ready_origin = f"http://127.0.0.1:{ports[1]}"
        with platform:
            return main(World(platform, collector, ports))


sys.exit(run())
