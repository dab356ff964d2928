#!/usr/bin/python3
"""A component that nobody has compiled yet: who may not wait is told when to come back, who may wait loses none of
the guest's time, and those who wait for one component share one compile."""

import os
import sys
import tempfile
import threading
from pathlib import Path

from harness import bundle
from harness.server import Algad
from harness.tap import eventually, expect, expect_equal, main, test

TENANT, EXTENSION, TOKEN = "acme", "0b6b6f5e-6c9e-4c7e-9d0a-2f6f9f8a1c11", "service-token-of-a-test"
ECHO = Path(__file__).resolve().parents[1] / "guests" / "text" / "echo.wasm"


class Runner:
    """A lone runner that lets a request wait so long for a compile."""

    def __init__(self, folder, cold_wait):
        self.folder, self.store = folder, folder / "bundles"
        self.store.mkdir(parents=True)
        token = folder / "service-token"
        token.write_text(TOKEN)
        config = f'[runner]\ntrust = "service-token"\nservice_token = "file:{token}"\n[bundles]\npath = "{self.store}"\n[engine]\ncold_wait = "{cold_wait}"\n'
        self.server = Algad("runner", folder / "runner", config=config)

    def place(self, name, filler=0):
        packed = self.folder / f"{name}.tar.zst"
        content_hash = bundle.pack(ECHO, bundle.manifest(), packed, {"name": name.encode(), "filler": os.urandom(filler)})
        bundle.place(self.store, TENANT, EXTENSION, packed, content_hash)
        return content_hash

    def execute(self, content_hash, timeout_ms=10000):
        sent = {"x-alga-tenant": TENANT, "x-alga-extension": EXTENSION, "x-runner-service-token": TOKEN}
        context = {"request_id": "r", "tenant_id": TENANT, "extension_id": EXTENSION, "install_id": "i", "content_hash": content_hash}
        body = {"context": context, "http": {"method": "GET", "path": "/", "query": {}, "headers": {}}, "limits": {"timeout_ms": timeout_ms}}
        return self.server.client(sent).post("/v1/execute", body)

    def compiles(self):
        lines = self.server.client().get("/metrics").text().splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith('alga_component_loads_total{from="compile"}')), 0)


@test("who may not wait for a compile is told when to come back, and finds it done then")
def cold(folder):
    runner = Runner(folder / "impatient", "1ms")
    with runner.server:
        content_hash = runner.place("first")
        refused = runner.execute(content_hash)
        expect_equal((refused.status, refused.json()["code"], refused.json()["end_class"]), (503, "engine.cold", "overload"), f"{refused.text()[:300]}")
        expect(int(refused.header("retry-after")) >= 1, "advice")
        answer = eventually(lambda: (got := runner.execute(content_hash)).status == 200 and got, 30, "the component")
        expect_equal(answer.json()["status"], 200, "answer")
        expect_equal(runner.compiles(), 1, "compiles, however often it was asked for")


@test("who waits loses none of the guest's time, and all who wait share one compile")
def warm(folder):
    runner = Runner(folder / "patient", "1m")
    with runner.server:
        content_hash, answers = runner.place("second", filler=24 << 20), []  # which takes its time to unpack
        callers = [threading.Thread(target=lambda: answers.append(runner.execute(content_hash, timeout_ms=150).json())) for _ in range(8)]
        for one in callers:
            one.start()
        for one in callers:
            one.join()
        line = eventually(lambda: [one for one in runner.server.log_lines("execution") if one["cold_us"] > 150_000], 10, "an execution that waited longer than its guest may run")
        expect_equal([answer["status"] for answer in answers], [200] * 8, f"answers ({answers[0]})")
        expect(line, "cold time")
        expect_equal(runner.compiles(), 1, "compiles")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as name:
        return main(Path(name))


if __name__ == "__main__":
    sys.exit(run())
