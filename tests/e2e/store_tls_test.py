#!/usr/bin/python3
"""A bundle store and a host application that speak TLS: a runner believes the authority that `tls.ca` names, and no other."""

import base64
import json
import ssl
import sys
import tempfile
from pathlib import Path

from harness import bundle
from harness.authority import Authority
from harness.lone_runner import EXTENSION, TENANT, LoneRunner, execution
from harness.loopback import LoopbackServer
from harness.server import fixture
from harness.servers import ObjectStore
from harness.tap import expect_equal, main, test

ECHO = "js-echo.wasm"
#: Compiles in no time.
PLAIN = Path(__file__).resolve().parents[1] / "guests" / "text" / "echo.wasm"


class Secured(LoopbackServer):
    """The bundles of a folder and a host application, over TLS with a certificate of `authority`. Connections are not used twice."""

    def __init__(self, authority, folder):
        super().__init__()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*map(str, authority.issue("store.test")))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.origin = self.origin.replace("http:", "https:")
        self.folder, self.seen = folder, []

    def serve(self, handler, body):
        self.seen.append((handler.command, handler.path))
        handler.close_connection = True
        if handler.path.startswith("/host/"):
            return self.reply(handler, 200, b'{"from":"host"}')
        path = self.folder / handler.path.lstrip("/")
        self.reply(handler, 200 if path.is_file() else 404, path.read_bytes() if path.is_file() else b"")


class World:
    def __init__(self, folder, authority, stranger):
        self.folder, self.authority, self.stranger = folder, authority, stranger
        self.ca = folder / "believed.pem"
        self.ca.write_bytes(authority.ca.read_bytes())
        self.server = self.runner = None

    def answer(self, content_hash, path, query=None):
        body = {**execution(content_hash, path, query=query), "providers": ["cap:ui.proxy"]}
        result = self.runner.execute(body).json()
        if result["error"]:
            return result["status"], result["code"]
        return json.loads(base64.b64decode(result["body_b64"]))


@test("with the authority of tls.ca a bundle comes over HTTPS, and so does the answer of a host application")
def believed(world):
    world.first = world.runner.place(fixture(ECHO))
    world.second = world.runner.place(fixture(ECHO), files={"another": b"bundle"})
    expect_equal(world.answer(world.first, "/proxy", {"route": "/api/x"}), {"ok": '{"from":"host"}'}, "answer")
    expect_equal([path for _, path in world.server.seen if path.startswith("/host/")], ["/host/api/x"], "calls of the host application")


@test("signed by somebody else neither is believed, nothing is sent to them, and what is there runs on")
def not_believed(world):
    world.ca.write_bytes(world.stranger.ca.read_bytes())
    before = len(world.server.seen)
    expect_equal(world.answer(world.second, "/echo"), (502, "blob.unavailable"), "a bundle that is not there")
    expect_equal(world.answer(world.first, "/proxy", {"route": "/api/x"}), {"err": "internal"}, "a route")
    expect_equal(world.server.seen[before:], [], "requests that arrived")
    world.ca.write_bytes(world.authority.ca.read_bytes())
    expect_equal(world.answer(world.second, "/proxy", {"route": "/api/y"}), {"ok": '{"from":"host"}'}, "with the right authority again")


@test("an S3 server over TLS is believed and refused by the same authority")
def s3(world):
    with ObjectStore(world.folder / "objects", identity=world.authority.issue("s3.test")) as objects:
        believed = world.folder / "believed-of-s3.pem"
        believed.write_bytes(world.authority.ca.read_bytes())
        settings = f"""[tls]
ca = "{believed}"
[bundles.s3]
endpoint = "{objects.origin}"
bucket = "{objects.bucket}"
region = "{objects.region}"
access_key = "env:OBJECTS_ACCESS"
secret_key = "env:OBJECTS_SECRET"
"""
        runner = LoneRunner(world.folder / "of-s3", settings)
        runner.arguments += ["--set", "bundles.store=s3"]
        runner.env = {"OBJECTS_ACCESS": objects.access_key, "OBJECTS_SECRET": objects.secret_key}
        packed = world.folder / "of-s3.tar.zst"
        hashes = []
        for name in ("one", "two"):
            hashes.append(bundle.pack(PLAIN, bundle.manifest(), packed, {"name": name.encode()}))
            bundle.place(objects.folder / "s3" / objects.bucket, TENANT, EXTENSION, packed, hashes[-1])
        with runner:
            expect_equal(runner.execute(execution(hashes[0])).json()["status"], 200, "with its authority")
            believed.write_bytes(world.stranger.ca.read_bytes())
            objects.stop()  # and with it the connection that is believed already
            objects.start()
            refused = runner.execute(execution(hashes[1])).json()
            expect_equal((refused["status"], refused["code"]), (502, "blob.unavailable"), "with another one")
            believed.write_bytes(world.authority.ca.read_bytes())
            expect_equal(runner.execute(execution(hashes[1])).json()["status"], 200, "with the right authority again")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as name:
        folder = Path(name)
        world = World(folder, Authority(folder / "authority"), Authority(folder / "stranger", "a stranger"))
        settings = f'[tls]\nca = "{world.ca}"\n[runner.ui_proxy]\nurl = "ORIGIN/host"\n'
        bundles = folder / "runner" / "bundles"
        with Secured(world.authority, bundles) as world.server:
            world.runner = LoneRunner(folder / "runner", settings.replace("ORIGIN", world.server.origin))
            world.runner.arguments += ["--set", "bundles.store=http", "--set", f"bundles.url={world.server.origin}"]
            with world.runner:
                return main(world)


sys.exit(run())
