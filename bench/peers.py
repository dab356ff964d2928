"""`wasmtime serve` with the same handler built for wasi:http, fresh instance per request."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import machine

LOCK = Path(__file__).resolve().parent.parent / "bridge" / "Cargo.lock"
SCRIPT = """
function done(summary, latency)
  local errors = summary.errors
  local bad = errors.connect + errors.read + errors.write + errors.timeout + errors.status
  io.write(string.format("FIGURES %d %d %d %d %d %d\\n", summary.requests, summary.duration, bad,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
"""


def engine_version():
    """Wasmtime's version below the bridge: the same engine on both sides."""
    return re.search(r'^name = "wasmtime"\nversion = "([^"]+)"', LOCK.read_text(), re.MULTILINE).group(1)


def program(cache):
    """The `wasmtime` program with its default features, built once for each version (about ten minutes)."""
    version = engine_version()
    folder = Path(cache) / f"wasmtime-{version}"
    found = folder / "bin" / "wasmtime"
    if not found.exists():
        print(f"building wasmtime-cli {version} …", file=sys.stderr, flush=True)
        build = ["cargo", "install", "--locked", "--no-track", "--root", str(folder), f"wasmtime-cli@{version}"]
        # From `/`: a rust-toolchain.toml below the working folder would choose another compiler.
        subprocess.run(build, check=True, cwd="/", stdin=subprocess.DEVNULL, stdout=sys.stderr)
    return found


class Peer:
    def __init__(self, cache, component, folder):
        self.program = program(cache)
        self.version = subprocess.run([self.program, "--version"], capture_output=True, text=True, check=True).stdout.strip()
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.artefact = self.folder / "peer.cwasm"
        subprocess.run([self.program, "compile", "-o", self.artefact, component], check=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = None

    def __enter__(self):
        command = [self.program, "serve", "--allow-precompiled", "-S", "cli", "-O", "pooling-allocator=y"]
        command += ["--addr", f"127.0.0.1:{self.port}", str(self.artefact)]
        with open(self.folder / "peer.log", "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                time.sleep(0.05)
        sys.exit(f"wasmtime serve does not listen:\n{(self.folder / 'peer.log').read_text()[-2000:]}")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def load(self, callers, seconds, processors=None):
        script = self.folder / "peer.lua"
        script.write_text(SCRIPT)
        pid = self.process.pid
        machine.pin(pid, {0} if processors else machine.everywhere())
        before = machine.cpu_seconds(pid)
        command = ["wrk", "-t1", f"-c{callers}", f"-d{seconds}s", "--timeout", "30s", "-s", str(script), f"http://127.0.0.1:{self.port}/"]
        if processors:
            command = ["taskset", "-c", ",".join(map(str, sorted(processors)))] + command
        done = subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
        used = machine.cpu_seconds(pid) - before
        count, duration, failed, *latencies = map(int, re.search(r"FIGURES ([\d ]+)", done.stdout).group(1).split())
        row = {"what": "wasmtime serve", "callers": callers, "per_second": count / (duration / 1e6), "failed": failed}
        row.update(zip(("p50_us", "p99_us", "p999_us"), latencies))
        row["cpu_us"] = 1e6 * used / max(count, 1)
        return row


def cache_folder():
    return os.environ.get("ALGA_CACHE") or Path.home() / ".cache" / "alga"
