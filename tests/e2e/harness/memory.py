"""The memory of a running process, searched for what must not be there, in every spelling."""

import array
import base64
import re
import urllib.parse
from pathlib import Path

from .tap import expect


def spellings(secret):
    """The secret as it is, and as base64 (wherever in a text it begins), hexadecimal, reversed, percent-encoded."""
    raw = secret.encode()
    found = {raw, raw.hex().encode(), raw.hex().upper().encode(), raw[::-1], urllib.parse.quote(secret).encode()}
    for shift in range(3):
        # Without the characters at both ends, which depend on the neighbours.
        found.add(base64.b64encode(b"x" * shift + raw)[4:-4])
        found.add(base64.urlsafe_b64encode(b"x" * shift + raw)[4:-4])
    return found


def holds(content, secret):
    return any(spelling in content for spelling in spellings(secret))


def memory_of(pid, hidden=False):
    """What a core file of the process would hold, piece by piece: every readable page that is there and not left
    out of core files (`dd`), read as root; with `hidden` those that are left out too. gcore would write terabytes
    of address space that the engine reserves."""
    regions, current = [], None
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        head = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line)
        if head:
            current = {"from": int(head[1], 16), "to": int(head[2], 16), "readable": "r" in head[3]}
            regions.append(current)
        elif line.startswith("Rss:"):
            current["resident"] = int(line.split()[1]) > 0
        elif line.startswith("VmFlags:"):
            current["dumped"] = "dd" not in line.split()
    with open(f"/proc/{pid}/pagemap", "rb") as pagemap, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for region in regions:
            if region["readable"] and region["resident"] and (hidden or region["dumped"]):
                yield from _present(region["from"], region["to"], pagemap, memory)


def _present(begin, end, pagemap, memory):
    page, run = 4096, None
    pagemap.seek(begin // page * 8)
    entries = array.array("Q", pagemap.read((end - begin) // page * 8))
    for index, entry in enumerate([*entries, 0]):
        there = entry >> 62  # in memory or in swap
        if there and run is None:
            run = index
        elif not there and run is not None:
            memory.seek(begin + run * page)
            try:
                yield memory.read((index - run) * page)
            except OSError:
                pass  # unmapped meanwhile
            run = None


def secrets_in_memory(pid, *secrets, hidden=False):
    """Which of the secrets are there; fails when there was little to look at."""
    found, looked, heap = set(), 0, False
    for piece in memory_of(pid, hidden):
        looked += len(piece)
        heap = heap or b"x-request-id" in piece
        found |= {secret for secret in secrets if holds(piece, secret)}
    expect(heap and looked > 10_000_000, f"only {looked} bytes were looked at, and nothing of the heap")
    return found
