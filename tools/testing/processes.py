"""Runs programs with a time limit, a sign of life, and no survivors."""

import copy
import os
import signal
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HEARTBEAT_SECONDS = 20


@dataclass
class Finished:
    """A program that ended: `status` is negative for a signal, None when its time ran out."""

    status: int | None
    output: str
    seconds: float

    def how(self):
        if self.status is None:
            return "ran out of time"
        if self.status < 0:
            return f"died of {signal.Signals(-self.status).name}"
        return f"exit status {self.status}"


class Runner:
    """Starts programs, each in its own session, and ends those sessions with itself."""

    def __init__(self, root, preset):
        self.root = Path(root)
        self.preset = preset
        self.build = self.root / "build" / preset
        self._running = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def under(self, preset):
        """The same runner, whose programs are those of another preset; good while this one is."""
        other = copy.copy(self)
        other.preset = preset
        other.build = self.root / "build" / preset
        return other

    def __enter__(self):
        self._scratch = tempfile.TemporaryDirectory(prefix="alga-tests.")
        self.scratch = Path(self._scratch.name)
        signal.signal(signal.SIGTERM, self._terminate)
        threading.Thread(target=self._tell, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        with self._lock:
            left = [process for process, _, _ in self._running.values()]
        for process in left:
            end_session(process)
        self._scratch.cleanup()

    def _terminate(self, *_):
        raise KeyboardInterrupt

    def _tell(self):
        while not self._stopped.wait(HEARTBEAT_SECONDS):
            with self._lock:
                now = time.monotonic()
                alive = [f"{name} {now - since:.0f} s" for _, name, since in self._running.values()]
            if alive:
                print("  … " + ", ".join(alive), flush=True)

    def run(self, name, command, seconds, cwd=None, env=None):
        """Runs a command to its end or for at most `seconds`; output and errors together."""
        log = self.scratch / f"{len(os.listdir(self.scratch))}-{time.monotonic_ns()}.log"
        began = time.monotonic()
        with open(log, "wb") as out:
            process = subprocess.Popen(
                [str(part) for part in command],
                cwd=cwd or self.root,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            with self._lock:
                self._running[process.pid] = (process, name, began)
            try:
                status = process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                status = None
            finally:
                end_session(process)
                with self._lock:
                    del self._running[process.pid]
        return Finished(status, log.read_text(errors="replace"), time.monotonic() - began)

    def each(self, work, items, at_once):
        """work(item) for every item, `at_once` at a time, results in the order of the items."""
        with ThreadPoolExecutor(max_workers=at_once) as pool:
            yield from pool.map(work, items)


def end_session(process):
    """Ends every process of the session that `process` leads: first politely, then by force."""
    for sign, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            process.poll()
            try:
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.02)
    process.poll()

