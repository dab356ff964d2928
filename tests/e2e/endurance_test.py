#!/usr/bin/python3
"""Many executions and many that wait, through a real runner with real guests. ./x bench runs more of each."""

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

from harness.server import fixture  # noqa: E402
from harness.tap import expect, expect_equal, main, test  # noqa: E402
import steady  # noqa: E402

MOST_GROWTH_KIB = 8192  # for each 1,000 executions, 8 KiB for one; a leaked store would be 600 KiB for one


@test("1,500 executions of twenty tenants all answer and leave no memory behind")
def _(folder):
    guests = [fixture("js-echo.wasm"), fixture("js-compat-echo.wasm")]
    row = steady.endurance(folder / "endurance", guests, 1500, steps=10, path="/echo")
    expect_equal(row["failed"], 0, "executions that failed")
    expect(row["kib_per_1000"] < MOST_GROWTH_KIB, f"memory grows: {row['anonymous_kib']} KiB, {row['kib_per_1000']:.0f} per 1,000")


@test("300 guests wait on a slow API at once: none fails, no thread is added")
def _(folder):
    row = steady.waiting(folder / "waiting", fixture("js-echo.wasm"), 300, seconds=6)
    expect_equal(row["failed"], 0, "executions that failed")
    expect_equal(row["threads"][1], row["threads"][0], "threads")
    expect(row["most_at_once"] >= 250, f"only {row['most_at_once']} waited at once")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="alga-endurance.") as name:
        sys.exit(main(Path(name)))
