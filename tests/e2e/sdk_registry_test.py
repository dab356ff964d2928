#!/usr/bin/python3
"""The npm packages are published to a registry on this machine, and a project lives from them."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from harness.author import ROOT, SDK, Author, release_only, scratch
from harness.ports import free_port
from harness.server import fixture, run
from harness.tap import expect, expect_equal, expect_in, main, test

# The newest that runs on Node.js 20.
VERDACCIO = "6.1.6"
# Comes with Node.js 20 and 22. Its resolver is stricter than that of 11: a range of vitest that 11 takes broke it.
OLDEST_NPM = "npm@10"
PACKAGES = ("runtime-bindings", "iframe-sdk", "alga-cli")
START_SECONDS = 300
WIT = ROOT / "wit"
CONFIG = """\
storage: {folder}/storage
packages:
  '@alga/*':
    access: $all
    publish: $all
max_body_size: 64mb
log: {{type: stdout, format: pretty, level: warn}}
"""


class Registry:
    """verdaccio over an empty folder, for the packages of this repository and no others."""

    def __init__(self, author):
        cache = Path(os.environ.get("ALGA_CACHE") or Path.home() / ".cache" / "alga")
        home = cache / f"verdaccio-{VERDACCIO}"
        if not (home / ".complete").exists():
            home.mkdir(parents=True, exist_ok=True)
            # It asks for node-fetch by the tag `cjs`, which not every mirror of the registry keeps.
            package = {"private": True, "dependencies": {"verdaccio": VERDACCIO}, "overrides": {"node-fetch": "2.7.0"}}
            (home / "package.json").write_text(json.dumps(package))
            said = author.program(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=home)
            expect_equal(said.status, 0, f"installing verdaccio ({said.all()[-2000:]})")
            (home / ".complete").touch()
        self.url = f"http://127.0.0.1:{free_port()}"
        self.log = author.folder / "verdaccio.log"
        config = author.folder / "verdaccio.yaml"
        config.write_text(CONFIG.format(folder=author.folder))
        command = ["node", home / "node_modules" / "verdaccio" / "bin" / "verdaccio", "--config", config, "--listen", self.url]
        with open(self.log, "wb") as out:
            self.process = subprocess.Popen(
                [str(part) for part in command], env=author.env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
            )
        self._wait()

    def _wait(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.url}/-/ping", timeout=2).close()
                return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError(f"verdaccio did not start:\n{self.log.read_text()[-2000:]}")

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


class World:
    def __init__(self, author, registry):
        self.author, self.registry = author, registry
        # The scope goes to this registry, everything else where this machine's npm looks anyway.
        mine = author.folder / "npmrc"
        theirs = Path(author.env.get("NPM_CONFIG_USERCONFIG", "/nowhere"))
        ours = f"@alga:registry={registry.url}\n{registry.url.removeprefix('http:')}/:_authToken=nobody\n"
        mine.write_text((theirs.read_text() + "\n" if theirs.exists() else "") + ours)
        author.env["NPM_CONFIG_USERCONFIG"] = str(mine)

    def npm(self, *arguments, cwd=None, expect=0):
        said = self.author.program(["npm", *arguments], cwd=cwd)
        if expect is not None:
            expect_equal(said.status, expect, f"npm {' '.join(map(str, arguments))} ({said.all()[-3000:]})")
        return said


@test("all packages are published with what they declare, and nothing of the tests")
def publish(world):
    for folder in PACKAGES:
        world.npm("publish", SDK / folder)
    for name in ("@alga/extension-runtime", "@alga/extension-iframe-sdk", "@alga/cli"):
        about = json.loads(world.npm("view", name, "--json").out)
        expect_equal((about["version"], about["license"], about["type"]), ("1.0.0", "Apache-2.0", "module"), name)
        expect_equal(about["engines"], {"node": ">=20"}, f"engines of {name}")
    listed = json.loads(world.npm("pack", "--dry-run", "--json", SDK / "alga-cli").out)[0]["files"]
    names = [entry["path"] for entry in listed]
    expect_in("vendor/alga-extension-runtime.tgz", names, "files of the command")
    expect_equal([name for name in names if ".test." in name and not name.startswith("templates/")], [], "test files in the package")


@test("a version that is published already is refused")
def again(world):
    said = world.npm("publish", SDK / "iframe-sdk", expect=None)
    expect(said.status != 0, "a second publication of the same version was accepted")


@test("a project that names the packages by version installs them, passes its tests and builds")
def install(world):
    author = world.author
    author.run("new", "from-registry")
    project = author.folder / "from-registry"
    package = json.loads((project / "package.json").read_text())
    package["dependencies"]["@alga/extension-runtime"] = "^1.0.0"
    package["devDependencies"]["@alga/cli"] = "^1.0.0"
    (project / "package.json").write_text(json.dumps(package, indent=2))
    world.npm("install", "--no-audit", "--no-fund", cwd=project)
    lock = json.loads((project / "package-lock.json").read_text())["packages"]
    for name in ("extension-runtime", "cli"):
        wanted = world.npm("view", f"@alga/{name}", "dist.integrity").out.strip()
        expect_equal(lock[f"node_modules/@alga/{name}"]["integrity"], wanted, f"integrity of @alga/{name}")
    alga = project / "node_modules" / ".bin" / "alga"
    for command in ("test", "validate", "build"):
        said = author.program([alga, command], cwd=project)
        expect_equal(said.status, 0, f"alga {command} ({said.all()[-3000:]})")
    expect((project / "dist" / "main.wasm").stat().st_size > 1_000_000, "the component")


def alga_imports(component):
    """Functions with their types, by interface of ours that a component imports."""
    status, said, errors = run("inspect", component, "--json")
    expect_equal(status, 0, f"algad inspect {component} ({errors})")
    return {entry["name"]: entry["functions"] for entry in json.loads(said)["imports"] if entry["name"].startswith("alga:extension/")}


@test("what the published packages generate targets the contract of wit/: its files, and the types of every function that a component imports")
def contract(world):
    project = world.author.folder / "from-registry"
    for name in ("extension-runner.wit", "compat/extension-runner.wit"):
        ours = (WIT / name).read_bytes()
        for package in ("extension-runtime", "cli"):
            expect_equal((project / "node_modules" / "@alga" / package / "wit" / name).read_bytes(), ours, f"wit/{name} of @alga/{package}")
    generated = list((project / ".alga").rglob("extension-runner.wit"))
    expect_equal([path.read_bytes() for path in generated], [(WIT / "extension-runner.wit").read_bytes()], f"the contract of the project's world ({generated})")
    # Built from wit/ by componentize-js itself, with every interface.
    wanted = alga_imports(fixture("js-echo.wasm"))
    declared = json.loads((project / "manifest.json").read_text())["capabilities"]
    made = alga_imports(project / "dist" / "main.wasm")
    expect(len(made) >= len(declared) > 1, f"interfaces that it imports: {sorted(made)}")
    expect_equal(made, {name: wanted.get(name) for name in made}, "functions and types")


@test("the packages of every npm template resolve with the npm of Node.js 20 too")
def oldest_npm(world):
    for template in ("handler", "handler-ui"):
        world.author.run("new", f"old-npm-{template}", "--template", template)
        project = world.author.folder / f"old-npm-{template}"
        install = ("install", "--no-audit", "--no-fund", "--package-lock-only")
        world.npm("exec", "--yes", f"--package={OLDEST_NPM}", "--", "npm", *install, cwd=project)
        packages = json.loads((project / "package-lock.json").read_text())["packages"]
        expect_in("node_modules/vitest", packages, f"packages of {template}")


def run_all():
    release_only("publishing the packages")
    with scratch() as folder:
        author = Author(Path(folder) / "author")
        registry = Registry(author)
        try:
            return main(World(author, registry))
        finally:
            registry.stop()


sys.exit(run_all())
