#!/usr/bin/python3
"""What ./x test makes of what its programs say, and what the page of requirements may claim: over suites and pages made
for the purpose, in a copy of tools/."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.tap import expect, expect_equal, expect_in, main, test

ROOT = Path(__file__).resolve().parents[2]
REASON = "this machine runs no containers: no such runtime"
ROW = "| {} | {} | `code.cc` | `code_test.cc:Does` | {} |\n"

# Plays `cargo test` without the guests.
CARGO = """#!/bin/sh
echo "test it_ends ... ok"
echo "test it_reaches_nothing ... ignored, needs tests/guests/build.sh"
echo "test it_hoards ... ignored"
echo "test result: ok. 1 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s"
"""


class World:
    """A repository of nothing but tools/, and what a test puts into it."""

    def __init__(self, folder):
        self.folder = folder
        shutil.copytree(ROOT / "tools", folder / "tools", ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "docs").mkdir()
        (folder / "code.cc").write_text("")
        (folder / "code_test.cc").write_text("TEST(Code, Does) {}\n")

    def run(self, *command, **settings):
        """(status, lines) of a program of tools/, with these variables of ours and no others."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("ALGA_")} | settings
        done = subprocess.run([self.folder / "tools" / command[0], *command[1:]], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        return done.returncode, (done.stdout + done.stderr).splitlines()

    def suite(self, **scripts):
        """Runs the end-to-end suite of these programs."""
        tests = self.folder / "tests" / "e2e"
        shutil.rmtree(tests, ignore_errors=True)
        tests.mkdir(parents=True)
        for name, text in scripts.items():
            path = tests / f"{name}_test.sh"
            path.write_text(f"#!/bin/sh\n{text}\n")
            path.chmod(0o755)
        return self.run("run-tests", "--only", "e2e")

    def requirements(self, *rows):
        (self.folder / "docs" / "requirements.md").write_text("".join(ROW.format(*row) for row in rows))
        return self.run("check-requirements")


@test("a test that cannot run here is in the sum as skipped, with its name and its reason, and passes for nothing")
def skipped(world):
    status, lines = world.suite(a=f"echo 'ok a container runs # SKIP {REASON}'", b="echo ok it works")
    expect_equal(lines[-1], "1 passed, 0 failed, 1 skipped", "the sum")
    expect_in(f"skipped: e2e/a_test.sh: a container runs: {REASON}", lines, "the reason")
    expect_equal(status, 0, "exit status")


@test("a run in which everything was skipped has passed nothing and is a failure")
def nothing_ran(world):
    status, lines = world.suite(a=f"echo 'ok a container runs # SKIP {REASON}'")
    expect_in("0 passed, 0 failed, 1 skipped", lines, "the sum")
    expect_equal(status, 1, "exit status")


@test("a test of the bridge that cargo ignores is in the sum as skipped, with the reason that it gives")
def ignored(world):
    for folder in ("bridge", "bin"):
        (world.folder / folder).mkdir()
    (world.folder / "bridge" / "Cargo.toml").write_text("")
    cargo = world.folder / "bin" / "cargo"
    cargo.write_text(CARGO)
    cargo.chmod(0o755)
    settings = {"PATH": f"{cargo.parent}:{os.environ['PATH']}", "CARGO_TARGET_DIR": "none", "RUSTUP_TOOLCHAIN": "none"}
    status, lines = world.run("run-tests", "--only", "rust", **settings)
    expect_equal((status, lines[-1]), (0, "1 passed, 0 failed, 2 skipped"), "the sum")
    expect_in("skipped: bridge: it_reaches_nothing: needs tests/guests/build.sh", lines, "a reason")
    expect_in("skipped: bridge: it_hoards: ignored", lines, "none given")


GTEST = """#!/bin/sh
for word; do case $word in --gtest_output=json:*) report=${word#--gtest_output=json:} ;; esac; done
printf 'a_test.cc:3: Skipped\\nsanitizers need their address space\\n'
echo '{"testsuites":[{"name":"S","testsuite":[{"name":"T","status":"RUN","result":"SKIPPED"},{"name":"U","status":"RUN","result":"COMPLETED"}]}]}' >"$report"
"""


@test("a test in C++ that cannot run here is in the sum as skipped, with the reason that it gave")
def skipped_gtest(world):
    program = world.folder / "build/release/src/a/a_test"
    program.parent.mkdir(parents=True)
    (world.folder / "src/a").mkdir(parents=True)
    program.write_text(GTEST)
    program.chmod(0o755)
    status, lines = world.run("run-tests", "--only", "cpp")
    expect_equal((status, lines[-1]), (0, "1 passed, 0 failed, 1 skipped"), f"the sum of {lines}")
    expect_in("skipped: a_test: S.T: sanitizers need their address space", lines, "the reason")


@test("a program that ends badly, says nothing or says `not ok` is a failure, whatever else it said")
def failures(world):
    for text, failed in (
        ("echo ok it works; exit 3", "e2e/a_test.sh: e2e/a_test.sh exit status 3"),
        ("true", "e2e/a_test.sh: e2e/a_test.sh ran no test"),
        ("echo ok it works; echo not ok it does not", "e2e/a_test.sh: it does not"),
        ("echo ok it works; kill -9 $$", "e2e/a_test.sh: e2e/a_test.sh died of SIGKILL"),
    ):
        status, lines = world.suite(a=text)
        expect_in(f"FAILED: {failed}", lines, text)
        expect(", 1 failed" in lines[-1], f"{text}: {lines[-1]}")
        expect_equal(status, 1, f"exit status of {text}")


@test("parsers under sanitizers are left out, with the reason, of a run that has taken long, and are no reason to fail; in any other they must be built")
def sanitized(world):
    began = str(time.time() - 75 * 60)
    _, lines = world.run("run-tests", "--only", "sanitized", ALGA_BEGAN=began)
    expect_equal(lines[-2], "0 passed, 0 failed, 1 skipped", "the sum of a long run")
    left_out = [line for line in lines if line.startswith("skipped: parsers under ASan and UBSan: built and run: 75 minutes")]
    expect_equal(len(left_out), 1, f"the reason in {lines}")
    status, lines = world.run("run-tests", "--only", "sanitized", ALGA_BEGAN=str(time.time()))
    expect_equal((status, lines[-1]), (1, "0 passed, 1 failed"), "a run in which they cannot be built")


@test("the page of requirements claims no file, no test and no row that is not there")
def requirements(world):
    expect_equal(world.requirements(("I01", "it runs", "done")), (0, ["0 planned, 0 partial, 1 done"]), "a good page")
    for rows, fault in (
        ([("I01", "it runs", "finished")], "I01 state 'finished' is none of planned, partial, done"),
        ([("I01", "it runs", "done"), ("I01", "again", "done")], "I01 I01 stands twice"),
        ([("M01", "see I07", "done")], "M01 names I07, which is no row"),
        ([("M01", "see I07", "done"), ("I07", "its detail", "partial")], "M01 is done, but I07, which it names, is partial"),
    ):
        status, lines = world.requirements(*rows)
        expect(status == 1 and any(line.endswith(fault) for line in lines), f"{fault}: {lines}")
    expect_equal(world.requirements(("M01", "see I07", "partial"), ("I07", "its detail", "done"))[0], 0, "a detail may be further")
    (world.folder / "code_test.cc").write_text("")
    status, lines = world.requirements(("I01", "it runs", "done"))
    expect(status == 1 and lines[0].endswith("I01 code_test.cc does not mention Does"), f"a test that is gone: {lines}")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder:
        return main(World(Path(folder)))


sys.exit(run())
