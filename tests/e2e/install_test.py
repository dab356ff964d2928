#!/usr/bin/python3
"""docs/operations/README.md is followed on a Debian with systemd: the blocks that install, log in, back up and restore
one machine, as they stand there.

Wants root, Debian's podman, runc and mmdebstrap, and package sources; says so and skips where one is missing. The machine
is a container with a network of its own, so that ports and paths are those of the page, and has the packages already.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.containers import need_container_tools, podman_command, ulimits
from harness.server import program
from harness.tap import Skip, eventually, expect, expect_equal, expect_in, main, test
from harness.walk import DOCS

ROOT = DOCS.parents[1]
BLOCK = re.compile(r"^```bash machine\n(.*?)^```$", re.M | re.S)
NAME = "alga-machine"
SERVICE, DATA = "algad@one-machine", "/var/lib/alga-one-machine"
SYSTEM = ("systemd", "systemd-sysv", "util-linux", "passwd", "procps", "iproute2", "sqlite3")


class Machine:
    """Runs commands as root in the folder that the page is followed in; what a block exports is there for the next one."""

    def __init__(self, folder):
        self.folder, self.system = folder, folder / "system"
        self.podman = podman_command(folder)
        self.process = None

    def __enter__(self):
        need_container_tools()
        ours = re.sub(r"#.*", "", (ROOT / "deploy" / "runtime-packages.txt").read_text()).split()
        packages = ",".join([*SYSTEM, *ours])
        made = subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}", "bookworm", self.system], capture_output=True, text=True, timeout=600
        )
        expect_equal(made.returncode, 0, made.stderr[-2000:])
        shutil.copytree(ROOT / "deploy", self.system / "root" / "deploy")
        built = self.system / "root" / "build/release/src/app"
        built.mkdir(parents=True)
        shutil.copy(program(), built / "algad")
        with open(self.folder / "machine.log", "wb") as log:
            command = [*self.podman, "run", "--rm", "--name", NAME, "--network", "none", "--systemd=always", "--privileged", *ulimits()]
            self.process = subprocess.Popen([*command, "--rootfs", self.system, "/sbin/init"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self._wait_until_it_runs()
            return self
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        self._podman("rm", "--force", "--time", "0", NAME)
        self.process.wait(60)

    def _podman(self, *words, **more):
        return subprocess.run([*self.podman, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, **more)

    def _wait_until_it_runs(self):
        """A systemd that never begins cannot run here, as where it may not mount its groups; its process does not end then."""
        deadline, said = time.monotonic() + 180, ""
        while said not in ("running", "degraded"):
            never_began = said in ("", "offline", "unknown") and time.monotonic() > deadline
            if self.process.poll() is not None or never_began:
                raise Skip(f"this machine runs no containers with systemd: {(self.folder / 'machine.log').read_text()[-300:]}")
            expect(time.monotonic() < deadline, f"a system that runs: {said}")
            time.sleep(0.5)
            said = self._podman("exec", NAME, "systemctl", "is-system-running").stdout.strip()

    def run(self, text):
        """A block, to its end; returns what it printed."""
        script = f"set -a\n[ ! -e /run/kept ] || . /run/kept\nset -euo pipefail\ncd /root\n{text}\nexport -p > /run/kept\n"
        done = self._podman("exec", NAME, "bash", "-c", script)
        expect_equal(done.returncode, 0, f"status of:\n{text}\n{done.stdout}\n{done.stderr[-3000:]}")
        return done.stdout

    def admin(self, words):
        return self.run(f"algad admin {words}")


@test("the blocks of the page install a service on a machine, log in, back it up and restore it")
def page(folder):
    blocks = BLOCK.findall((DOCS / "README.md").read_text())
    titles = ("apt-get", "systemctl enable", "audit verify", "api-keys create", ".backup", "systemctl stop")
    expect_equal(len(blocks), len(titles), "blocks")
    for title, block in zip(titles, blocks):
        expect_in(title, block, "a block of the page")
    with Machine(folder) as machine:
        machine.run("ip link set lo up")
        for block in blocks[:4]:
            machine.run(block)
        expect_in("first operator", machine.admin("api-keys list"), "keys")
        machine.admin("tenants create --id before --name Before")
        machine.run(blocks[4])
        machine.admin("tenants create --id after --name After")
        # As a machine that lost its power leaves it.
        machine.run(f"systemctl kill --signal KILL {SERVICE}; ls {DATA}/alga.db-wal")
        machine.run(blocks[5])
        tenants = eventually(lambda: machine.run("algad admin tenants list || true"), 30, "an answer after the restore")
        expect("before" in tenants and "after" not in tenants, f"what the restored database has: {tenants}")
        machine.run("install build/release/src/app/algad /usr/local/bin/ && systemctl restart algad@one-machine")
        eventually(lambda: "before" in machine.run("algad admin tenants list || true"), 30, "an answer after the upgrade")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder:
        return main(Path(folder))


sys.exit(run())
