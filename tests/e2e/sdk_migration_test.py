#!/usr/bin/python3
"""What was built for the reference system comes here: its components as they are, its core modules wrapped."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from harness.author import ROOT, SDK, Workshop, release_only, scratch, with_settings
from harness.platform import CONFIG, Platform, loopback_rules
from harness.tap import eventually, expect, expect_equal, expect_in, main, test
from harness.upstream import Upstream

GUESTS = ROOT / "tests" / "guests"
SECRET = "canary-77ab01-secret-of-the-reference"
POLICY = 'legacy_modules_until = "2100-01-01T00:00:00Z"\n'
# What the reference's command line calls, word for word; the folder has its contract under wit/.
REFERENCE_BUILD = "npx jco componentize src/index.js --wit wit/extension-runner.wit --world-name runner --disable all --out dist/main.wasm"


class World:
    """`platform` takes core modules until 2100, `strict` takes none."""

    def __init__(self, platform, strict, upstream):
        self.platform, self.strict, self.upstream = platform, strict, upstream
        self.shop, self.strict_shop = Workshop(platform), Workshop(strict)
        self.author = self.shop.author
        self.installs = {}

    def project(self, name, manifest, module=None):
        """A project whose dist/main.wasm is made already."""
        folder = self.author.folder / name
        (folder / "dist").mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=2))
        if module:
            (folder / "dist" / "main.wasm").write_bytes(module)
        return folder

    def publish(self, folder, egress=()):
        published = self.shop.publish(folder, "--no-build")
        install = self.shop.install(published["extension"]["id"], egress=egress)
        self.installs[folder.name] = install["id"]
        return published, install

    def call(self, name, path):
        return self.shop.call(self.installs[name], path)

    def fails(self, name, code, result):
        """Calls a module whose handler returns `result`: its caller hears `code`, its author what it returned."""
        answer = self.call(name, "/hello")
        expect_equal((answer.status, answer.json()["code"]), (502, code), f"{name} ({answer.text()})")
        record = self.platform.record(self.shop.TENANT, answer)
        expect_equal(record["author_error"], f"the handler returned {result}", f"what the author of {name} is told")

    def log(self, name):
        lines = self.author.json("logs", self.installs[name])["lines"]
        return [(line["level"], line["message"]) for line in lines]


def legacy_manifest(name, *capabilities):
    return {
        "name": name,
        "publisher": "example",
        "version": "1.0.0",
        "runtime": "wasm-core@1",
        "capabilities": list(capabilities),
        "api": {"endpoints": [{"method": "GET", "path": "/hello"}]},
    }


def assemble(world, text):
    """The core module of a text, by the assembler that comes with the command's own packages."""
    source, module = world.author.folder / "module.wat", world.author.folder / "module.wasm"
    source.write_text(text)
    command = ["node", SDK / "node_modules" / "@bytecodealliance" / "jco" / "dist" / "jco.js", "parse", source, "-o", module]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60)
    expect_equal(done.returncode, 0, f"assembling ({done.stderr})")
    return module.read_bytes()


def legacy_module(world, body, answer="", fetch=""):
    text = (GUESTS / "legacy" / "module.wat").read_text()
    quoted = {"ANSWER": answer, "FETCH": fetch}
    for name, value in quoted.items():
        text = text.replace(f"@{name}@", value.replace('"', '\\"'))
    return assemble(world, text.replace("@BODY@", body))


@test("the reference's own command builds a bundle that publishes, with the warning about frozen clock and random")
def reference_build(world):
    folder = world.author.copy(GUESTS / "reference", "reference")
    (folder / "wit").mkdir()
    (folder / "dist").mkdir()
    shutil.copy(ROOT / "wit" / "compat" / "extension-runner.wit", folder / "wit")
    built = world.author.program(REFERENCE_BUILD.split(), cwd=folder)
    expect_equal(built.status, 0, f"{REFERENCE_BUILD}\n{built.all()}")
    found = {finding["code"]: finding["weight"] for finding in world.author.json("migrate", "check", folder)["findings"]}
    expect_equal(found.get("component.frozen_clock_and_random"), "changes", "what migrate check says of the clock")
    expect_equal(found.get("migrate.unversioned"), "note", "what migrate check says of the package")
    published, install = world.publish(folder, loopback_rules(world.upstream))
    # The command's own, and what the server says in its words.
    wanted = {"component.undeclared_capability", "component.frozen_clock_and_random", "component.undeclared_import", "component.frozen_clock"}
    expect_equal({warning["code"] for warning in published["warnings"]}, wanted, "warnings of publishing")
    world.author.run("secrets", "set", install["id"], "alga_api_key", feed=SECRET)


@test("it runs: context, secret, outgoing call, log and storage through the unversioned interfaces")
def reference_runs(world):
    answer = world.call("reference", f"/job?api={world.upstream.origin}/orders")
    expect_equal(answer.status, 200, f"status ({answer.text()})")
    expect_equal(answer.json(), {"tenantId": world.shop.TENANT, "upstream": 200, "revision": 1}, "answer")
    _, path, headers, _ = world.upstream.seen()[-1]
    expect_equal((path, headers.get("x-api-key")), ("/orders", SECRET), "what the API saw")
    eventually(lambda: ("info", "the API answered 200") in world.log("reference"), 10, "its log line")


@test("its clock and random numbers stand still, as the warning says")
def reference_frozen(world):
    first, second = world.call("reference", "/frozen"), world.call("reference", "/frozen")
    expect_equal((first.status, sorted(first.json())), (200, ["id", "now"]), f"time and UUID ({first.text()})")
    expect_equal((second.status, second.json()), (200, first.json()), "time and UUID of two requests")


@test("a core module is refused by a server without the policy, which names the way out")
def refused(world):
    module = assemble(world, (SDK / "samples" / "legacy-hello" / "main.wat").read_text())
    folder = world.project("refused", legacy_manifest("com.example.legacy-core"), module)
    author = world.strict_shop.author
    said = author.json("publish", "--key", world.strict_shop.key, "--no-build", cwd=folder, expect=None)
    expect_equal((said["ok"], said["error"]["code"]), (False, "COMPONENT_REQUIRED"), "answer")
    expect_in("alga migrate wrap", said["error"]["message"], "message")
    blocked = world.author.json("migrate", "check", folder, expect=1)["error"]
    expect_in("migrate.core_module", [finding["code"] for finding in blocked["findings"]], "findings of migrate check")


@test("the same core module is accepted until the date of the policy, with a warning, and answers")
def accepted(world):
    module = (world.author.folder / "refused" / "dist" / "main.wasm").read_bytes()
    folder = world.project("accepted", legacy_manifest("com.example.legacy-core"), module)
    published, _ = world.publish(folder)
    expect_equal([warning["code"] for warning in published["warnings"]], ["component.core_module"], "warnings of publishing")
    answer = world.call("accepted", "/hello")
    expect_equal((answer.status, answer.json()), (200, {"hello": "world", "from": "WAT"}), "answer")
    eventually(lambda: ("info", "hello from a legacy module") in world.log("accepted"), 10, "its log line")


@test("alga migrate wrap makes a component of it that the strict server takes too, and it answers the same")
def wrapped(world):
    core = world.author.folder / "refused" / "dist" / "main.wasm"
    folder = world.project("wrapped", legacy_manifest("com.example.legacy-hello"))
    world.author.run("migrate", "wrap", core, "--out", folder / "dist" / "main.wasm")
    component = (folder / "dist" / "main.wasm").read_bytes()
    expect_in(b"hello from a legacy module", component, "data of the module inside")
    for shop in (world.shop, world.strict_shop):
        published = shop.publish(folder, "--no-build")
        install = shop.install(published["extension"]["id"])
        answer = shop.call(install["id"], "/hello")
        expect_equal((answer.status, answer.json()), (200, {"hello": "world", "from": "WAT"}), "answer")


@test("a result that is no JSON of the ABI is the body of a 200, another result than 0 is an error")
def results(world):
    opaque = "(call $answer (local.get $out) (i32.const 64) (i32.const 10)) (i32.const 0)"
    folder = world.project("opaque", legacy_manifest("com.example.opaque"), legacy_module(world, opaque, answer="plain text"))
    world.publish(folder)
    answer = world.call("opaque", "/hello")
    expect_equal((answer.status, answer.text()), (200, "plain text"), "opaque answer")
    failing = "(call $log_error (i32.const 16) (i32.const 13)) (i32.const 7)"
    folder = world.project("failing", legacy_manifest("com.example.failing"), legacy_module(world, failing))
    world.publish(folder)
    world.fails("failing", "engine.trap", 7)
    eventually(lambda: ("error", "a legacy line") in world.log("failing"), 10, "its error line")


@test("http.fetch of a core module goes through capability and egress rules like everybody's")
def fetch(world):
    request = json.dumps({"url": f"{world.upstream.origin}/legacy", "method": "GET", "headers": {}})
    # The host's answer of the call is the handler's own answer.
    body = f"""(call $fetch (i32.const 512) (i32.const {len(request)}) (local.get $out))"""
    module = legacy_module(world, body, fetch=request)
    allowed = world.project("fetch", legacy_manifest("com.example.fetch", "cap:http.fetch"), module)
    world.publish(allowed, loopback_rules(world.upstream))
    before = len(world.upstream.seen())
    answer = world.call("fetch", "/hello")
    expect_equal(answer.status, 200, f"status ({answer.text()})")
    expect_equal(answer.json()["path"], "/legacy", "what the API answered")
    expect_equal(len(world.upstream.seen()), before + 1, "calls that the API saw")
    # Both hear 2, not allowed; for want of a rule it is the operator's affair.
    for name, capabilities, code in (("no-capability", (), "engine.trap"), ("no-rule", ("cap:http.fetch",), "engine.egress_denied")):
        world.publish(world.project(name, legacy_manifest(f"com.example.{name}", *capabilities), module))
        world.fails(name, code, 2)
    expect_equal(len(world.upstream.seen()), before + 1, "calls that the API saw after the denials")


@test("legacy and component extensions of one tenant are served side by side")
def side_by_side(world):
    for _ in range(3):
        expect_equal(world.call("accepted", "/hello").json()["from"], "WAT", "the core module")
        expect_equal(world.call("reference", f"/job?api={world.upstream.origin}/").status, 200, "the component")
        expect_equal(world.call("opaque", "/hello").text(), "plain text", "another core module")
    slugs = {install["slug"] for install in world.author.json("list")["installs"]}
    for name in ("reference", "legacy-core", "opaque"):
        expect(any(slug.endswith(f"com.example.{name}") for slug in slugs), f"{name} is not among the installs {slugs}")


def run():
    release_only("migration from the reference system")
    with scratch() as folder, Upstream() as upstream:
        folder = Path(folder)
        with Platform(folder / "legacy", with_settings(CONFIG, "publishing", POLICY)) as platform, Platform(folder / "strict") as strict:
            return main(World(platform, strict, upstream))


sys.exit(run())
