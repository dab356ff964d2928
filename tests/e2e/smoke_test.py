#!/usr/bin/python3
"""`algad` on one component, without a server."""

import sys

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


@test("algad says what it can do")
def usage():
    status, output, _ = run("--help")
    expect_equal(status, 0, "exit status")
    for command in ("serve", "smoke", "inspect", "check-config"):
        expect_in(command, output, "--help")


sys.exit(main())
