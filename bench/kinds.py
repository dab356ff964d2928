"""The bare loop over guests of every kind: what language, engine and the features built in cost."""

import machine
import report

CALLERS = (1, 8, 64)
GUESTS = {
    "js-trivial": "JavaScript on StarlingMonkey, built without HTTP",
    "pure-trivial": "the same, built without clocks, randomness and streams, too",
    "qjs-trivial": "JavaScript on QuickJS",
    "rust-trivial": "Rust",
    "cpp-trivial": "C++ without a library",
}


def compare(loops, guests, rounds, count):
    """All guests in every round, so that they share the machine's changes of mind; medians for each guest and number of callers."""
    found = {}
    for _ in range(rounds):
        for callers in CALLERS:
            for name in guests.keys() & GUESTS.keys():
                row = loops.run("bare", guests[name], max(50, count // callers), callers)
                found.setdefault((name, callers), []).append(row)
    rows = []
    for name in GUESTS:
        for callers in CALLERS:
            if runs := found.get((name, callers)):
                figures = ("cpu_us", "per_second", "p50_us", "p99_us", "faults")
                medians = {figure: machine.median([run[figure] for run in runs]) for figure in figures}
                rows.append({"guest": GUESTS[name], "bytes": guests[name].stat().st_size, "callers": callers, **medians})
    return rows


def table(rows):
    heads = ("guest", "kB", "callers", "CPU µs", "per second", "p50 µs", "p99 µs", "page faults")
    cells = [
        (row["guest"], row["bytes"] / 1000, row["callers"], row["cpu_us"], row["per_second"], row["p50_us"], row["p99_us"], row["faults"])
        for row in rows
    ]
    return "\n" + report.table(heads, cells)
