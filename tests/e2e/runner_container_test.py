#!/usr/bin/python3
"""The packaged server, in a real OCI image run by podman, executes a dynamic component.

Wants Debian's podman, runc, buildah and mmdebstrap, root, and package sources; says so and skips where
one is missing. No image is pulled: the base is made of Debian packages. Images live in a folder of
their own that is removed at the end.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import bundle
from harness.client import Client
from harness.containers import need_container_tools, podman_command, ulimits
from harness.server import fixture, program
from harness.tap import Skip, eventually, expect, expect_equal, expect_in, main, test

ROOT = Path(__file__).resolve().parents[2]
NAME = "runner_container_executes_dynamic_component"
IMAGE = "localhost/alga:test"
TENANT, EXTENSION = "acme", "0b6b6f5e-6c9e-4c7e-9d0a-2f6f9f8a1c11"
BUILD_SECONDS = 600
USER = 10001
CONFIG = """
[runner]
trust = "service-token"
service_token = "file:/config/service-token"

[bundles]
path = "/bundles"

[engine]
cold_wait = "2m"
"""


def podman(storage, *arguments, **more):
    return subprocess.run([*podman_command(storage), *arguments], capture_output=True, text=True, **more)


def build_image(storage):
    command = [ROOT / "deploy" / "build-image", "--base-from-packages", "--storage", storage, "--tag", IMAGE, program()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS)
    expect_equal(done.returncode, 0, f"deploy/build-image:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def can_run_containers(storage):
    tried = podman(storage, "run", "--rm", "--pull", "never", "--network", "host", *ulimits(), "--entrypoint", "/bin/true", IMAGE)
    if tried.returncode:
        raise Skip(f"this machine runs no containers: {tried.stderr.strip()[-300:]}")


def prepare(folder):
    """Configuration, service token and a bundle, readable by the container's user."""
    config, bundles = folder / "config", folder / "bundles"
    config.mkdir()
    (config / "service-token").write_text("token-of-the-container-test")
    (config / "algad.toml").write_text(CONFIG)
    packed = folder / "bundle.tar.zst"
    content_hash = bundle.pack(fixture("js-echo.wasm"), bundle.manifest(capabilities=["cap:log.emit"]), packed)
    bundle.place(bundles, TENANT, EXTENSION, packed, content_hash)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    for path in (bundles, *bundles.rglob("*")):
        os.chown(path, USER, USER)
    return config, bundles, content_hash


def execute(origin, content_hash):
    headers = {"x-alga-tenant": TENANT, "x-alga-extension": EXTENSION, "x-runner-service-token": "token-of-the-container-test"}
    body = {
        "context": {"tenant_id": TENANT, "extension_id": EXTENSION, "content_hash": content_hash, "request_id": "container-1"},
        "http": {"method": "POST", "path": "/log", "query": {"message": "the-handler-ran"}, "headers": {}},
        "limits": {"timeout_ms": 10000},
        "providers": ["cap:log.emit"],
    }
    return Client(origin, timeout=150).post("/v1/execute", body, headers=headers)


@test(NAME)
def runner_container(folder, storage):
    need_container_tools()
    build_image(storage)
    can_run_containers(storage)
    config, bundles, content_hash = prepare(folder)
    with tempfile.NamedTemporaryFile("w+", suffix=".log") as log:
        command = [*podman_command(storage), "run", "--rm", "--pull", "never", "--name", "alga-test"]
        command += ["--network", "host", "--read-only", "--tmpfs", "/tmp", *ulimits()]
        command += ["-v", f"{config}:/config:ro", "-v", f"{bundles}:/bundles", IMAGE]
        command += ["serve", "--role", "runner", "--config", "/config/algad.toml", "--data", "/var/lib/alga"]
        command += ["--listen", "127.0.0.1:0", "--port-file", "/var/lib/alga/port"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            origin = f"http://127.0.0.1:{wait_for_port(storage, process, log.name)}"
            answer = execute(origin, content_hash)
            expect_equal(answer.status, 200, f"HTTP status ({answer.text()[:500]})")
            result = answer.json()
            expect_equal((result["status"], result["error"]), (200, None), f"result {answer.text()[:500]}")
            expect_in('"logged":4', base64.b64decode(result["body_b64"]).decode(), "the handler's JSON body")
            eventually(lambda: ran(Path(log.name).read_text()), 15, "a log line that shows the handler ran")
            eventually(lambda: '"text":"the-handler-ran"' in Path(log.name).read_text(), 15, "the guest's own line in the log")
        finally:
            podman(storage, "stop", "--time", "10", "alga-test")
            process.wait(30)
        expect("panic" not in Path(log.name).read_text(), "the server panicked")


def ran(log):
    """Whether the server's structured log holds the execution of our request, ended well."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return any(
        line["message"] == "execution" and line["request_id"] == "container-1" and line["end_class"] == "ok" for line in lines
    )


def wait_for_port(storage, process, log):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        expect(process.poll() is None, f"the container ended:\n{Path(log).read_text()[-3000:]}")
        shown = podman(storage, "exec", "alga-test", "cat", "/var/lib/alga/port")
        if shown.returncode == 0 and shown.stdout.strip():
            port = shown.stdout.strip().rsplit(":", 1)[-1]
            try:
                if Client(f"http://127.0.0.1:{port}", timeout=5).get("/readyz").status == 200:
                    return port
            except OSError:
                pass
        time.sleep(0.2)
    raise RuntimeError(f"the server in the container was not ready:\n{Path(log).read_text()[-3000:]}")


def run():
    storage = tempfile.mkdtemp(prefix="alga-images.")
    try:
        with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder:
            return main(Path(folder), storage)
    finally:
        if shutil.which("podman"):
            podman(storage, "rm", "--force", "--all")
        shutil.rmtree(storage, ignore_errors=True)


sys.exit(run())
