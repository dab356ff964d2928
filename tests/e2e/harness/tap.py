"""Tests as sentences: one `ok NAME` or `not ok NAME` line each, and a matching exit status."""

import sys
import time
import traceback


class Skip(Exception):
    """Raised by a test that cannot run here; its text is the reason."""


class Failed(AssertionError):
    """Raised when an expectation does not hold."""


_tests = []


def test(sentence):
    """Registers a function as a test. It gets what main() was given."""

    def register(function):
        _tests.append((sentence, function))
        return function

    return register


def expect(condition, message):
    if not condition:
        raise Failed(message)


def expect_equal(got, wanted, what):
    if got != wanted:
        raise Failed(f"{what}: got {got!r}, wanted {wanted!r}")


def expect_in(part, whole, what):
    if part not in whole:
        raise Failed(f"{what}: {part!r} is not in {whole!r}")


def eventually(check, seconds, what, every=0.05):
    """Calls `check` until it returns something true; fails after `seconds` with `what`, a text or what returns one."""
    deadline = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failed(f"{what() if callable(what) else what}: not within {seconds} s")
        time.sleep(every)


def unless_skipped(run, what):
    """What `run` returns; 0 when the surroundings of all its tests say that they cannot run here."""
    try:
        return run()
    except Skip as reason:
        print(f"ok {what} # SKIP {reason}", flush=True)
        return 0


def main(*arguments):
    """Runs the registered tests in order; the exit status says whether all passed."""
    failed = 0
    for sentence, function in _tests:
        began = time.monotonic()
        try:
            function(*arguments)
        except Skip as reason:
            print(f"ok {sentence} # SKIP {reason}", flush=True)
            continue
        except Exception:  # noqa: BLE001  a test that breaks in any way has failed
            failed += 1
            print(f"not ok {sentence}", flush=True)
            print("".join("# " + line for line in traceback.format_exc().splitlines(keepends=True)), flush=True)
            continue
        print(f"ok {sentence}", flush=True)
        print(f"# {time.monotonic() - began:.2f} s", flush=True)
    sys.stdout.flush()
    return 1 if failed else 0
