#!/usr/bin/python3
"""The story of ./x demo, in one process and in many: every promise of it is kept, and nothing of it is left behind."""

import json
import os
import re
import subprocess
import sys
import tempfile
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from harness.author import ROOT, release_only
from harness.server import program
from harness.tap import Skip, expect, expect_equal, expect_in, main, test

sys.path.insert(0, str(ROOT / "tools"))

from story.page import Page  # noqa: E402
from story.tickets import FIRST_KEY, SECOND_KEY  # noqa: E402

# Ends what hangs: both stories within the E2E_SECONDS (tools/testing/suites.py) of this program. A busy machine compiles for minutes.
DEMO_SECONDS = 400
PROMISES = [
    "the extension answered 200",
    "with the tickets of the API",
    "its first visit is counted in storage",
    "the API saw the secret as its key",
    "the twenty-first visit is the twenty-first",
    "the API refuses the old key, and the extension says so",
    "the very next request uses the new key",
    "an address without a rule is not allowed",
    "the extension's own log lines are there",
    "executions are recorded",
    "where their time went is on record",
    "the audit trail has events",
    "metrics are served",
    "the secret is in no output of a server",
]


def shown(said, title):
    """The lines that the demo shows under a title, a regular expression."""
    found = re.search(rf"^   {title}\n((?:   │ .*\n)+)", said, re.M)
    expect(found is not None, f"nothing is shown under {title!r}")
    return [line.removeprefix("   │ ") for line in found[1].splitlines()]


def expect_told(said):
    """Request, answer, the guest's log lines and where the time went stand in the story."""
    answer = json.loads("".join(shown(said, r"GET /api/ext/demo\.tickets/tickets -> 200 in \d+ ms")))
    expect_equal((len(answer["tickets"]), answer["visits"]), (2, 1), "the answer to the first request")
    expect_equal(shown(said, r"GET /api/ext/demo\.tickets/elsewhere -> 200"), ['{"refused":"not-allowed"}'], "the answer without a rule")
    expect(any("asked the API" in line for line in shown(said, "alga logs")), "the guest's log lines")
    head, *rows = [re.split(r" {2,}", line.strip()) for line in shown(said, "where the time of the last ones went")]
    expect_equal(len(rows), 3, "executions with their time")
    for row in rows:
        times = {name: int(value) for name, value in zip(head, row, strict=True)}
        expect(times["call_us"] > 0, f"the time in the handler: {times}")
        expect(times["call_us"] <= 1000 * (times["duration_ms"] + 1), f"the handler took longer than the whole: {times}")


def told(folder, *options):
    """What the demo prints, once it has ended well, kept every promise and left nothing in its folder for temporary things."""
    scratch = folder / ("many" if options else "one")
    scratch.mkdir()
    folder.chmod(0o711)  # PostgreSQL, which may stand in there, runs as a user of its own
    command = [ROOT / "tools" / "demo", *options]
    env = {**os.environ, "ALGAD": program(), "TMPDIR": str(scratch), "NODE_DISABLE_COMPILE_CACHE": "1"}
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEMO_SECONDS)
    said = done.stdout + done.stderr
    if found := re.search(r"^this needs more than is here: (.*)$", said, re.M):
        raise Skip(found[1])
    expect_equal(done.returncode, 0, f"status of the demo:\n{said[-4000:]}")
    expect_equal(re.findall(r"^   ✓ (.*)$", said, re.M), PROMISES, "promises that were kept")
    expect_in(f"\n{len(PROMISES)} of {len(PROMISES)} promises kept in ", said, "the last line")
    expect_told(said)
    expect_equal([path.name for path in scratch.iterdir()], [], "what is left behind")
    expect(FIRST_KEY not in said and SECOND_KEY not in said, "the demo shows a secret")
    return said


@test("./x demo: the main job in one process, from an empty folder to the audit trail")
def one_process(folder):
    expect_in("algad --role all listens on", told(folder), "the story")


@test("./x demo --split: the same through a control plane, two gateways and two runners, with PostgreSQL and S3")
def many_processes(folder):
    said = told(folder, "--split")
    expect_in("PostgreSQL in ", said, "the story")
    expect_in("S3 on http", said, "the story")
    for role, wanted in (("all", 0), ("control-plane", 1), ("gateway", 2), ("runner", 2)):
        expect_equal(said.count(f"algad --role {role} "), wanted, f"processes of the role {role}")


@test("a promise that is not kept is the status of the demo")
def broken_promise(_):
    for checks, wanted in (([True, True], 0), ([True, False], 1), ([], 1)):
        page = Page()
        with redirect_stdout(StringIO()):
            for holds in checks:
                page.check("a promise", holds)
            status = page.end()
        expect_equal(status, wanted, f"status after {checks}")


def run():
    release_only("./x demo")
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder:
        return main(Path(folder))


sys.exit(run())
