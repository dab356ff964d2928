"""Tables and budgets of what was measured."""

COLUMNS = ("what", "callers", "per_second", "p50_us", "p99_us", "p999_us", "cpu_us")
HEADS = ("what", "callers", "per second", "p50 µs", "p99 µs", "p99.9 µs", "CPU µs", "CPU ÷ bare")


def table(heads, rows):
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value):
    return f"{value:.0f}" if isinstance(value, float) else str(value)


def engine(result):
    """What one guest costs: loops, server, waterfall."""
    bare = {row["callers"]: row["cpu_us"] for row in result["rows"] if row["what"] == "bare loop"}
    rows = []
    for row in result["rows"]:
        ratio = row["cpu_us"] / bare[row["callers"]] if bare.get(row["callers"]) else 0
        rows.append([row.get(name, "") for name in COLUMNS] + [f"{ratio:.2f}"])
    text = f"\n### {result['name']}\n\n{table(HEADS, rows)}\n"
    for row in result["rows"]:
        if "waterfall" in row:
            stages = [[name, *(_cell(value) for value in values)] for name, values in row["waterfall"].items()]
            text += f"\nWaterfall, callers {row['callers']}, µs:\n\n{table(('stage', 'p50', 'p99', 'p99.9'), stages)}\n"
    if "cold" in result:
        cold = result["cold"]
        text += f"\nFirst answer after a restart, ms: {', '.join(f'{value * 1000:.0f}' for value in cold['restart'])};"
        text += f" after compiling: {cold['compile']:.1f} s; warm: {cold['warm'] * 1000:.1f} ms.\n"
    return text


class Budgets:
    """Lines `budget … measured … met`."""

    def __init__(self):
        self.lines = []

    def check(self, what, limit, measured, unit="", digits=2):
        met = measured <= limit
        line = f"budget {what} ≤ {limit}{unit}: measured {measured:.{digits}f}{unit}: {'met' if met else 'NOT MET'}"
        self.lines.append(line)
        return met

    def none_failed(self, what, failed):
        self.lines.append(f"budget {what}: none fails: measured {failed} failed: {'met' if not failed else 'NOT MET'}")

    def text(self):
        return "\n".join(self.lines)
