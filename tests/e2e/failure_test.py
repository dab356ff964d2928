#!/usr/bin/python3
"""What docs/operations/failures.md promises: PostgreSQL and the bundle store stopped, slow, silent and restarted under
load, kill -9 at random moments of publishing, rotating and installing, and a full disk. No acknowledged write is lost,
no version is half published, no secret is served that was not stored, nothing needs a hand."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from itertools import count
from pathlib import Path

from harness.network import Relay, SocketRelay
from harness.platform import CONFIG, Platform
from harness.repeated import Repeated
from harness.servers import ObjectStore, Postgres
from harness.small_disk import SmallDisk
from harness.tap import Skip, eventually, expect, expect_equal, expect_in, main, test

SEED = int(os.environ.get("ALGA_SEED") or time.time())
ROUNDS = 5
#: Kinds of failure that tell the caller to come back.
RETRY = (503, 504)


class Tenant:
    """One tenant with one install of the echo fixture, and what was acknowledged about it."""

    def __init__(self, platform, bundles=None):
        self.platform, self.bundles = platform, bundles or platform.server.folder / "data"
        self.name = platform.tenant("acme")
        self.headers = {"x-tenant-id": self.name}
        self.publisher = platform.publisher("example")
        self.slug = platform.publish(self.publisher)
        self.install = platform.install(self.name, self.slug, config={"n": "0"})
        platform.secret(self.name, self.install, "api_key", "secret-0")
        self.acknowledged = {"config": 0, "secret": 0, "versions": set(), "installs": set(), "removed": set()}

    def path(self, rest=""):
        return f"/api/v1/installs/{self.install['id']}{rest}"

    def set_config(self, number, timeout=30):
        client = self.platform.client(self.token(), timeout)
        return client.patch(self.path("/config"), {"set": {"n": str(number)}}, headers=self.headers)

    def config(self):
        return int(self.platform.operator.get(self.path("/config"), headers=self.headers).json()["config"]["n"])

    def call(self, path, timeout=30):
        client = self.platform.client(self.token(), timeout)
        return self.platform.call(self.name, self.slug, path, client=client)

    def token(self):
        return self.platform.token_file.read_text().strip()

    def works(self):
        """A call that reads configuration and secret through the guest, and a write."""
        try:
            return self.call("/config?key=n").status == 200 and self.call("/secret?key=api_key").status == 200
        except OSError:
            return False


def pages(folder, name, version):
    """A bundle of pages without a component, which publishes at once."""
    manifest = {
        "name": name, "publisher": "example", "version": version, "runtime": "wasm-js@1",
        "capabilities": [], "ui": {"type": "iframe", "entry": "ui/index.html"},
    }  # fmt: skip
    packed = Path(folder) / f"{name}-{version}.tar.zst"
    with tempfile.TemporaryDirectory() as root:
        (Path(root) / "manifest.json").write_text(json.dumps(manifest))
        (Path(root) / "ui").mkdir()
        (Path(root) / "ui" / "index.html").write_text(f"<!doctype html><title>{version}</title>" + "x" * 50000)
        subprocess.run(["tar", "--format=ustar", "-C", root, "-cf", f"{packed}.tar", "manifest.json", "ui/index.html"], check=True)
    subprocess.run(["zstd", "-q", "-f", "--rm", f"{packed}.tar", "-o", packed], check=True)
    return packed, "sha256:" + hashlib.sha256(packed.read_bytes()).hexdigest()


def is_refusal(answer):
    return answer.status in RETRY and answer.header("retry-after") is not None


class Writers(Repeated):
    """Write without a pause: configuration, a secret, versions and installs. What is acknowledged is noted at once."""

    def __init__(self, tenant, folder, round_number):
        self.tenant, self.folder, self.round = tenant, Path(folder), round_number
        self.platform = tenant.platform
        self.strange = []
        works = (self._config, self._secret, self._publish, self._install)
        super().__init__(*(partial(self._try, work, count(1)) for work in works))

    def _try(self, work, numbers):
        try:
            work(next(numbers))
        except (OSError, AssertionError, ValueError) as error:
            # The server died under the request: nothing was acknowledged.
            if not isinstance(error, OSError):
                self.strange.append(repr(error))
            time.sleep(0.01)

    def _request(self, method, path, body=None):
        client = self.platform.client(self.tenant.token(), 20)
        return client.request(method, path, body=body, headers=self.tenant.headers)

    def _config(self, _):
        number = self.tenant.acknowledged["config"] + 1
        if self.tenant.set_config(number).status == 200:
            self.tenant.acknowledged["config"] = number

    def _secret(self, _):
        number = self.tenant.acknowledged["secret"] + 1
        answer = self._request("PUT", self.tenant.path("/secrets/api_key"), {"value": f"secret-{number}"})
        if answer.status == 200:
            self.tenant.acknowledged["secret"] = number

    def _publish(self, number):
        version = f"{self.round}.{number}.0"
        packed, content_hash = pages(self.folder, "pages", version)
        answer = self.platform.upload(self.tenant.publisher, packed, content_hash)
        if answer.status == 200:
            self.tenant.acknowledged["versions"].add((version, content_hash))

    def _install(self, number):
        name = f"t{self.round}-{number}"
        made = self._request("POST", "/api/v1/tenants", {"id": name})
        if made.status != 201:
            return
        client = self.platform.client(self.tenant.token(), 20)
        sent = {"x-tenant-id": name}
        wanted = {"extension": self.tenant.slug, "capabilities": ["cap:config.read"], "config": {"who": name}}
        if client.post("/api/v1/installs", wanted, headers=sent).status == 201:
            self.tenant.acknowledged["installs"].add(name)


class Callers(Repeated):
    """Call the extension without a pause; `seen` holds the status of each answer."""

    def __init__(self, tenant):
        self.tenant, self.seen = tenant, []
        super().__init__(*[self._call] * 2)

    def _call(self):
        self.seen.append(self.tenant.call("/secret?key=api_key").status)


def all_served(world, number):
    """Under load, every kind of write is acknowledged and no caller of the extension is refused; all is there afterwards."""
    told = world.tenant.acknowledged
    told["config"] = world.tenant.config()

    def progress():
        return told["config"], told["secret"], len(told["versions"]), len(told["installs"])

    before = progress()
    with Writers(world.tenant, world.folder, number) as writers, Callers(world.tenant) as callers:
        eventually(lambda: all(now > then for now, then in zip(progress(), before)) and len(callers.seen) > 20, 120, "writes of each kind, and calls")
    expect_equal(writers.strange, [], "answers that were neither good nor a refusal")
    expect_equal(set(callers.seen), {200}, "what callers are answered")
    check_state(world.tenant)


def check_state(tenant):
    """Everything acknowledged is there, and what is there is whole."""
    told, platform = tenant.acknowledged, tenant.platform
    expect(tenant.config() in (told["config"], told["config"] + 1), f"configuration {tenant.config()}, acknowledged {told['config']}")
    secret = tenant.call("/secret?key=api_key").json()["value"].get("ok", "")
    expect(secret in (f"secret-{told['secret']}", f"secret-{told['secret'] + 1}"), f"secret {secret}, acknowledged {told['secret']}")
    told["config"], told["secret"] = tenant.config(), int(secret.rsplit("-", 1)[1])
    extensions = platform.operator.get("/api/v1/extensions").json()["extensions"]
    listed = {(version["version"], version["content_hash"]) for one in extensions if one["slug"] == "example.pages" for version in one["versions"]}
    told_versions = {(version, content_hash.removeprefix("sha256:")) for version, content_hash in told["versions"]}
    listed = {(version, content_hash.removeprefix("sha256:")) for version, content_hash in listed}
    expect(told_versions <= listed, f"published and lost: {told_versions - listed}")
    check_bundles(tenant.bundles, listed)
    for name in told["installs"]:
        answer = platform.operator.get(f"/api/v1/installs/{tenant.slug}/config", headers={"x-tenant-id": name})
        expect_equal((answer.status, answer.json().get("config")), (200, {"who": name}), f"install of {name}")


def check_bundles(folder, listed):
    """Every version that the registry lists is in the bundle store, whole."""
    stored = {hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("bundle.tar.zst")}
    for version, content_hash in listed:
        expect(content_hash in stored, f"version {version} is listed and its bundle is not there")


@test("kill -9 at a random moment of publishing, rotating and installing loses nothing that was acknowledged")
def killed(_):
    random.seed(SEED)
    print(f"# ALGA_SEED={SEED}")
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder, Platform(Path(folder) / "p") as platform:
        tenant = Tenant(platform)
        for number in range(1, ROUNDS + 1):
            with Writers(tenant, folder, number) as writers:
                if number == 1:
                    eventually(lambda: all(tenant.acknowledged[kind] for kind in ("config", "secret", "versions", "installs")), 60, "a write of each kind")
                time.sleep(random.uniform(0.15, 1.2))
                platform.server.stop(signal.SIGKILL)
                writers.end()
            expect_equal(writers.strange, [], "answers that were neither good nor a refusal")
            platform.start()
            check_state(tenant)
        told = tenant.acknowledged
        print(f"# acknowledged: {told['config']} configurations, {told['secret']} secrets, {len(told['versions'])} versions")
        report = platform.operator.get("/api/v1/audit/verify").json()
        expect_equal((report["intact"], report["faults"]), (True, []), "the audit trail")


class OnPostgres:
    """A platform in one process on PostgreSQL and S3, with a wire to each."""

    def __init__(self, folder, postgres, objects):
        self.folder = Path(folder)
        self.postgres, self.objects = postgres, objects
        self.wire = SocketRelay(postgres.folder / ".s.PGSQL.5432")
        self.store_wire = Relay(objects.port)
        s3 = f"""
[bundles]
store = "s3"
timeout = "3s"

[bundles.s3]
endpoint = "http://127.0.0.1:{self.store_wire.port}"
bucket = "{objects.bucket}"
access_key = "env:S3_ACCESS"
secret_key = "env:S3_SECRET"
"""
        database = f'\n[database]\nurl = "postgresql://alga@127.0.0.1:{self.wire.port}/alga?sslmode=disable"\n'
        env = {"S3_ACCESS": objects.access_key, "S3_SECRET": objects.secret_key}
        self.platform = Platform(self.folder / "platform", config=CONFIG + database + s3, env=env)

    def __enter__(self):
        self.platform.start()
        self.tenant = Tenant(self.platform, self.objects.folder / "s3")
        return self

    def __exit__(self, *_):
        self.wire.mend()
        self.store_wire.mend()
        self.platform.server.stop()
        self.wire.__exit__()
        self.store_wire.__exit__()

    def recovered(self, seconds=20):
        eventually(self.tenant.works, seconds, "the platform works again without a hand", every=0.2)


@test("with PostgreSQL stopped every request is refused at once, and works again when it is back")
def postgres_stopped(world):
    tenant = world.tenant
    tenant.set_config(1)
    world.postgres.stop()
    answer = tenant.set_config(2)
    expect(is_refusal(answer), f"a write ({answer.status} {answer.text()})")
    expect_in('"code":"sql.', answer.text().replace(" ", ""), "its code")
    eventually(lambda: tenant.call("/config?key=n").status == 503, 30, "no execution without its record and its lease")
    expect_equal(world.platform.server.client().get("/healthz").status, 200, "the process lives")
    eventually(lambda: world.platform.server.client().get("/readyz").status == 503, 30, "it asks for no requests")
    world.postgres.start()
    world.recovered()
    expect_equal(tenant.config(), 1, "what was acknowledged, and nothing else")


@test("a slow PostgreSQL makes requests slow, not wrong, under load, too")
def postgres_slow(world):
    world.wire.delay = 0.02
    all_served(world, 11)
    world.wire.delay = 0.05
    answer = world.tenant.set_config(3)
    expect_equal(answer.status, 200, f"a write ({answer.text()})")
    world.wire.mend()
    expect_equal(world.tenant.config(), 3, "what was acknowledged")
    world.recovered()


@test("a PostgreSQL that says nothing costs a bounded time and no acknowledged write")
def postgres_silent(world):
    world.wire.stall()
    answer = world.tenant.set_config(4, timeout=60)  # comes although the database says nothing
    expect(answer.status in RETRY, f"a write ({answer.status} {answer.text()})")
    world.wire.cut()
    world.wire.mend()
    world.recovered(40)
    expect(world.tenant.config() in (3, 4), "an unacknowledged write happened wholly or not at all")


@test("PostgreSQL restarted under load: refusals in between, nothing acknowledged lost")
def postgres_restarted(world):
    tenant = world.tenant
    acknowledged, refused, strange = [], [], []
    stop = threading.Event()

    def write(worker):
        number = 0
        client = world.platform.client(tenant.token(), 30)
        while not stop.is_set():
            number += 1
            key = f"w{worker}-{number}"
            answer = client.patch(tenant.path("/config"), {"set": {key: "x"}, "unset": [f"w{worker}-{number - 20}"]}, headers=tenant.headers)
            if answer.status == 200:
                acknowledged.append(key)
            elif answer.status in RETRY:
                refused.append(key)
            else:
                strange.append((answer.status, answer.text()[:200]))

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.7)
    world.postgres.stop(signal.SIGQUIT)
    try:
        eventually(lambda: refused, 30, "a refusal")
        time.sleep(0.5)
        world.postgres.start()
        before = len(acknowledged)
        eventually(lambda: len(acknowledged) > before + 10, 30, "writes after the restart")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    expect_equal(strange, [], "answers that were neither good nor a refusal")
    present = world.platform.operator.get(tenant.path("/config"), headers=tenant.headers).json()["config"]
    for worker in range(3):
        own = [key for key in acknowledged if key.startswith(f"w{worker}-")]
        lost = [key for key in own[-15:] if key not in present]
        expect_equal(lost, [], f"acknowledged and lost, of {len(own)}")
    world.recovered()


@test("with the bundle store stopped, what runs goes on, and publishing is refused and works later")
def store_stopped(world):
    packed, content_hash = pages(world.folder, "later", "1.0.0")
    world.objects.stop()
    in_service_without_store(world)
    expect_equal(world.tenant.call("/config?key=n").status, 200, "an execution of a known extension")
    body = packed.read_bytes()
    path = f"/api/ext-bundles/upload-proxy?filename=b.tar.zst&size={len(body)}&declaredHash={content_hash}"
    answer = world.platform.operator.post(path, body, headers={"content-type": "application/octet-stream"})
    expect_equal((answer.status, answer.json()["error"]["code"]), (503, "S3_UNAVAILABLE"), "upload")
    listed = [one["slug"] for one in world.platform.operator.get("/api/v1/extensions").json()["extensions"]]
    expect("example.later" not in listed, "nothing was half published")
    world.objects.start()
    answer = eventually(lambda: retried(world, packed, content_hash), 20, "publishing works again", every=0.3)
    expect_equal(answer.json()["contentHash"], content_hash, "what was published")


@test("a slow bundle store makes publishing slow, not wrong; a silent one refuses it after its time, and no caller of an extension waits")
def store_slow(world):
    world.store_wire.delay = 0.03
    all_served(world, 12)
    packed, content_hash = pages(world.folder, "slow", "1.0.0")
    answer = world.platform.upload(world.tenant.publisher, packed, content_hash)
    expect_equal((answer.status, answer.json().get("contentHash")), (200, content_hash), f"what was published ({answer.text()})")
    world.store_wire.mend()
    world.store_wire.stall()
    in_service_without_store(world)
    packed, content_hash = pages(world.folder, "silent", "1.0.0")
    expect_equal(attempt_to_publish(world, packed, content_hash), 503, "publishing is refused")
    expect_equal(world.tenant.call("/config?key=n").status, 200, "an execution meanwhile")
    world.store_wire.cut()
    world.store_wire.mend()
    eventually(lambda: attempt_to_publish(world, packed, content_hash) in (200, 409), 20, "publishing works again", every=0.3)


def in_service_without_store(world):
    """Whoever watches the process is answered within the second that it waits for, sees that the store is missed, and lets it live and work."""
    world.platform.server.client().get("/readyz")  # nobody has asked for some time: the first one waits for the look
    watcher = world.platform.server.client(timeout=1)
    eventually(lambda: (answer := answered(watcher, "/readyz")) and not answer.json()["store_reachable"], 20, "the store is missed", every=0.5)
    for path in ("/readyz", "/healthz") * 3:
        # More than one attempt: a machine that stalls is no fault of the server. One that is always late is never read.
        expect_equal(eventually(partial(answered, watcher, path), 20, path).status, 200, path)
        time.sleep(0.4)


def answered(client, path):
    """The answer; None when there is none in the client's time."""
    try:
        return client.get(path)
    except OSError:
        return None


def attempt_to_publish(world, packed, content_hash):
    """The status of what refused it, or of the finalize."""
    body = Path(packed).read_bytes()
    path = f"/api/ext-bundles/upload-proxy?filename=b.tar.zst&size={len(body)}&declaredHash={content_hash}"
    client = world.platform.client(world.tenant.token(), 60)
    answer = client.post(path, body, headers={"content-type": "application/octet-stream"})
    if answer.status != 200:
        return answer.status
    wanted = {"key": answer.json()["upload"]["key"], "signature": world.tenant.publisher.sign(content_hash)}
    return client.post("/api/ext-bundles/finalize", wanted).status


@test("the bundle store restarted under load: publishing is refused in between, and every version that is listed is whole")
def store_restarted(world):
    acknowledged, refused, strange, stop = set(), [], [], threading.Event()

    def publish():
        number = 0
        while not stop.is_set():
            number += 1
            packed, content_hash = pages(world.folder, "loaded", f"1.{number}.0")
            status = attempt_to_publish(world, packed, content_hash)
            if status == 200:
                acknowledged.add((f"1.{number}.0", content_hash))
            elif status in (502, 503, 504):
                refused.append(status)
            else:
                strange.append(status)

    writer = threading.Thread(target=publish)
    writer.start()
    try:
        eventually(lambda: acknowledged, 30, "a version")
        world.objects.stop()
        eventually(lambda: refused, 30, "a refusal")
        expect_equal(world.tenant.call("/config?key=n").status, 200, "an execution meanwhile")
        world.objects.start()
        before = len(acknowledged)
        eventually(lambda: len(acknowledged) > before + 2, 30, "versions after the restart")
    finally:
        stop.set()
        writer.join()
    expect_equal(strange, [], "answers that were neither good nor a refusal")
    extensions = world.platform.operator.get("/api/v1/extensions").json()["extensions"]
    listed = {(one["version"], one["content_hash"].removeprefix("sha256:")) for extension in extensions if extension["slug"] == "example.loaded" for one in extension["versions"]}
    told = {(version, content_hash.removeprefix("sha256:")) for version, content_hash in acknowledged}
    expect(told <= listed, f"published and lost: {told - listed}")
    stored = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (world.objects.folder / "s3").rglob("bundle.tar.zst")}
    expect_equal(listed - {one for one in listed if one[1] in stored}, set(), "versions whose bundle is not there")


def retried(world, packed, content_hash):
    try:
        answer = world.platform.upload(world.tenant.publisher, packed, content_hash)
    except AssertionError:
        return None
    return answer if answer.status == 200 else None


@test("a full disk refuses writes without losing one, and needs no restart once there is room")
def disk_full(_):
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder:
        with SmallDisk(Path(folder) / "disk", 400) as disk, Platform(disk.folder / "p") as platform:
            check_full_disk(platform, disk)


def check_full_disk(platform, disk):
    tenant = Tenant(platform)
    expect_equal(tenant.set_config(1).status, 200, "a write with room")
    disk.fill()
    refused, acknowledged = None, 1
    for number in range(2, 400):
        answer = tenant.set_config(number)
        if answer.status != 200:
            refused = answer
            break
        acknowledged = number
    expect(refused is not None, "400 writes fit on a full disk")
    expect_equal(refused.status, 503, f"a write without room ({refused.text()})")
    expect_in("sql.", refused.text(), "its code")
    expect_equal(tenant.config(), acknowledged, "what was acknowledged, and nothing else")
    upload = "/api/ext-bundles/upload-proxy?filename=b.tar.zst"
    answer = platform.operator.post(upload, b"x" * 3_000_000, headers={"content-type": "application/octet-stream"})
    expect_in("http.spool_failed", answer.text(), f"an upload without room ({answer.status})")
    disk.free()
    eventually(lambda: tenant.set_config(acknowledged + 1).status == 200, 30, "a write with room again", every=0.2)
    eventually(tenant.works, 30, "executions with room again", every=0.2)
    expect_equal(platform.operator.get("/api/v1/audit/verify").json()["intact"], True, "the audit trail")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder:
        try:
            with Postgres() as postgres, ObjectStore(Path(folder) / "objects") as objects:
                with OnPostgres(folder, postgres, objects) as world:
                    return main(world)
        except Skip as reason:
            print(f"ok failures # SKIP {reason}")
            return 0


sys.exit(run())
