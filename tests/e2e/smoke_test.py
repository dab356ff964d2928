#!/usr/bin/python3
"""`algad` on one component, without a server."""

import sys
import tempfile

from harness.server import fixture, run
from harness.tap import expect, expect_equal, expect_in, main, test


@test("algad smoke runs a component of componentize-js and asserts its JSON answer")
def smoke():
    status, output, errors = run("smoke", fixture("js-echo.wasm"))
    expect_equal(status, 0, f"exit status ({errors[-2000:]})")
    expect_in("200", output + errors, "the report names the answer's status")


@test("algad smoke runs a component of the unversioned package, built with everything off")
def smoke_compat():
    status, _, errors = run("smoke", fixture("js-compat-echo.wasm"))
    expect_equal(status, 0, f"exit status ({errors[-2000:]})")


@test("algad smoke says what is wrong with a file that is no component")
def smoke_no_component():
    status, output, errors = run("smoke", __file__)
    expect(status not in (0, None), "a file that is no component must not pass")
    expect(len((output + errors).strip()) > 10, "the reason is printed")


@test("algad inspect names imports, capabilities and the frozen clock")
def inspect():
    status, output, errors = run("inspect", fixture("js-echo.wasm"))
    expect_equal(status, 0, f"exit status ({errors[-2000:]})")
    for part in ("alga:extension/secrets@1.0.0", "cap:secrets.get", "handler"):
        expect_in(part, output, "inspect")
    _, frozen, _ = run("inspect", fixture("js-compat-echo.wasm"))
    expect_in("clock", frozen.lower(), "inspect warns about a component without clocks")


def crowded_component(instances):
    """A component with one module of one memory, instantiated that often."""
    module = b"\0asm\x01\0\0\0" + bytes([5, 3, 1, 0, 1])
    core_instances = bytes([instances]) + bytes([0, 0, 0]) * instances
    return b"\0asm\x0d\0\x01\0" + bytes([1, len(module)]) + module + bytes([2, len(core_instances)]) + core_instances


@test("algad inspect says which number of a component no runner has room for")
def inspect_crowded():
    with tempfile.NamedTemporaryFile(suffix=".wasm") as file:
        for instances, wanted in ((4, 0), (5, 1)):
            file.seek(0)
            file.write(crowded_component(instances))
            file.flush()
            for options in ((), ("--json",)):
                status, output, errors = run("inspect", file.name, *options)
                expect_equal(status, wanted, f"exit status ({errors[-2000:]})")
                expect_equal("5 memories; a slot has 4" in errors, wanted == 1, f"reason ({errors[-2000:]})")
                expect(f'"instantiated_memories":{instances}' in output or not options, f"description ({output})")


@test("algad says what it can do")
def usage():
    status, output, _ = run("--help")
    expect_equal(status, 0, "exit status")
    for command in ("serve", "smoke", "inspect", "check-config"):
        expect_in(command, output, "--help")


sys.exit(main())
