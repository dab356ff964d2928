"""The yardstick: bridge/examples/bench.rs, a plain Rust loop over the same crates."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What the server sets with `engine.keep_pages`, which the benchmarks switch on for both.
KEPT = {"KEEP_RESIDENT": str(16 << 20), "DECOMMIT_BATCH": "1"}
FIGURES = {"cpu/iter": "cpu_us", "p50": "p50_us", "p99": "p99_us", "p99.9": "p999_us", "rate": "per_second", "faults/iter": "faults"}


class Loops:
    """Runs loops of one component; compiles it once. `kind` is `bare` or `bridge`."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.program = self.build()
        self.concurrency_program = None

    @staticmethod
    def build(*options):
        command = [str(ROOT / "tools" / "bench-bridge"), "--program", *options]
        return subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL).stdout.strip()

    def build_concurrency(self):
        """Settings with CONCURRENCY run over a Wasmtime that has `concurrency_support`: minutes, the first time."""
        self.concurrency_program = self.build("--concurrency")

    def run(self, kind, component, count, threads, processors=None, settings=None):
        # Artefacts of an engine with `concurrency_support` are others, whether it is on or off.
        concurrent = (settings or {}).get("CONCURRENCY")
        program = self.program if concurrent is None else self.concurrency_program
        artefact = self.folder / f"{kind}-{concurrent}-{Path(component).stem}.cwasm"
        command = [program, kind, str(component), "/", str(count), str(threads)]
        if processors is not None:
            command = ["taskset", "-c", ",".join(map(str, sorted(processors)))] + command
        environment = {**os.environ, "ARTEFACT": str(artefact), **KEPT, **(settings or {})}
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment)
        if done.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
        found = re.findall(r"([a-z0-9./]+)=\s*([0-9.]+)", done.stdout.splitlines()[0])
        row = {FIGURES[name]: float(value) for name, value in found if name in FIGURES}
        return {"what": f"{kind} loop", "callers": threads, **row}
