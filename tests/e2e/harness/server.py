"""algad as a child process: free port, readiness, output kept, ended by id."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from .client import Client
from .tap import Skip, eventually

READY_SECONDS = 60
STOP_SECONDS = 45


class Algad:
    """One `algad serve`. Use as a context manager; `client()` speaks to it. `prefix` is a command that runs it,
    such as `prlimit --nofile=64`.
    """

    def __init__(self, role, folder, config=None, arguments=(), env=None, prefix=()):
        self.prefix = list(prefix)
        self.role = role
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.arguments = list(arguments)
        self.env = dict(env or {})
        self.log = self.folder / f"{role}.log"
        self.port_file = self.folder / f"{role}.port"
        self.config = None
        if config is not None:
            self.config = self.folder / f"{role}.toml"
            self.config.write_text(config)
            self.config.chmod(0o600)
        self.process = None
        self.port = None
        self.ready_origin = None  # where /readyz is, when it is not on the public listener

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def origin(self):
        return f"http://127.0.0.1:{self.port}"

    def client(self, headers=None, timeout=180.0):
        return Client(self.origin, headers, timeout)

    def output(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def log_lines(self, message):
        """The structured lines of the server's log with this message; a line is written some time after its cause."""
        whole = [line for line in self.output().splitlines(keepends=True) if line.startswith("{") and line.endswith("\n")]
        return [line for line in map(json.loads, whole) if line.get("message") == message]

    def logged(self, message, holds=lambda line: True, seconds=60):
        """Waits for lines with this message of which `holds` is true; returns them."""
        return eventually(lambda: [line for line in self.log_lines(message) if holds(line)], seconds, f"{message!r} in the log of {self.folder.name}")

    def start(self):
        self.launch()
        self._wait_until_ready()
        return self

    def launch(self):
        """Starts it and does not wait: it may never be ready."""
        self.port_file.unlink(missing_ok=True)
        command = [*self.prefix, program(), "serve", "--role", self.role, "--data", str(self.folder / "data")]
        command += ["--listen", "127.0.0.1:0", "--port-file", str(self.port_file)]
        if self.config:
            command += ["--config", str(self.config)]
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(
                command + self.arguments,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=surroundings(self.env),
            )

    def _wait_until_ready(self):
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            status = self.process.poll()
            if status is not None:
                raise RuntimeError(f"algad {self.role} ended with {status} before it was ready:\n{self.output()[-4000:]}")
            if self._ready():
                return
            time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"algad {self.role} was not ready within {READY_SECONDS} s:\n{self.output()[-4000:]}")

    def _ready(self):
        try:
            self.port = int(self.port_file.read_text().strip().rsplit(":", 1)[-1])
            return Client(self.ready_origin or self.origin, timeout=5).get("/readyz").status == 200
        except (OSError, ValueError):
            return False

    def stop(self, sign=signal.SIGTERM):
        """Ends the server and returns its exit status."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(sign)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise RuntimeError(f"algad {self.role} did not stop within {STOP_SECONDS} s") from None
        return self.process.returncode

    def peak_memory_bytes(self):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return 0


def surroundings(more=None):
    """The environment without what would be read as a setting of the server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ALGA_")}
    return {**kept, **(more or {})}


def program():
    """The server under test: $ALGAD, or the release build of this checkout."""
    root = Path(__file__).resolve().parents[3]
    return os.environ.get("ALGAD") or str(root / "build" / "release" / "src" / "app" / "algad")


def run(*arguments, timeout=120, env=None):
    """Runs `algad ARGUMENT…` to its end; returns (status, output, errors)."""
    done = subprocess.run(
        [program(), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        env=surroundings(env),
    )
    return done.returncode, done.stdout, done.stderr


def fixture(name):
    """A component built by tests/guests/build.sh, by file name."""
    folder = os.environ.get("ALGA_GUESTS")
    if not folder:
        raise RuntimeError("ALGA_GUESTS is not set; run through ./x test --only e2e")
    path = Path(folder) / name
    if not path.exists():
        raise RuntimeError(f"{path} was not built by tests/guests/build.sh")
    return path


def historic_fixture(name):
    """A component of tests/guests/historic/build.sh; not to have its tools is a reason to skip, to have failed with them is none."""
    folder = Path(os.environ["ALGA_GUESTS"]) / "historic"
    missing = folder / "missing"
    if missing.exists():
        raise Skip(missing.read_text().strip())
    path = folder / f"{name}.wasm"
    if not path.exists():
        raise RuntimeError(f"{path} was not built by tests/guests/historic/build.sh")
    return path
