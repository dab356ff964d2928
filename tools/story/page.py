"""Prints the demo as a story and remembers which expectations held."""

import time

WIDTH = 100


class Page:
    def __init__(self):
        self._began = time.monotonic()
        self._checks = []

    def chapter(self, title):
        print(f"\n── {title}  ({time.monotonic() - self._began:.1f} s)", flush=True)

    def fact(self, text):
        print(f"   {text}", flush=True)

    def show(self, title, text):
        print(f"   {title}", flush=True)
        for line in text.rstrip().splitlines():
            print(f"   │ {line[:WIDTH * 2]}")

    def table(self, title, rows, columns):
        """Shows the columns that at least one row has."""
        columns = [name for name in columns if any(row.get(name) is not None for row in rows)]
        cells = [[str(row.get(name, "")) for name in columns] for row in rows]
        widths = [max(map(len, column)) for column in zip(columns, *cells)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)) for line in [columns, *cells]]
        self.show(title, "\n".join(lines) or "nothing")

    def check(self, sentence, holds):
        self._checks.append(bool(holds))
        print(f"   {'✓' if holds else '✗'} {sentence}", flush=True)

    def end(self):
        """The exit status: 0 when everything that was promised happened."""
        held = sum(self._checks)
        print(f"\n{held} of {len(self._checks)} promises kept in {time.monotonic() - self._began:.1f} s", flush=True)
        return 0 if held == len(self._checks) and held else 1
