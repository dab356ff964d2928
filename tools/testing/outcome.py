"""What came of one program of tests."""

from dataclasses import dataclass, field

SHOWN_LINES = 80
REASON_LINES = 4


@dataclass
class Outcome:
    """One row of the summary. `failures` holds names, `reasons` what is known of some of them; `skipped` pairs of name
    and reason."""

    name: str
    passed: int = 0
    failures: list = field(default_factory=list)
    reasons: dict = field(default_factory=dict)
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

    def fail(self, name, reason=""):
        """Adds a failure; of a long reason the end is kept, where tracebacks say what went wrong."""
        self.failures.append(name)
        lines = [line.strip()[:400] for line in reason.splitlines() if line.strip()]
        if lines:
            self.reasons[name] = lines[-REASON_LINES:]

    @staticmethod
    def total(outcomes):
        whole = Outcome("total")
        for outcome in outcomes:
            whole.passed += outcome.passed
            whole.failures += [f"{outcome.name}: {name}" for name in outcome.failures]
            whole.reasons |= {f"{outcome.name}: {name}": lines for name, lines in outcome.reasons.items()}
            whole.skipped += [(f"{outcome.name}: {name}", why) for name, why in outcome.skipped]
            whole.seconds += outcome.seconds
        return whole
