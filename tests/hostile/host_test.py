#!/usr/bin/python3
"""The machine turns against the server: descriptors run out, a folder becomes read only, the clock jumps, a
version changes under running requests, and a plaintext that was rotated away must be gone from memory."""

import os
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from harness import bundle  # noqa: E402
from harness.clock import MovedClock  # noqa: E402
from harness.memory import secrets_in_memory  # noqa: E402
from harness.platform import CONFIG, Platform  # noqa: E402
from harness.server import Algad  # noqa: E402
from harness.tap import Skip, eventually, expect, expect_equal, expect_in, main, test  # noqa: E402

TENANT, EXTENSION = "acme", "0b6b6f5e-6c9e-4c7e-9d0a-2f6f9f8a1c11"
TOKEN = "service-token-of-a-test"
OLD, NEW = "canary8Rw4NxT2kL6vB9mQ5cJ3zF7hD1pG0sYuA", "canary3Hn7YbU9qZ1xV5tK8mW2rE6cP4gL0dSoA"
DESCRIPTORS = 96
#: Answers what it was sent, and compiles in no time.
ECHO = Path(__file__).resolve().parents[1] / "guests" / "text" / "echo.wasm"


class LoneRunner:
    """A runner in drop-in use with one bundle in its store, and how to call it."""

    def __init__(self, folder, prefix=(), settings=""):
        self.folder, self.store = Path(folder), Path(folder) / "bundles"
        self.store.mkdir(parents=True)
        self.cache = self.folder / "cache"
        self.cache.mkdir()
        token = self.folder / "service-token"
        token.write_text(TOKEN)
        config = f"""
[runner]
trust = "service-token"
service_token = "file:{token}"
[bundles]
path = "{self.store}"
[bundles.cache]
path = "{self.cache}"
[engine]
cold_wait = "2m"
{settings}"""
        self.hash = self.place("first")
        self.server = Algad("runner", self.folder / "runner", config=config, prefix=prefix)

    def place(self, name):
        packed = self.folder / f"{name}.tar.zst"
        content_hash = bundle.pack(ECHO, bundle.manifest(version=f"1.0.{len(name)}"), packed, {"name": name.encode()})
        bundle.place(self.store, TENANT, EXTENSION, packed, content_hash)
        return content_hash

    def execute(self, path="/", content_hash=None, timeout=180.0, query=None):
        sent = {"x-alga-tenant": TENANT, "x-alga-extension": EXTENSION, "x-runner-service-token": TOKEN}
        context = {"request_id": "r", "tenant_id": TENANT, "extension_id": EXTENSION, "install_id": "i", "content_hash": content_hash or self.hash}
        body = {"context": context, "http": {"method": "GET", "path": path, "query": query or {}, "headers": {}}, "limits": {"timeout_ms": 15000}}
        return self.server.client(sent, timeout).post("/v1/execute", body)

    def works(self):
        try:
            answer = self.execute(timeout=30)
            return answer.status == 200 and answer.json()["status"] == 200
        except OSError:
            return False


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


@test("a server without descriptors refuses, and serves again when there are some; none is lost")
def few_descriptors(folder):
    runner = LoneRunner(folder / "descriptors", prefix=["prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}"])
    with runner.server as server:
        expect_equal(runner.execute().json()["status"], 200, "before")
        before = descriptors(server.process.pid)
        held = []
        for _ in range(DESCRIPTORS + 20):
            link = socket.create_connection(("127.0.0.1", server.port), timeout=5)
            link.sendall(b"POST /v1/execute HTTP/1.1\r\nhost: x\r\n")  # and no more of it
            held.append(link)
        eventually(lambda: descriptors(server.process.pid) >= DESCRIPTORS - 2, 20, "every descriptor is used")
        cold = runner.place("while there are none")
        expect(server.process.poll() is None, "the server ended")
        for link in held:
            link.close()
        eventually(runner.works, 30, "it serves again")
        expect_equal(runner.execute(content_hash=cold).json()["status"], 200, "a bundle that it had not seen")
        eventually(lambda: descriptors(server.process.pid) <= before + 12, 30, f"descriptors are given back ({before} before)")


def make_read_only(process, folder):
    """In the view of this process alone. Its mount namespace is its own (unshare)."""
    inside = ["nsenter", "-t", str(process.pid), "-m"]
    subprocess.run([*inside, "mount", "--bind", str(folder), str(folder)], check=True)
    subprocess.run([*inside, "mount", "-o", "remount,ro,bind", str(folder)], check=True)


def need_mounts():
    done = subprocess.run(["unshare", "-m", "true"], capture_output=True, text=True)
    if os.geteuid() != 0 or done.returncode:
        raise Skip(f"only root with CAP_SYS_ADMIN may mount: {done.stderr.strip()}")


@test("a cache that becomes read only costs new bundles, not those that are there, and health says so")
def read_only_cache(folder):
    need_mounts()
    runner = LoneRunner(folder / "cache-ro", prefix=["unshare", "-m", "--propagation", "private"])
    with runner.server as server:
        expect_equal(runner.execute().json()["status"], 200, "before")
        make_read_only(server.process, runner.cache)
        health = eventually(lambda: (got := server.client().get("/healthz")).status == 503 and got, 20, "health")
        expect_equal(health.json()["cache_writable"], False, "what is wrong")
        expect_equal(runner.execute().json()["status"], 200, "what is in the cache")
        cold = runner.execute(content_hash=runner.place("new")).json()
        expect_equal((cold["status"], cold["code"]), (502, "blob.cache_io"), f"a new bundle ({cold})")
        subprocess.run(["nsenter", "-t", str(server.process.pid), "-m", "umount", str(runner.cache)], check=True)
        expect_equal(runner.execute(content_hash=runner.place("new")).json()["status"], 200, "afterwards")


@test("a folder of bundles that somebody else fills may be read only")
def read_only_store(folder):
    need_mounts()
    runner = LoneRunner(folder / "store-ro")
    inside = f"mount --bind {runner.store} {runner.store} && mount -o remount,ro,bind {runner.store} && exec \"$@\""
    runner.server.prefix = ["unshare", "-m", "--propagation", "private", "sh", "-c", inside, "sh"]
    with runner.server as server:
        expect_equal(runner.execute().json()["status"], 200, "a bundle")
        health = server.client().get("/healthz")
        expect_equal((health.status, health.json()["bundle_store"]), (200, "ok"), "health")
        later = runner.place("which the other one adds")
        expect_equal(runner.execute(content_hash=later).json()["status"], 200, "a bundle that came later")


@test("a clock that jumps an hour, either way, refuses what it must and stops nothing for longer")
def clock_jump(folder):
    moved = MovedClock(folder / "moved")
    with Platform(folder / "clock", env=moved.environment) as platform:
        tenant = platform.tenant("acme")
        slug = platform.publish(platform.publisher("example"), component=ECHO)
        install = platform.install(tenant, slug, config={"key": "0"})
        platform.secret(tenant, install, "key", OLD)

        def served():
            return platform.call(tenant, slug, "/").status == 200

        eventually(served, 60, "before")
        for number, by in enumerate((3600, 0, -3600, 0), 1):
            moved.move(by)
            eventually(served, 30, f"calls after {by} s")
            answer = platform.operator.patch(f"/api/v1/installs/{install['id']}/config", {"set": {"key": str(number)}}, headers={"x-tenant-id": tenant})
            expect_equal(answer.status, 200, f"a write after {by} s ({answer.text()})")
            expect_equal(platform.call(tenant, slug, "/").status, 200, f"the very next call after {by} s")
        stamps = [line for line in platform.server.output().splitlines() if '"level":"error"' in line]
        expect_equal(stamps, [], "errors in the log")


@test("while versions change and change back, every request is answered by one of them")
def upgrade(folder):
    with Platform(folder / "upgrade") as platform:
        tenant = platform.tenant("acme")
        publisher = platform.publisher("example")
        slug = platform.publish(publisher, version="1.0.0", component=ECHO)
        install = platform.install(tenant, slug)
        platform.publish(publisher, version="2.0.0", component=ECHO, capabilities=("cap:config.read", "cap:storage.kv"))
        header = {"x-tenant-id": tenant}
        answers, going = [], threading.Event()
        going.set()

        def caller():
            while going.is_set():
                answer = platform.call(tenant, slug, "/", method="POST", body=b"asked")
                answers.append((answer.status, answer.body))

        def more_answers():
            before = len(answers)
            eventually(lambda: len(answers) > before + 50, 60, "answers")

        callers = [threading.Thread(target=caller) for _ in range(12)]
        for one in callers:
            one.start()
        try:
            for version in ("2.0.0", "1.0.0", "2.0.0", "1.0.0"):
                more_answers()
                changed = platform.operator.post(f"/api/v1/installs/{install['id']}/update", {"version": version}, headers=header)
                expect_equal(changed.status, 200, f"to {version} ({changed.text()})")
            more_answers()
        finally:
            going.clear()
            for one in callers:
                one.join()
        wrong = [answer for answer in answers if answer != (200, b"asked")]
        expect_equal(wrong, [], f"of {len(answers)} requests, those that failed")


@contextmanager
def in_use(call):
    """Calls without a pause: a search takes longer than what is not used is kept."""
    over = threading.Event()

    def caller():
        while not over.is_set():
            call()

    call()
    thread = threading.Thread(target=caller)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@test("of a secret that was rotated nothing is left in memory once it has been idle for its time")
def rotated(folder):
    if os.geteuid() != 0:
        raise Skip("only root may look into a process that is not dumpable")
    config = CONFIG + '\n[secrets]\ncache_ttl = "1s"\n'
    with Platform(folder / "rotated", config=config) as platform:
        tenant = platform.tenant("acme")
        slug = platform.publish(platform.publisher("example"), component=ECHO)
        install = platform.install(tenant, slug)
        platform.secret(tenant, install, "key", OLD)
        # What an administrator typed came through buffers that are not locked (SECURITY.md): a new process.
        platform.server.stop()
        platform.start()
        # The guest does not look at its secret, so that none is in its memory either.
        eventually(lambda: platform.call(tenant, slug, "/").status == 200, 60, "a call")
        pid = platform.server.process.pid
        with in_use(lambda: platform.call(tenant, slug, "/")):
            expect_equal(secrets_in_memory(pid, OLD, hidden=True), {OLD}, "in locked memory while it is in use: the search can find it")
        expect_equal(secrets_in_memory(pid, OLD), set(), "in what a core file would hold")
        platform.secret(tenant, install, "key", NEW)
        eventually(lambda: platform.call(tenant, slug, "/").status == 200, 60, "a call with the new one")
        eventually(lambda: OLD not in secrets_in_memory(pid, OLD, hidden=True), 60, "the old plaintext is gone")
        with in_use(lambda: platform.call(tenant, slug, "/")):
            expect_in(NEW, secrets_in_memory(pid, NEW, hidden=True), "the new one, which is in use")


def run():
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="alga-hostile.")))
        return main(folder)


if __name__ == "__main__":
    sys.exit(run())
