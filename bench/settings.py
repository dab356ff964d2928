#!/usr/bin/python3
"""What each setting of the engine costs or gains.

Runs the bare loop, with one thread on one processor and with two on all, with one setting changed at a
time. The settings take turns in every round, and the table shows the best and the median round: on a
machine that is shared the best says what the work costs, the median what one sees; the ratio is that of
the medians to the first row's. The open questions of docs/benchmarks.md were answered with it.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import machine  # noqa: E402
import report  # noqa: E402
from loops import Loops  # noqa: E402

MIB = 1 << 20
CASES = {
    "as shipped": {},
    "pages kept, batches of 4": {"DECOMMIT_BATCH": 4},
    "pages kept, batches of 16": {"DECOMMIT_BATCH": 16},
    "pages kept up to 4 MiB": {"KEEP_RESIDENT": 4 * MIB},
    "pages given back": {"KEEP_RESIDENT": 0},
    "pages given back, batches of 16": {"KEEP_RESIDENT": 0, "DECOMMIT_BATCH": 16},
    "pages given back, batches of 64": {"KEEP_RESIDENT": 0, "DECOMMIT_BATCH": 64},
    "pagemap_scan, kept up to 1 MiB": {"PAGEMAP": 1, "KEEP_RESIDENT": MIB},
    "no ticker": {"TICK_US": 0},
    "tick 5 ms": {"TICK_US": 5000},
    "tick 10 ms": {"TICK_US": 10_000},
    "stacks not zeroed": {"STACK_ZEROING": 0},
}


# Over a Wasmtime that has the feature; `off` shows whether its mere presence costs.
CONCURRENCY_CASES = {
    "concurrency_support off": {"CONCURRENCY": 0},
    "concurrency_support on": {"CONCURRENCY": 1},
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("component", type=lambda name: Path(name).resolve(strict=True))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--count", type=int, default=400, help="executions of a loop")
    parser.add_argument("--only", metavar="WORDS", help="the shipped setting and those whose name has these words")
    parser.add_argument("--concurrency", action="store_true", help="also concurrency_support: compiles Wasmtime anew, once")
    return parser.parse_args()


def main():
    options = arguments()
    component, rounds, count = options.component, options.rounds, options.count
    cases = {**CASES, **(CONCURRENCY_CASES if options.concurrency else {})}
    if options.only:
        cases = {name: cases[name] for name in cases if name == "as shipped" or options.only in name}
    results = {name: [] for name in cases}
    with tempfile.TemporaryDirectory(prefix="alga-settings.") as folder:
        loops = Loops(folder)
        if options.concurrency:
            loops.build_concurrency()
        print(f"{machine.describe()}, load average {machine.load_average():.1f}; {component.name}, {rounds} rounds of {count}\n", flush=True)
        for _ in range(rounds):
            for name, settings in cases.items():
                environment = {key: str(value) for key, value in settings.items()}
                alone = loops.run("bare", component, count, 1, {0}, environment)
                together = loops.run("bare", component, count // 2, 2, None, environment)
                results[name].append((alone, together))
    rows = []
    shipped = [machine.median([run[threads]["cpu_us"] for run in results["as shipped"]]) for threads in (0, 1)]
    for name, runs in results.items():
        row = [name]
        for threads in (0, 1):
            cpu = [run[threads]["cpu_us"] for run in runs]
            median = machine.median(cpu)
            row += [min(cpu), median, f"{median / shipped[threads]:.2f}", machine.median([run[threads]["per_second"] for run in runs])]
        rows.append((*row, runs[0][0]["faults"]))
    columns = ("CPU µs, best", "median", "ratio", "per second")
    print(report.table(("setting", *columns, *(f"2 threads: {name}" for name in columns), "page faults"), rows))


if __name__ == "__main__":
    main()
