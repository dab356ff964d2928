"""Follows a page of docs/operations: its blocks are run in order, in one folder, by one shell."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

from . import bundle
from .client import Client
from .server import fixture, program, surroundings
from .tap import expect, expect_equal

DOCS = Path(__file__).resolve().parents[3] / "docs" / "operations"
BLOCK = re.compile(r"^```sh(?: (server|stop))?(?: ([a-z-]+))?\n(.*?)^```$", re.M | re.S)
READY_SECONDS = 60
STOP_SECONDS = 45


def blocks_of(page):
    """(kind, name, text) of each block; the kind is empty, `server` or `stop`."""
    return BLOCK.findall((DOCS / page).read_text())


class Walk:
    """A folder, a shell whose variables outlive each block, and the servers that blocks started.

    `ports` maps the ports that the page names to free ones; a server is ready when the port of its entry in
    `health` answers.
    """

    def __init__(self, folder, ports, health, env=None):
        self.folder = Path(folder)
        self.ports = ports
        self.health = health
        self._tools = self.folder / ".tools"
        self._tools.mkdir(parents=True)
        self.tool("algad", program())
        given = {"PATH": os.environ["PATH"], **(env or {})}
        self.env = surroundings({**given, "PATH": f"{self._tools}:{given['PATH']}"})
        self.servers = {}
        manifest = bundle.manifest("echo", "1.0.0", ["cap:config.read", "cap:secrets.get"])
        del manifest["api"]
        bundle.pack(fixture("js-echo.wasm"), manifest, self.folder / "bundle.tar.zst")

    def tool(self, name, path):
        """Puts a program on the shell's PATH."""
        (self._tools / name).symlink_to(path)

    def follow(self, page, at_least):
        """Runs every block of a page that has at least so many."""
        blocks = blocks_of(page)
        expect(len(blocks) >= at_least, f"{page}: {len(blocks)} blocks")
        try:
            for kind, name, text in blocks:
                self.block(kind, name or "server", text)
            for name in list(self.servers):
                self.stop(name)
        finally:
            for server in self.servers.values():
                server.kill()
                server.wait()

    def block(self, kind, name, text):
        for written, free in self.ports.items():
            # Not in what a `sed` of the page looks for in the samples: `0.0.0.0:8080`, `postgres:5432`.
            text = re.sub(rf"(?<![a-z0]:)\b{written}\b", str(free), text)
        if kind == "server":
            self.start(name, text)
        elif kind == "stop":
            self.stop(name)
        else:
            self.run(text)

    def run(self, text):
        kept = self._tools / "env"
        script = f"set -euo pipefail\n{text}\nenv -0 > {kept}\n"
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900
        )
        expect_equal(done.returncode, 0, f"status of:\n{text}\n{done.stdout}\n{done.stderr}\n{self.logs()}")
        pairs = (entry.split("=", 1) for entry in kept.read_text().split("\0") if "=" in entry)
        self.env = {name: value for name, value in pairs if name not in ("_", "SHLVL", "PWD", "OLDPWD")}

    def start(self, name, text):
        # What the shell exported for the commands of the operator is no setting of the server.
        env = surroundings({key: value for key, value in self.env.items() if not key.startswith("ALGA_")})
        env["ALGA_ENGINE_COMPILE_TIMEOUT"] = "10m"  # a busy machine compiles slowly
        with open(self.folder / f"{name}.log", "ab") as log:
            server = subprocess.Popen([program(), *text.split()[1:]], cwd=self.folder, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.servers[name] = server
        deadline, said = time.monotonic() + READY_SECONDS, ""
        while True:
            expect(server.poll() is None and time.monotonic() < deadline, f"{name} is not ready: {said}\n{self.logs()}")
            try:
                answer = Client(f"http://127.0.0.1:{self.health[name]}", timeout=5).get("/readyz")
                if answer.status == 200:
                    return
                said = f"{answer.status} {answer.body!r}"
            except OSError as error:
                said = str(error)
            time.sleep(0.05)

    def stop(self, name):
        server = self.servers[name]
        server.send_signal(signal.SIGTERM)
        expect_equal(server.wait(STOP_SECONDS), 0, f"exit status of {name}")
        del self.servers[name]

    def logs(self):
        """What the servers complained of last."""
        return "\n".join(f"{log.name}:\n{complaints(log)}" for log in sorted(self.folder.glob("*.log")))


def complaints(log):
    lines = log.read_text(errors="replace").splitlines(keepends=True)
    return "".join(line for line in lines if '"level":"info"' not in line)[-3000:]
