#!/usr/bin/python3
"""A component that nobody has compiled yet: who may not wait is told when to come back, who may wait loses none of
the guest's time, and those who wait for one component share one compile."""

import sys
import tempfile
import threading
import time
from pathlib import Path

from harness.lone_runner import LoneRunner, execution
from harness.loopback import LoopbackServer
from harness.tap import eventually, expect, expect_equal, main, test

ECHO = Path(__file__).resolve().parents[1] / "guests" / "text" / "echo.wasm"


#: Milliseconds that a guest may run in the second test.
WALL_MS = 1000


class HeldStore(LoopbackServer):
    """The bundles of a folder over HTTP; they come when `release` is set. `asked` is set by the first request for one."""

    def __init__(self, folder):
        super().__init__()
        self.folder, self.asked, self.release = folder, threading.Event(), threading.Event()

    def __exit__(self, *about):
        self.release.set()
        super().__exit__(*about)

    def serve(self, handler, body):
        path = self.folder / handler.path.lstrip("/")
        if handler.command == "GET":
            self.asked.set()
            self.release.wait()
        self.reply(handler, 200 if path.is_file() else 404, path.read_bytes() if path.is_file() else b"")


class Runner(LoneRunner):
    def place_echo(self, name):
        return self.place(ECHO, files={"name": name.encode()})

    def compiles(self):
        lines = self.client().get("/metrics").text().splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith('alga_component_loads_total{from="compile"}')), 0)


@test("who may not wait for a compile is told when to come back, and finds it done then")
def cold(folder):
    with Runner(folder / "impatient", cold_wait="1ms") as runner:
        body = execution(runner.place_echo("first"))
        refused = runner.execute(body)
        expect_equal((refused.status, refused.json()["code"], refused.json()["end_class"]), (503, "engine.cold", "overload"), f"{refused.text()[:300]}")
        expect(int(refused.header("retry-after")) >= 1, "advice")
        answer = eventually(lambda: (got := runner.execute(body)).status == 200 and got, 30, "the component")
        expect_equal(answer.json()["status"], 200, "answer")
        expect_equal(runner.compiles(), 1, "compiles, however often it was asked for")


@test("who waits loses none of the guest's time, and all who wait share one compile")
def warm(folder):
    runner = Runner(folder / "patient", cold_wait="1m")
    with HeldStore(runner.bundles) as store:
        runner.arguments += ["--set", "bundles.store=http", "--set", f"bundles.url={store.origin}"]
        with runner:
            body, answers = execution(runner.place_echo("second"), timeout_ms=WALL_MS), []
            callers = [threading.Thread(target=lambda: answers.append(runner.execute(body).json())) for _ in range(8)]
            for one in callers:
                one.start()
            expect(store.asked.wait(30), "the bundle was asked for")
            time.sleep(1.5 * WALL_MS / 1000)
            store.release.set()
            for one in callers:
                one.join()
            expect_equal([answer["status"] for answer in answers], [200] * 8, f"answers ({answers[0]})")
            eventually(lambda: any(line["cold_us"] > 1000 * WALL_MS for line in runner.log_lines("execution")), 30, "an execution that waited longer than its guest may run")
            expect_equal(runner.compiles(), 1, "compiles")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as name:
        return main(Path(name))


if __name__ == "__main__":
    sys.exit(run())
