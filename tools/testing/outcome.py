"""What came of one program of tests."""

from dataclasses import dataclass, field

SHOWN_LINES = 80


@dataclass
class Outcome:
    """One row of the summary. `failures` holds names; `skipped` pairs of name and reason."""

    name: str
    passed: int = 0
    failures: list = field(default_factory=list)
    skipped: list = field(default_factory=list)
    seconds: float = 0.0
    output: str = ""

    def line(self):
        mark = "✗" if self.failures else ("✓" if self.passed else "–")
        text = f"{mark} {self.name}: {self.passed} passed, {len(self.failures)} failed"
        if self.skipped:
            text += f", {len(self.skipped)} skipped"
        return f"{text} ({self.seconds:.1f} s)"

    def tail(self):
        """The end of the output, for a reader who has nothing but the log of CI."""
        lines = self.output.rstrip().splitlines()
        shown = lines[-SHOWN_LINES:]
        head = [f"    … {len(lines) - len(shown)} lines before"] if len(lines) > len(shown) else []
        named = [f"    failed: {name}" for name in self.failures]
        return "\n".join(named + head + ["    | " + line for line in shown])

    @staticmethod
    def total(outcomes):
        whole = Outcome("total")
        for outcome in outcomes:
            whole.passed += outcome.passed
            whole.failures += [f"{outcome.name}: {name}" for name in outcome.failures]
            whole.skipped += [(f"{outcome.name}: {name}", why) for name, why in outcome.skipped]
            whole.seconds += outcome.seconds
        return whole
