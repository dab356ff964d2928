#!/usr/bin/python3
"""`alga dev` with the real server, on a project that `alga new` made."""

import json
import os
import sys
from pathlib import Path

from harness.author import Author, release_only, scratch
from harness.client import Client
from harness.server import program
from harness.tap import eventually, expect, expect_equal, expect_in, main, test

BUILD_SECONDS = 900
SOON = 30


class World:
    def __init__(self, folder):
        self.author = Author(folder)
        # A name as people give their folders: letters beyond ASCII, spaces, and what shells read.
        self.author.run("new", "hello", "--dir", "Möbel & Söhne's")
        self.project = self.author.link(Path(folder) / "Möbel & Söhne's")
        self.source = self.project / "src" / "index.ts"
        settings = {"config": {"api_url": "http://127.0.0.1:9"}, "secrets": {"alga_api_key": "k"}, "headers": ["x-signature"]}
        (self.project / "alga.dev.json").write_text(json.dumps(settings))
        self.dev = self.author.start("dev", "--algad", program(), "--port", "0", cwd=self.project)
        ready = self.dev.next(lambda event: event.get("event") == "ready", BUILD_SECONDS, "the first build")
        self.client = Client(ready["url"])

    def event(self, what, **members):
        def holds(event):
            return all(event.get(name) == value for name, value in members.items())

        return self.dev.next(holds, SOON, what)

    def edit(self, *changes):
        """Puts new text for old, all at once, as many editors do: another file takes the place of the source."""
        text = self.source.read_text()
        for old, new in changes:
            expect_in(old, text, "the source")
            text = text.replace(old, new)
        other = self.source.with_suffix(".ts~")
        other.write_text(text)
        os.replace(other, self.source)

    def rebuilt(self):
        self.dev.next(lambda event: event.get("event") == "ready", BUILD_SECONDS, "a build of the edited source")


@test("a project made by alga new answers under alga dev, untouched")
def first_answer(world):
    answer = world.client.get("/hello?name=Ann")
    expect_equal((answer.status, answer.json()), (200, {"hello": "Ann"}), "answer")


@test("the guest's log line and what the call used of its limits are shown")
def line_and_limits(world):
    line = world.event("the log line", event="log", level="info")
    expect_in("greeting", line["message"], "log line")
    call = world.event("the call", event="call")
    expect_equal((call["method"], call["path"], call["status"]), ("GET", "/hello?name=Ann", 200), "call")
    usage = {entry["name"]: entry for entry in call["usage"]}
    expect_equal(usage["cpu"]["limit"], "5s", "limit of CPU time")
    expect_equal(usage["memory"]["limit"], "256MiB", "limit of memory")
    expect(usage["memory"]["used"].endswith(" MiB"), f"memory used: {usage['memory']}")
    expect(call["metrics"]["cpu_us"] > 0 and call["metrics"]["call_us"] > 0, f"metrics: {call['metrics']}")


@test("an edited handler gives the new answer at the same address, and sees the headers that alga.dev.json names")
def hot_reload(world):
    world.edit(
        ("    return json({ hello: name });", "    if (name === 'Nil') nobody();\n    return json({ hello: name.toUpperCase(), signed: request.headers.get('x-signature'), key: request.headers.get('x-other') });"),
        ("import {", "declare function nobody(): void;\nimport {"),
    )
    world.rebuilt()
    headers = {"x-signature": "abc", "x-other": "never"}
    answer = world.client.get("/hello?name=Ann", headers=headers)
    expect_equal(answer.json(), {"hello": "ANN", "signed": "abc"}, "answer of the edited handler")


@test("an error of the handler is shown at the author's line while it runs")
def error_in_dev(world):
    expect_equal(world.client.get("/hello?name=Nil").status, 500, "status")
    shown = world.event("the error", event="log", level="error")["author_error"]
    expect_equal(shown["message"], "ReferenceError: nobody is not defined", "message")
    lines = world.source.read_text().splitlines()
    number = next(at for at, line in enumerate(lines, 1) if "nobody();" in line)
    where = {"file": "src/index.ts", "line": number, "column": lines[number - 1].index("nobody()") + 1}
    expect_equal(shown["location"], where, "place")
    expect_in(f"> {number:>{len(str(number + 2))}} | {lines[number - 1]}", shown["frame"], "frame")


@test("what people are warned of is an event for scripts, with its place, its frame and what to do")
def warnings_are_events(world):
    late = "    (async () => undefined)();"
    world.edit(("    if (name === 'Nil') nobody();", f"    if (name === 'Nil') nobody();\n{late}"))
    warning = world.dev.next(lambda event: event.get("event") == "warning", BUILD_SECONDS, "the warning")
    line = next(at for at, text in enumerate(world.source.read_text().splitlines(), 1) if text == late)
    expect_equal((warning["code"], warning["location"]), ("build.floating_promise", {"file": "src/index.ts", "line": line, "column": 5}), "warning")
    expect_in(late.strip(), warning["frame"], "its frame")
    expect_in("await it", warning["hint"], "what to do")
    world.rebuilt()
    changed = world.event("the change", event="changed")
    expect_equal(changed["files"], ["src/index.ts"], "files that changed")


@test("what does not compile is reported at its line, and the version before goes on running")
def broken_source(world):
    world.edit(("name.toUpperCase(),", "name.toUpperCase(,"))
    failed = world.dev.next(lambda event: event.get("ok") is False, BUILD_SECONDS, "the failed build")["error"]
    expect_equal((failed["code"], failed["location"]["file"]), ("build.bundle_failed", "src/index.ts"), "failure")
    expect_equal(world.client.get("/hello?name=Bo").json(), {"hello": "BO"}, "answer of the version before")


@test("Ctrl-C ends it in good order and leaves no process")
def ctrl_c(world):
    running = world.dev.processes()
    names = sorted(running.values())
    expect("algad" in names and "node" in names, f"before: {names}")
    expect_equal(world.dev.interrupt(), 0, "exit status")
    eventually(lambda: not world.dev.alive(running), SOON, f"no process left of {names}")


@test("killed without a warning, it leaves no process either, and starts again at once")
def killed(world):
    for attempt in ("first", "second"):
        # The source is still broken: the server runs, and there is nothing to build.
        with world.author.start("dev", "--algad", program(), "--port", "0", cwd=world.project) as dev:
            dev.next(lambda event: event.get("ok") is False, BUILD_SECONDS, f"the {attempt} start")
            running = dev.processes()
            expect("algad" in running.values(), f"before: {running}")
            dev.kill()
            eventually(lambda: not dev.alive(running), SOON, f"no process left of {sorted(running.values())}")


def run():
    release_only("alga dev")
    with scratch() as folder:
        world = World(folder)
        with world.dev:
            return main(world)


sys.exit(run())
