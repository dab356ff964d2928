"""The suites of ./x test. Each takes a Runner and yields Outcomes."""

import json
import os
import re
import time
from pathlib import Path

from .outcome import Outcome

CPP_SECONDS = 900
RUST_SECONDS = 1800
SDK_SECONDS = 1800
E2E_SECONDS = 900
CHECK_SECONDS = 120
NO_REASON = "no reason given"
# What takes untrusted bytes apart, and builds in minutes under sanitizers.
PARSERS = ("archive", "blob", "crypto", "egress", "json")
# A run that has taken longer leaves them out, and they end in time: CI has 90 minutes for everything.
SANITIZED_BEFORE_SECONDS = 72 * 60
SANITIZED_UNTIL_SECONDS = 84 * 60
TIME_OVER = "the time of this run was over; ./x test --asan runs it"
SANITIZER_SETTINGS = {
    # Wasmtime's own handlers decide about traps in guest code.
    "ASAN_OPTIONS": "handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:detect_leaks=1:"
    "detect_stack_use_after_return=0",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1:handle_segv=0:handle_sigbus=0:"
    # Those handlers allocate; only a guest's trap brings them on, and a guest is never inside malloc.
    "handle_sigfpe=0:handle_sigill=0:report_signal_unsafe=0",
}


def surroundings(runner):
    """What a test program may read from its environment; CONTRIBUTING.md lists it."""
    settings = {
        "ALGA_ROOT": str(runner.root),
        "ALGA_BUILD": str(runner.build),
        "ALGAD": str(runner.build / "src" / "app" / "algad"),
        "ALGA_PRESET": runner.preset,
    }
    if runner.preset in ("asan", "tsan"):
        settings.update(SANITIZER_SETTINGS)
        ignored = runner.root / "tests" / "tsan.supp"
        if ignored.exists():
            settings["TSAN_OPTIONS"] += f":suppressions={ignored}"
    return settings


def cpp(runner, only=None, until=None):
    """Every layer's program, or those with the names of `only`; what has not ended `until` then (time.monotonic()) is skipped."""
    programs = sorted(program for program in runner.build.glob("src/*/*_test") if only is None or program.name in only)
    if not programs:
        yield Outcome("cpp", failures=[f"no test program in {runner.build}"])

    def one(program):
        name = program.name
        report = runner.scratch / f"{runner.preset}-{name}.json"
        seconds = CPP_SECONDS if until is None else max(1, min(CPP_SECONDS, until - time.monotonic()))
        done = runner.run(
            name,
            [program, "--gtest_brief=1", f"--gtest_output=json:{report}"],
            seconds,
            cwd=runner.root / "src" / program.parent.name,
            env=surroundings(runner),
        )
        # What has used up CPP_SECONDS hangs, and what has failed already has failed.
        if done.status is None and seconds < CPP_SECONDS and "[  FAILED  ]" not in done.output:
            return Outcome(name, skipped=[("run to its end", TIME_OVER)], seconds=done.seconds)
        return read_gtest(name, report, done)

    yield from runner.each(one, programs, os.cpu_count() or 1)
    if runner.preset == "asan" and only is None:
        yield from fuzzers_over_seeds(runner)


def sanitized(runner):
    """The parsers under ASan and UBSan, as far as the time of a whole run allows; the rest is for ./x test --asan."""
    name = "parsers under ASan and UBSan"
    used = time.time() - float(os.environ.get("ALGA_BEGAN") or time.time())
    if used > SANITIZED_BEFORE_SECONDS:
        why = f"{used / 60:.0f} minutes had gone by before it; ./x test --asan runs it"
        yield Outcome(name, skipped=[("built and run", why)])
        return
    instrumented = runner.under("asan")
    until, programs = time.monotonic() + SANITIZED_UNTIL_SECONDS - used, [f"{layer}_test" for layer in PARSERS]
    jobs = os.environ.get("CARGO_BUILD_JOBS") or str(os.cpu_count() or 1)  # of tools/build.sh: as many as memory carries
    build = ["cmake", "--build", instrumented.build, "--parallel", jobs, "--target", *programs]
    for command in (["cmake", "--preset", "asan"], build):
        done = runner.run(name, command, until - time.monotonic())
        if done.status is None:
            yield Outcome(name, skipped=[("built", TIME_OVER)], seconds=done.seconds)
            return
        if done.status != 0:
            yield Outcome(name, failures=[f"{command[0]} {command[1]} {done.how()}"], seconds=done.seconds, output=done.output)
            return
    for outcome in cpp(instrumented, programs, until):
        outcome.name += " (ASan, UBSan)"
        yield outcome


def fuzzers_over_seeds(runner):
    """Each fuzzer once over what it starts from; ./x fuzz is for finding more."""

    def one(source):
        name = source.stem
        seeds = sorted((runner.root / "fuzz" / "seeds" / name.removesuffix("_fuzz")).iterdir())
        done = runner.run(name, [runner.build / "fuzz" / name, *seeds], CPP_SECONDS, env=surroundings(runner))
        if done.status == 0:
            return Outcome(name, passed=len(seeds), seconds=done.seconds, output=done.output)
        return Outcome(name, failures=[f"{name} {done.how()}"], seconds=done.seconds, output=done.output)

    yield from runner.each(one, sorted((runner.root / "fuzz").glob("*_fuzz.cc")), os.cpu_count() or 1)


def read_gtest(name, report, done):
    outcome = Outcome(name, seconds=done.seconds, output=done.output)
    if report.exists():
        for group in json.loads(report.read_text())["testsuites"]:
            for test in group["testsuite"]:
                count_gtest(outcome, f"{group['name']}.{test['name']}", test)
    give_reasons(outcome)
    if done.status != 0 and not outcome.failures:
        outcome.failures.append(f"{name} {done.how()}")
    if done.status == 0 and not outcome.passed and not outcome.skipped:
        outcome.failures.append(f"{name} ran no test")
    return outcome


GTEST_SKIPPED = re.compile(r"^.+:\d+: Skipped\n(.+)$", re.M)


def give_reasons(outcome):
    """GoogleTest 1.12 has the reason of a skipped test in its output alone, in the order of the report."""
    reasons = GTEST_SKIPPED.findall(outcome.output)
    if len(reasons) == sum(reason == NO_REASON for _, reason in outcome.skipped):
        told = iter(reasons)
        outcome.skipped = [(name, next(told) if reason == NO_REASON else reason) for name, reason in outcome.skipped]


def count_gtest(outcome, name, test):
    if test.get("failures"):
        reasons = "\n".join(entry["failure"] for entry in test["failures"])
        outcome.fail(name, reasons)
        outcome.output += "\n" + reasons
    elif test.get("result") == "SKIPPED" or "skipped" in test:
        reasons = [entry.get("message", "") for entry in test.get("skipped") or []]
        outcome.skipped.append((name, "; ".join(filter(None, reasons)) or NO_REASON))
    elif test.get("status") == "RUN":
        outcome.passed += 1
    else:
        outcome.skipped.append((name, "switched off"))


CARGO_RESULT = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored", re.M)


def rust(runner):
    if not (runner.root / "bridge" / "Cargo.toml").exists():
        return
    done = runner.run("bridge", [runner.root / "tools" / "test-bridge"], RUST_SECONDS, env=surroundings(runner))
    yield read_cargo("bridge", done)


def read_cargo(name, done):
    outcome = Outcome(name, seconds=done.seconds, output=done.output)
    for passed, _, _ in CARGO_RESULT.findall(done.output):
        outcome.passed += int(passed)
    for test, state, reason in re.findall(r"^test (.+?) \.\.\. (FAILED|ignored)(?:, (.+))?$", done.output, re.M):
        if state == "FAILED":
            outcome.failures.append(test)
        else:
            outcome.skipped.append((test, reason or "ignored"))
    if done.status != 0 and not outcome.failures:
        outcome.failures.append(f"{name} {done.how()}")
    return outcome


def sdk(runner):
    folder = runner.root / "sdk"
    if not (folder / "package-lock.json").exists():
        return
    done = runner.run("npm packages", [runner.root / "tools" / "prepare-sdk"], SDK_SECONDS, env=surroundings(runner))
    if done.status != 0:
        yield Outcome("sdk", failures=[f"tools/prepare-sdk {done.how()}"], output=done.output, seconds=done.seconds)
        return
    yield held_to_their_sources(runner, folder)
    yield type_checked(runner, folder)
    for workspace in workspaces_with_tests(folder):
        yield vitest(runner, folder, workspace)


def held_to_their_sources(runner, folder):
    """What is generated from wit/ and committed (schema/capabilities.json, types of the bindings) is what would be generated now."""
    return npm_script(runner, folder, "sdk: files generated from wit/", ["generate:check", "--workspace", "runtime-bindings"])


def type_checked(runner, folder):
    """Every workspace with its tests: vitest and the builds take types away without a look at them."""
    return npm_script(runner, folder, "sdk: types of all workspaces, tests and samples", ["typecheck"])


def npm_script(runner, folder, name, words):
    """One row that says whether a script of the packages ended well."""
    done = runner.run(name, ["npm", "run", "--silent", *words], SDK_SECONDS, cwd=folder)
    outcome = Outcome(name, seconds=done.seconds, output=done.output)
    if done.status == 0:
        outcome.passed = 1
    else:
        outcome.fail(name, done.output)
    return outcome


def workspaces_with_tests(folder):
    for pattern in json.loads((folder / "package.json").read_text()).get("workspaces", []):
        for path in sorted(folder.glob(pattern)):
            package = path / "package.json"
            if package.exists() and "test" in json.loads(package.read_text()).get("scripts", {}):
                yield path


def vitest(runner, folder, workspace):
    name = f"sdk/{workspace.relative_to(folder)}"
    report = runner.scratch / (name.replace("/", "-") + ".json")
    command = ["npm", "test", "--workspace", workspace.relative_to(folder), "--"]
    command += ["--reporter=default", "--reporter=json", f"--outputFile={report}"]
    done = runner.run(name, command, SDK_SECONDS, cwd=folder, env={**surroundings(runner), "NO_COLOR": "1"})
    outcome = Outcome(name, seconds=done.seconds, output=done.output)
    if report.exists():
        for file in json.loads(report.read_text())["testResults"]:
            count_vitest(outcome, file)
    if done.status != 0 and not outcome.failures:
        outcome.failures.append(f"{name} {done.how()}")
    return outcome


def count_vitest(outcome, file):
    if file.get("status") == "failed" and not file["assertionResults"]:
        outcome.failures.append(f"{Path(file['name']).name}: {file.get('message', '')[:200]}")
    for test in file["assertionResults"]:
        if test["status"] == "passed":
            outcome.passed += 1
        elif test["status"] == "failed":
            outcome.fail(test["fullName"], "\n".join(message.split("\n    at ")[0] for message in test.get("failureMessages") or []))
        else:
            outcome.skipped.append((test["fullName"], test["status"]))


# What a program says below `not ok`: lines that begin with `# `, of a traceback for example.
TAP_REASON = re.compile(r"^not ok [^\n]*\n((?:# [^\n]*\n?)+)", re.M)
TAP = re.compile(r"^(ok|not ok)\b[ \t]*\d*[ \t]*(?:-[ \t]*)?(.*?)(?:[ \t]*#[ \t]*(SKIP|skip)\b[ \t]*(.*))?$", re.M)


def e2e(runner):
    scripts = []
    for folder in ("integration", "conformance", "hostile", "e2e"):
        found = sorted((runner.root / "tests" / folder).glob("*_test*"))
        scripts += [path for path in found if path.is_file()]

    def one(script):
        name = f"{script.parent.name}/{script.name}"
        if not os.access(script, os.X_OK):
            return Outcome(name, failures=[f"{name} is not executable"])
        done = runner.run(name, [script], E2E_SECONDS, env=surroundings(runner))
        return read_tap(name, done)

    # One after another: they measure time and start several servers each.
    yield from runner.each(one, scripts, 1)


def read_tap(name, done):
    outcome = Outcome(name, seconds=done.seconds, output=done.output)
    reasons = {found.group(0).split("\n")[0][len("not ok ") :].strip(): found.group(1) for found in TAP_REASON.finditer(done.output)}
    for verdict, title, skip, reason in TAP.findall(done.output):
        title = title.strip() or "unnamed"
        if skip:
            outcome.skipped.append((title, reason.strip() or NO_REASON))
        elif verdict == "ok":
            outcome.passed += 1
        else:
            outcome.fail(title, re.sub(r"^# ", "", reasons.get(title, ""), flags=re.M))
    if done.status != 0 and not outcome.failures:
        outcome.failures.append(f"{name} {done.how()}")
    if done.status == 0 and not (outcome.passed or outcome.skipped):
        outcome.failures.append(f"{name} ran no test")
    return outcome


def checks(runner):
    for check in sorted((runner.root / "tools").glob("check-*")):
        done = runner.run(check.name, [check], CHECK_SECONDS)
        outcome = Outcome(check.name, seconds=done.seconds, output=done.output)
        if done.status == 0:
            outcome.passed = 1
        else:
            outcome.failures.append(check.name)
        yield outcome
