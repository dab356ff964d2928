#!/usr/bin/python3
"""docs/operations: the walkthrough is followed, block by block, in an empty folder; every other command that the
pages name exists with the options they name."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import bundle
from harness.client import Client
from harness.server import fixture, program, surroundings
from harness.servers import free_port
from harness.tap import expect, expect_equal, main, test

DOCS = Path(__file__).resolve().parents[2] / "docs" / "operations"
BLOCK = re.compile(r"^```sh(?: (server|stop))?\n(.*?)^```$", re.M | re.S)
READY_SECONDS = 60


class Walk:
    """A folder, a shell whose variables outlive each block, and the server that a block started."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.port = free_port()
        tools = self.folder / ".tools"
        tools.mkdir()
        (tools / "algad").symlink_to(program())
        self.env = surroundings({"PATH": f"{tools}:{os.environ['PATH']}"})
        self.server_env = dict(self.env)
        self.server = None
        manifest = bundle.manifest("echo", "1.0.0", ["cap:config.read", "cap:secrets.get"])
        del manifest["api"]
        bundle.pack(fixture("js-echo.wasm"), manifest, self.folder / "bundle.tar.zst")

    def block(self, kind, text):
        text = text.replace("127.0.0.1:8080", f"127.0.0.1:{self.port}")
        if kind == "server":
            self.start(text)
        elif kind == "stop":
            self.stop()
        else:
            self.run(text)

    def run(self, text):
        kept = self.folder / ".tools" / "env"
        script = f"set -euo pipefail\n{text}\nenv -0 > {kept}\n"
        done = subprocess.run(["bash", "-c", script], cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=300)
        expect_equal(done.returncode, 0, f"status of:\n{text}\n{done.stdout}\n{done.stderr}")
        pairs = (entry.split("=", 1) for entry in kept.read_text().split("\0") if "=" in entry)
        self.env = {name: value for name, value in pairs if name not in ("_", "SHLVL", "PWD", "OLDPWD")}

    def start(self, text):
        with open(self.folder / ".tools" / "server.log", "ab") as log:
            self.server = subprocess.Popen(text.split(), cwd=self.folder, env=self.server_env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + READY_SECONDS
        while True:
            expect(self.server.poll() is None and time.monotonic() < deadline, f"the server is not ready:\n{self.log()[-3000:]}")
            try:
                if Client(f"http://127.0.0.1:{self.port}", timeout=5).get("/readyz").status == 200:
                    return
            except OSError:
                time.sleep(0.05)

    def stop(self):
        if self.server is not None and self.server.poll() is None:
            self.server.send_signal(signal.SIGTERM)
            expect_equal(self.server.wait(45), 0, "exit status of the server")

    def log(self):
        return (self.folder / ".tools" / "server.log").read_text(errors="replace")


@test("the walkthrough works in an empty folder, block by block")
def walkthrough(walk):
    blocks = BLOCK.findall((DOCS / "walkthrough.md").read_text())
    expect(len(blocks) > 12, f"{len(blocks)} blocks")
    try:
        for kind, text in blocks:
            walk.block(kind, text)
    finally:
        walk.stop()


def commands_of_the_pages():
    """`algad …` in backquotes or at the beginning of a line of a block, without what stands for a value."""
    found = set()
    for page in [*DOCS.glob("*.md"), DOCS.parents[1] / "README.md"]:
        text = page.read_text()
        found |= {(page.name, command) for command in re.findall(r"`(algad [^`]+)`", text)}
        for _, block in BLOCK.findall(text):
            found |= {(page.name, line.split("|")[0]) for line in re.findall(r"^(algad .+)$", block, re.M)}
    return found


@test("every algad command that a page names exists, with its options")
def named(walk):
    commands = commands_of_the_pages()
    expect(len(commands) > 20, f"{len(commands)} commands")
    for page, command in sorted(commands):
        words = [word for word in command.replace("\\", "").split()[1:] if not word.startswith(("…", "<"))]
        chain, options = [], [word for word in words if word.startswith("--")]
        for word in words:
            if not re.fullmatch(r"[a-z][a-z-]*", word):
                break
            chain.append(word)
        help_text = help_of(walk, chain)
        expect(help_text is not None, f"{page}: {command}: there is no such command")
        for option in options:
            name = option.split("=")[0]
            expect(name in help_text, f"{page}: {command}: no option {name}")


def help_of(walk, chain):
    """The help of the longest beginning of `chain` that is a command; what follows are values."""
    for length in range(len(chain), 0, -1):
        done = subprocess.run([program(), *chain[:length], "--help"], env=walk.env, capture_output=True, text=True, timeout=60)
        if done.returncode == 0 and (length == len(chain) or "SUBCOMMAND" not in done.stdout):
            # Options of `admin` itself may follow any of its commands.
            more = ["admin"] if chain[0] == "admin" else []
            extra = subprocess.run([program(), *more, "--help"], env=walk.env, capture_output=True, text=True, timeout=60)
            return done.stdout + extra.stdout
    return None


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder:
        return main(Walk(folder))


sys.exit(run())
