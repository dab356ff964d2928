#!/usr/bin/python3
"""End class `platform`, from causes that are real: the folder of compiled code gone, its disk full, no memory from the
kernel. Each is on record as nobody's fault but ours, tells the caller nothing of it, and is over when its cause is. What
can be mended without a hand (damaged or lost files, a worker that was killed) is."""

import os
import resource
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from harness.lone_runner import LoneRunner, execution
from harness.platform import CONFIG, Platform
from harness.server import fixture
from harness.tap import Skip, eventually, expect, expect_equal, expect_in, main, test

GUEST = Path(__file__).resolve().parents[1] / "guests" / "text" / "log.wasm"
#: Less than the memory of a script, more than requests need.
HEADROOM = 4 << 20


class World:
    """Three extensions, of which one fits into memory: calling one has the others loaded from disk next time."""

    def __init__(self, platform):
        self.platform, self.tenant = platform, platform.tenant("acme")
        self.publisher = platform.publisher("example")
        self.first, self.second = (self.install(name, GUEST) for name in ("first", "second"))
        # Megabytes of code and of memory to begin with.
        self.large = self.install("large", "js-echo.wasm")
        data = platform.server.folder / "data"
        self.artefacts, self.bundles = data / "artefacts", data / "cache"

    def install(self, name, component):
        slug = self.told(lambda: self.platform.publish(self.publisher, name=name, component=component))
        self.told(lambda: self.platform.install(self.tenant, slug))
        return slug

    def told(self, action):
        """What the runner is told of an action it has heard afterwards, and loads nothing for it later."""

        def orders():
            return len(self.platform.server.log_lines("warmed up a runner"))

        before = orders()
        result = action()
        eventually(lambda: orders() > before, 120, "the runner is told")
        return result

    def call(self, slug=None):
        path = "/counter" if slug == self.large else "/"
        return self.platform.call(self.tenant, slug or self.first, path)

    def works(self, what, slug=None):
        answer = self.call(slug)
        expect_equal(answer.status, 200, f"{what} ({answer.text()[:300]})")

    def put_out_of_memory(self):
        """All but the second extension."""
        self.works("the other extension", self.second)

    def hash_of(self, name):
        extensions = self.platform.operator.get("/api/v1/extensions").json()["extensions"]
        (version,) = next(one for one in extensions if one["slug"] == name)["versions"]
        return version["content_hash"].removeprefix("sha256:")

    def sample(self, series):
        lines = self.platform.server.client().get("/metrics").text().splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(series + " ")), 0.0)

    def ended_so(self):
        return self.sample('alga_runner_executions_total{end="platform"}')

    def fails(self, code, slug=None):
        """A call that ends as the platform's failure: what its caller sees, and what is on record."""
        before = self.ended_so()
        answer = self.call(slug)
        expect_equal((answer.status, answer.json().get("code")), (502, code), f"what the caller sees ({answer.text()[:300]})")
        expect_equal(set(answer.json()) - {"error", "code", "message", "requestId", "request_id"}, set(), "and no more")
        for inner in (str(self.platform.folder), "cannot", "os error"):
            expect(inner not in answer.text(), f"the caller sees the cause: {answer.text()[:300]}")
        record = self.platform.record(self.tenant, answer)
        expect_equal((record["end_class"], record["code"]), ("platform", code), "on record")
        request = answer.header("x-request-id")
        # The log is written a moment later.
        (line,) = eventually(lambda: [line for line in self.platform.server.log_lines("execution") if line["request_id"] == request], 15, "a line")
        expect_equal((line["level"], line["end_class"]), ("warn", "platform"), "the line for the operator")
        expect(line["reason"], f"its cause: {line}")
        expect_equal(self.ended_so(), before + 1, "counted")
        return line["reason"]


@contextmanager
def moved(folder):
    """The folder under another name for as long."""
    aside = folder.with_name(folder.name + ".aside")
    folder.rename(aside)
    try:
        yield
    finally:
        aside.rename(folder)


@contextmanager
def full_disk(folder):
    """A file system without room in the folder's place."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k,mode=0700", "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        raise Skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@contextmanager
def little_memory(server):
    """The kernel gives the process no more memory than serving a few requests takes."""
    if os.environ.get("ALGA_PRESET") in ("asan", "tsan"):
        raise Skip("a sanitizer ends the process when it gets no memory")
    pid = server.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_DATA)
    (used,) = (int(line.split()[1]) * 1024 for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmData:"))
    resource.prlimit(pid, resource.RLIMIT_DATA, (used + HEADROOM, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_DATA, before)


@test("without the folder of compiled code, what is not in memory fails, and works again with it")
def folder_gone(world):
    world.works("a call")
    world.put_out_of_memory()
    with moved(world.artefacts):
        expect_in("No such file", world.fails("engine.cache_io"), "the cause")
        world.works("what is in memory", world.second)
    world.works("the call, as soon as the folder is back")


@test("with no room for compiled code, what is not compiled fails, and works again with room")
def disk_full(world):
    world.put_out_of_memory()
    with full_disk(world.artefacts):
        expect_in("cannot be written", world.fails("engine.unavailable"), "the cause")
        world.works("what is in memory", world.second)
    world.works("the call, as soon as there is room")


@test("without memory from the kernel a component that cannot be mapped fails, is not compiled anew, and works again with memory")
def not_mapped(world):
    world.works("a call", world.large)
    world.put_out_of_memory()
    compiles = world.sample('alga_component_loads_total{from="compile"}')
    with little_memory(world.platform.server):
        expect_in("os error 12", world.fails("engine.unavailable", world.large), "the cause")
    world.works("the call, as soon as there is memory", world.large)
    expect_equal(world.sample('alga_component_loads_total{from="compile"}'), compiles, "compiles")


@test("without memory from the kernel an instance that cannot be made is not the guest's fault")
def no_instance(world):
    # After a restart what ran last is in memory, and no slot was made for it.
    world.works("a call", world.large)
    expect_equal(world.platform.server.stop(), 0, "exit status")
    world.platform.start()
    loads = world.sample('alga_component_loads_total{from="disk"}')
    with little_memory(world.platform.server):
        expect_in("os error 12", world.fails("engine.platform", world.large), "the cause")
    world.works("the call, as soon as there is memory", world.large)
    expect_equal(world.sample('alga_component_loads_total{from="disk"}'), loads, "loads since the start")


@test("compiled code that somebody altered is not run: it is replaced, and counted")
def altered(world):
    world.works("a call")
    world.put_out_of_memory()
    (artefact,) = world.artefacts.glob(f"{world.hash_of(world.first)}-*.cwasm")
    code = bytearray(artefact.read_bytes())
    code[len(code) // 2] ^= 1
    other = artefact.with_name("altered")
    other.write_bytes(code)
    before, ended = world.sample("alga_artefacts_tampered_total"), world.ended_so()
    other.rename(artefact)
    world.works("the call")
    expect_equal(world.sample("alga_artefacts_tampered_total"), before + 1, "counted")
    expect_equal(world.ended_so(), ended, "failures of the platform")


@test("a cache of bundles and compiled code that somebody emptied below the server fills again, and nobody notices")
def emptied(world):
    world.works("a call")
    world.put_out_of_memory()
    ended = world.ended_so()
    for name in (world.first, world.second):
        subprocess.run(["rm", "-r", world.bundles / world.hash_of(name)], check=True)
    # What control planes share of compiled code, too.
    compiled = [path for path in world.platform.server.folder.rglob("*.cwasm*") if path.is_file()]
    expect(len(compiled) >= 4, f"artefacts and their signatures: {compiled}")
    for path in compiled:
        path.unlink()
    world.works("the call")
    world.works("the other one", world.second)
    world.works("the call again")
    expect_equal(world.ended_so(), ended, "failures of the platform")


def workers(server):
    """The compile processes of a server, by id."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rsplit(")", 1)[1].split()[1])
            command = (path.parent / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it has just ended
        if parent == server.process.pid and b"compile-worker" in command:
            found.append(int(path.parent.name))
    return found


@test("whose compile worker was killed is told to come back, and finds the component then")
def worker_killed(world):
    with LoneRunner(world.platform.folder / "lone", cold_wait="1ms") as runner:
        body = execution(runner.place(fixture("js-echo.wasm")), path="/counter")
        expect_equal(runner.execute(body).json()["code"], "engine.cold", "a component that is new")
        (worker,) = eventually(lambda: workers(runner), 60, "a worker")
        os.kill(worker, signal.SIGKILL)
        told = eventually(lambda: runner.log_lines("a component could not be made ready"), 60, "the end of the compile")
        expect_equal((told[0]["code"], "killed" in told[0]["reason"]), ("engine.unavailable", True), f"why ({told})")
        answer = eventually(lambda: (got := runner.execute(body)).status == 200 and got, 600, "the component")
        expect_equal(answer.json()["status"], 200, "the answer")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder:
        config = CONFIG + "\n[limits]\ncomponents_in_memory = 1\n"
        with Platform(Path(folder), config=config) as platform:
            return main(World(platform))


if __name__ == "__main__":
    sys.exit(run())
