#!/usr/bin/python3
"""A component that nobody has compiled yet: who may not wait is told when to come back, who may wait loses none of
the guest's time, and those who wait for one component share one compile."""

import os
import sys
import tempfile
import threading
from pathlib import Path

from harness.lone_runner import LoneRunner, execution
from harness.tap import eventually, expect, expect_equal, main, test

ECHO = Path(__file__).resolve().parents[1] / "guests" / "text" / "echo.wasm"


class Runner(LoneRunner):
    def place_echo(self, name, filler=0):
        return self.place(ECHO, files={"name": name.encode(), "filler": os.urandom(filler)})

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
    with Runner(folder / "patient", cold_wait="1m") as runner:
        large = runner.place_echo("second", filler=24 << 20)  # which takes its time to unpack
        body, answers = execution(large, timeout_ms=150), []
        callers = [threading.Thread(target=lambda: answers.append(runner.execute(body).json())) for _ in range(8)]
        for one in callers:
            one.start()
        for one in callers:
            one.join()
        line = eventually(lambda: [one for one in runner.log_lines("execution") if one["cold_us"] > 150_000], 10, "an execution that waited longer than its guest may run")
        expect_equal([answer["status"] for answer in answers], [200] * 8, f"answers ({answers[0]})")
        expect(line, "cold time")
        expect_equal(runner.compiles(), 1, "compiles")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as name:
        return main(Path(name))


if __name__ == "__main__":
    sys.exit(run())
