#!/usr/bin/python3
"""Every command of sdk/docs runs, in the order of the pages, with the packages as they are published.

The `sh` blocks of a page are walked line by line in a scratch folder, against a real server. The
command is the one that the first line of the quickstart installs from its tarball. What people enter
at a prompt comes from standard input; commands that go on are interrupted once they have done
something. A page with commands that is not in PAGES fails the test.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from harness.author import ROOT, SDK, Author, GuestTools, release_only, scratch
from harness.platform import Platform
from harness.server import program
from harness.tap import Failed, Skip, eventually, expect, expect_equal, expect_in, main, test

DOCS = SDK / "docs"
TENANT = "acme"
PUBLISHER = "example"
SECRET = "canary-3c9d10-secret-of-the-docs"
REFERENCE = "https://extensions.example.com"
# Where `alga dev` answers unless it is told otherwise, as the pages say.
DEV_PORT = 3210
# Ends what hangs; a machine that is busy with ten other things compiles for minutes.
COMMAND_SECONDS = 900
START_SECONDS = 600
# Commands that go on until they are interrupted, and what they print once they work.
GOES_ON = {
    r"alga dev\b(?!.*--no-watch$)": "Ready at",
    r"alga logs .*--follow": "greeting",
    r"alga test .*--watch": "Waiting for file changes",
}
# Commands whose purpose on their page is to show a failure: exit status and a part of the output.
SHOWS_FAILURE = {
    ("debugging.md", "alga invoke my-extension /tickets --include"): (1, "src/index.ts:"),
    ("debugging.md", "alga invoke my-extension /tickets"): (1, "src/index.ts:"),
    ("migration.md", "alga migrate check my-old-project"): (1, "migrate.core_module"),
}


@dataclass
class Step:
    """One line of a shell example, and the page it stands on."""

    page: str
    line: str


@dataclass
class World:
    platform: Platform
    author: Author
    folder: Path
    tools: GuestTools
    dev_port: int
    running: list = field(default_factory=list)

    def stop(self):
        """Interrupts what goes on; it must end well."""
        while self.running:
            step, process, log = self.running.pop()
            os.killpg(process.pid, signal.SIGINT)
            status = process.wait(60)
            if status != 0:
                raise Failed(f"{step.line} ended with {status}:\n{log.read_text()[-3000:]}")


def examples(page):
    """The lines of the shell examples of a page, continued lines joined, comments left out."""
    text = (DOCS / page).read_text()
    for block in re.findall(r"^( *)```sh\n(.*?)^\1```", text, re.M | re.S):
        for line in block[1].replace("\\\n", " ").splitlines():
            line = re.sub(r"(^|\s)#.*$", "", line).strip()
            if line:
                yield Step(page, line)


def run(world, step, cwd):
    """Runs one line; returns the folder that the next line runs in."""
    if step.line.startswith("cd "):
        return cwd / step.line.removeprefix("cd ")
    line = step.line.replace(REFERENCE, world.platform.server.origin)
    if world.dev_port != DEV_PORT:
        line = re.sub(r"^alga dev\b", f"alga dev --port {world.dev_port}", line).replace(f"127.0.0.1:{DEV_PORT}", f"127.0.0.1:{world.dev_port}")
    ready = next((text for pattern, text in GOES_ON.items() if re.match(pattern, line)), None)
    if ready is not None:
        start(world, step, line, cwd, ready)
        return cwd
    feed = {"alga login": world.platform.token_file.read_text(), "alga secrets set": SECRET}
    given = next((text for head, text in feed.items() if line.startswith(head) and "--file" not in line), "")
    said = world.author.program(["bash", "-c", line], cwd=cwd, feed=given, seconds=COMMAND_SECONDS)
    wanted, shown = SHOWS_FAILURE.get((step.page, step.line), (0, ""))
    if said.status != wanted:
        raise Failed(f"{step.page}: {step.line} ended with {said.status}, wanted {wanted}:\n{said.all()[-3000:]}")
    expect_in(shown, said.all(), f"output of {step.line}")
    expect(SECRET not in said.all(), f"{step.line} prints the secret")
    after(world, line, cwd)
    return cwd


def start(world, step, line, cwd, ready):
    log = world.folder / f"{len(list(world.folder.glob('*.log')))}.log"
    with open(log, "wb") as out:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {line}"],
            cwd=cwd,
            env=world.author.env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    world.running.append((step, process, log))
    eventually(lambda: ready in log.read_text() or process.poll() is not None, START_SECONDS, f"{line} says {ready!r}")
    expect(process.poll() is None, f"{line} ended with {process.poll()}:\n{log.read_text()[-3000:]}")
    if "dev" not in line:
        world.stop()


def after(world, line, cwd):
    """What the text between the commands says that somebody else does."""
    if line.startswith("alga keygen"):
        public = re.search(r'"public_key": ?"([^"]+)"', (cwd / "alga-signing.pub.json").read_text()).group(1)
        answer = world.platform.operator.post(f"/api/v1/publishers/{PUBLISHER}/keys", {"public_key": public})
        expect_equal(answer.status, 201, f"registering the key ({answer.text()})")


def walk(world, page, cwd):
    cwd.mkdir(parents=True, exist_ok=True)
    count = 0
    try:
        for step in examples(page):
            cwd = run(world, step, cwd)
            count += 1
    finally:
        world.stop()
    print(f"# {page}: {count} commands")


def port_for_dev():
    """The one that the pages name, or another when this machine uses that."""
    for port in (DEV_PORT, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return probe.getsockname()[1]
            except OSError:
                print(f"# port {port} is taken on this machine")
    raise Failed("no port is free")


@test("quickstart: from the tarball of the command to an installed extension that answers")
def quickstart(world):
    base = world.folder / "quickstart"
    base.mkdir()
    packed = world.author.program(["npm", "pack", "--pack-destination", base, SDK / "alga-cli"])
    expect_equal(packed.status, 0, f"npm pack ({packed.all()})")
    (base / packed.out.split()[-1]).rename(base / "alga-cli-1.0.0.tgz")
    began = time.monotonic()
    walk(world, "quickstart.md", base)
    seconds = time.monotonic() - began
    print(f"# the whole page, installing included: {seconds:.0f} s")
    answer = world.platform.call(TENANT, f"{PUBLISHER}.my-extension", "/hello?name=Ann")
    expect_equal((answer.status, answer.json()), (200, {"hello": "Ann"}), "what the installed extension answers")
    installed = shutil.which("alga", path=world.author.env["PATH"])
    expect(installed and str(SDK) not in str(Path(installed).resolve()), f"the command that ran was {installed}")


def in_the_project(page, **files):
    @test(f"{page}: its commands run in the project of the quickstart")
    def walked(world):
        project = world.folder / "quickstart" / "my-extension"
        for name, content in files.items():
            (project / name.replace("_", ".")).write_text(content(world) if callable(content) else content)
        walk(world, page, project)


def publisher_key(world):
    """The second token of debugging.md, as an operator makes it: it reads maps, and nothing of a tenant."""
    answer = world.platform.operator.post(
        "/api/v1/api-keys", {"label": "maps of the docs", "role": "publisher", "publisher": PUBLISHER}
    )
    expect_equal(answer.status, 201, f"a publisher's token ({answer.text()})")
    return answer.json()["key"]


in_the_project("capabilities.md")
in_the_project("configuration-and-secrets.md", key_txt=SECRET)
in_the_project("testing.md")
in_the_project("debugging.md", publisher_key=publisher_key)
in_the_project("limits.md")


@test("pages.md: its project builds with its page")
def pages(world):
    folder = world.folder / "pages"
    walk(world, "pages.md", folder)
    expect((folder / "my-pages" / "ui" / "index.html").exists(), "the page of the new project")


@test("other-languages.md: every language builds and publishes")
def other_languages(world):
    for language in ("rust", "python", "cpp"):
        if reason := world.tools.missing(language):
            raise Skip(reason)
    folder = world.folder / "languages"
    folder.mkdir()
    shutil.copy(world.folder / "quickstart" / "my-extension" / "alga-signing.key", folder)
    walk(world, "other-languages.md", folder)
    for language in ("rust", "python", "cpp"):
        expect((folder / f"hello-{language}" / "dist" / "main.wasm").exists(), f"component of {language}")


@test("migration.md: a bundle is checked, a core module wrapped and published")
def migration(world):
    folder = world.folder / "migration"
    for name in (".", "my-old-project"):
        (folder / name / "dist").mkdir(parents=True, exist_ok=True)
        shutil.copy(SDK / "samples" / "legacy-hello" / "manifest.json", folder / name)
    project = world.folder / "quickstart" / "my-extension"
    shutil.copy(project / "alga-signing.key", folder)
    said = world.author.program(["alga", "pack", "--out", folder / "bundle.tar.zst"], cwd=project)
    expect_equal(said.status, 0, f"packing ({said.all()})")
    jco = SDK / "node_modules" / "@bytecodealliance" / "jco" / "dist" / "jco.js"
    source = SDK / "samples" / "legacy-hello" / "main.wat"
    made = world.author.program(["node", jco, "parse", source, "-o", folder / "handler.wasm"])
    expect_equal(made.status, 0, f"assembling ({made.all()})")
    shutil.copy(folder / "handler.wasm", folder / "my-old-project" / "dist" / "main.wasm")
    walk(world, "migration.md", folder)


@test("fixtures.md: a fixture is built, packed, signed and verified; regenerating changes nothing")
def fixtures(world):
    folder = world.folder / "fixtures"
    folder.mkdir()
    steps = list(examples("fixtures.md"))
    generating = [step for step in steps if step.line.startswith("npm run generate")]
    expect_equal(len(generating), 2, "commands that regenerate")
    cwd = folder
    for step in steps:
        if step not in generating:
            cwd = run(world, step, cwd)
            if step.line.startswith("alga new"):
                world.author.link(folder / "fixture")
    made = [SDK / "runtime-bindings" / "types" / "runner.d.ts", DOCS / "cli-reference.md", DOCS / "manifest-reference.md"]
    before = [path.read_bytes() for path in made]
    for step in generating:
        run(world, step, SDK)
    expect_equal([path.read_bytes() for path in made], before, "generated files")


@test("no page has commands that nothing here walks")
def every_page(world):
    walked = {"quickstart.md", "capabilities.md", "configuration-and-secrets.md", "testing.md", "debugging.md", "limits.md"}
    walked |= {"pages.md", "other-languages.md", "migration.md", "fixtures.md"}
    with_commands = {path.name for path in DOCS.glob("*.md") if list(examples(path.name))}
    expect_equal(with_commands - walked, set(), "pages with commands")


@test("the secret of the docs is in no file of the server")
def canary(world):
    expect_equal(world.platform.files_holding(SECRET), [], "files that hold the secret")


def prepare(platform, folder):
    platform.tenant(TENANT)
    expect_equal(platform.operator.post("/api/v1/publishers", {"name": PUBLISHER}).status, 201, "new publisher")
    author = Author(folder / "author", tenant=TENANT)
    tools = GuestTools(author)
    prefix = folder / "global"
    author.env["npm_config_prefix"] = str(prefix)
    author.env["PATH"] = f"{prefix / 'bin'}{os.pathsep}{author.env['PATH']}"
    author.env["ALGAD"] = program()
    return World(platform, author, folder, tools, port_for_dev())


def run_all():
    release_only("the commands of the docs")
    expect(ROOT.exists(), "the checkout")
    with scratch() as folder:
        folder = Path(folder)
        with Platform(folder / "platform") as platform:
            return main(prepare(platform, folder))


sys.exit(run_all())
