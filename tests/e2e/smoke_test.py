#!/usr/bin/python3
"""`algad` on one component, without a server."""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from harness.server import fixture, historic_fixture, run
from harness.tap import Skip, expect, expect_equal, expect_in, main, test

# Ends what hangs; a busy machine takes a minute to compile a component of StarlingMonkey.
SMOKE_SECONDS = 300
TEXT_GUESTS = Path(__file__).resolve().parents[1] / "guests" / "text"


def quick(component):
    """The component, unless the server under test is a sanitized one, which compiles such for minutes."""
    preset = os.environ.get("ALGA_PRESET")
    if preset in ("asan", "tsan"):
        raise Skip(f"{preset} compiles for minutes")
    return component


def smoked(component):
    """The JSON that the component answers under `algad smoke`, and what the guest was told on the way."""
    status, output, errors = run("smoke", component, timeout=SMOKE_SECONDS)
    expect_equal(status, 0, f"exit status ({output}{errors[-2000:]})")
    report, _, body = output.partition("\n")
    expect(report.startswith("status 200, instantiated in "), f"the report: {report!r}")
    return json.loads(body), errors


def echoes(component):
    """The request of `algad smoke`, as a guest reads it through its bindings and writes it back."""
    answer, _ = smoked(component)
    wanted = {"method": "GET", "url": "/echo", "headers": [{"name": "accept", "value": "application/json"}], "body": ""}
    expect_equal({name: answer[name] for name in wanted}, wanted, "the request")
    expect_equal(answer["context"]["tenantId"], "smoke-tenant", "the context")


@test("algad smoke runs a component of componentize-js and asserts its JSON answer")
def smoke():
    echoes(fixture("js-echo.wasm"))


@test("algad smoke runs a component of the unversioned package, built with everything off")
def smoke_compat():
    echoes(fixture("js-compat-echo.wasm"))


@test("algad smoke runs a component with the fetch of the platform, which gets nowhere without a capability")
def smoke_fetch():
    answer, errors = smoked(quick(fixture("js-fetch.wasm")))
    expect_equal(answer, {"failed": "TypeError: NetworkError when attempting to fetch resource"}, "what the guest was told")
    expect_in("guest denied: http (cap:http.fetch)", errors, "the denial")


for _name in ("pure-0-19", "pure-0-22"):
    test(f"algad smoke runs {_name} of the toolchains of the field")(lambda name=_name: echoes(quick(historic_fixture(name))))


@test("algad smoke runs a component of C++ without a library: its answer is no JSON, and its setting is withheld")
def smoke_cpp():
    status, output, errors = run("smoke", quick(historic_fixture("cpp")))
    expect_equal((status, output.startswith("status 200, ")), (1, True), f"the answer ({output}{errors})")
    expect_in("guest denied: config (cap:config.read)", errors, "the denial")
    expect_in("smoke.not_json", errors, "the reason")


# handler.js takes for granted what a smoke has not, a body and a granted setting; so it logs its request, and ends here.
GIVES_UP = {
    "componentize-js-0-19": "guest denied: config (cap:config.read)\n",
    "componentize-js-0-22": "guest denied: config (cap:config.read)\n",
    "jco-quickjs": "at text (/handler.js:",
}


def smoke_gives_up(name):
    status, output, errors = run("smoke", quick(historic_fixture(name)), timeout=SMOKE_SECONDS)
    expect_equal((status, output), (1, ""), f"no answer ({errors[-2000:]})")
    for line in ("guest log: GET /echo\n", GIVES_UP[name], "error: engine.guest_error: "):
        expect_in(line, errors, name)


for _name in GIVES_UP:
    test(f"algad smoke says where {_name} gives up, which has no setting and no body there")(lambda name=_name: smoke_gives_up(name))


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
    _, platform, _ = run("inspect", fixture("js-fetch.wasm"))
    lines = [line for line in platform.splitlines() if "wasi:http/outgoing-handler" in line]
    expect(lines and all("cap:http.fetch" in line for line in lines), f"the platform's fetch needs a capability ({platform})")
    _, frozen, _ = run("inspect", fixture("js-compat-echo.wasm"))
    expect_in("clock", frozen.lower(), "inspect warns about a component without clocks")


def warned(component):
    """The codes that `algad inspect` warns of, in its text and in its JSON alike, with the lines."""
    status, output, errors = run("inspect", component)
    expect_equal((status, errors), (0, ""), f"inspect {component}")
    lines = [line for line in output.splitlines() if line.startswith("warning: ")]
    codes = [line.split(": ", 2)[1] for line in lines]
    status, output, errors = run("inspect", component, "--json")
    expect_equal((status, errors), (0, ""), f"inspect --json {component}")
    expect_equal([warning["code"] for warning in json.loads(output)["warnings"]], codes, "the same in JSON")
    return codes, "\n".join(lines)


@test("algad inspect warns of what is frozen in a component, and of nothing in one whose clock and random numbers work")
def inspect_frozen():
    expect_equal(warned(fixture("js-echo.wasm"))[0], [], "as our own tools build")
    expect_equal(warned(fixture("js-fetch.wasm"))[0], [], "with the fetch of the platform")
    expect_equal(warned(fixture("js-compat-echo.wasm"))[0], ["component.frozen_clock", "component.frozen_random"], "as the earlier bundles were built")
    expect_equal(warned(TEXT_GUESTS / "echo.wasm")[0], [], "in text")


@test("algad inspect warns of imports that this server does not know, or knows in another version")
def inspect_unknown():
    codes, lines = warned(TEXT_GUESTS / "unknown-import.wasm")
    expect_equal(codes, ["component.unknown_import"], lines)
    expect_in("wasi:made-up/telepathy@9.0.0, which this server does not offer", lines, "an unknown interface")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "other-version.wasm"
        original = (TEXT_GUESTS / "storage.wasm").read_bytes()
        name = b"alga:extension/storage@1.0.0"
        expect(name in original, "the guest imports it")
        for version, wanted in ((b"@1.0.9", []), (b"@2.0.0", ["component.unknown_import"])):
            made.write_bytes(original.replace(name, name[:-6] + version))
            codes, lines = warned(made)
            expect_equal(codes, wanted, f"{version}: {lines}")
        expect_in("alga:extension/storage@2.0.0, which this server offers in another version", lines, "another version")


@test("algad inspect warns of a core module, of a component without handler and of data strewn over its memory")
def inspect_other_warnings():
    expect_equal(warned(TEXT_GUESTS / "core-module.wasm")[0], ["component.core_module"], "a core module")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made.wasm"
        made.write_bytes(crowded_component(1))
        expect_equal(warned(made)[0], ["component.no_handler"], "a component that exports nothing")
        for last, wanted in ((100 << 20, []), (130 << 20, ["component.sparse_image"])):
            made.write_bytes(strewn_component(last))
            expect_equal(warned(made)[0], ["component.no_handler", *wanted], f"a byte at 0 and one at {last}")


def leb(number, signed=False):
    out = bytearray()
    while True:
        part, number = number & 127, number >> 7
        if number == 0 and not (signed and part & 64):
            return bytes([*out, part])
        out.append(part | 128)


def section(kind, content):
    return bytes([kind]) + leb(len(content)) + content


def strewn_component(last):
    """A component whose one memory begins with a byte of data at its first address and one at `last`."""
    segments = b"".join(b"\0\x41" + leb(at, signed=True) + b"\x0b\x01x" for at in (0, last))
    module = b"\0asm\x01\0\0\0" + section(5, b"\x01\0" + leb((last >> 16) + 1)) + section(11, b"\x02" + segments)
    return b"\0asm\x0d\0\x01\0" + section(1, module) + section(2, b"\x01\0\0\0")


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


def nested_component(instances):
    """The same module in a nested component that is instantiated that often."""
    inner = crowded_component(1)
    made = bytes([instances]) + bytes([0, 0, 0]) * instances
    return b"\0asm\x0d\0\x01\0" + bytes([4, len(inner)]) + inner + bytes([5, len(made)]) + made


@test("algad inspect counts a nested component as often as it is instantiated")
def inspect_nested():
    with tempfile.NamedTemporaryFile(suffix=".wasm") as file:
        for instances, wanted in ((4, 0), (5, 1)):
            Path(file.name).write_bytes(nested_component(instances))
            status, output, errors = run("inspect", file.name, "--json")
            expect_equal(status, wanted, f"exit status ({errors[-2000:]})")
            expect_equal("5 memories; a slot has 4" in errors, wanted == 1, f"reason ({errors[-2000:]})")
            expect(f'"core_instances":{instances}' in output, f"description ({output})")


@test("algad compile leaves an artefact, or a reason and no file")
def compiles():
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.cwasm"
        status, output, errors = run("compile", TEXT_GUESTS / "echo.wasm", "-o", out)
        expect_equal((status, out.stat().st_size > 1000), (0, True), f"an artefact ({output}{errors})")
        expect_in("compiled in", output, "compile")
        status, _, errors = run("compile", __file__, "-o", out)
        expect_equal((status, out.exists()), (1, False), f"no artefact ({errors})")
        expect_in("engine.bad_component: not a WebAssembly component", errors, "the reason")
        expect_equal(run("compile", TEXT_GUESTS / "nothing-there.wasm", "-o", out)[0], 1, "no such component")
        expect_equal(run("compile", TEXT_GUESTS / "echo.wasm", "-o", Path(folder) / "nowhere" / "out")[0], 1, "no such folder")
        expect_in("cannot be written: Is a directory", run("compile", TEXT_GUESTS / "echo.wasm", "-o", folder)[2], "a folder")
        expect_equal(run("compile", TEXT_GUESTS / "echo.wasm", "-o", "/dev/null")[0], 0, "a device")
        own = Path(folder) / "own.wasm"
        shutil.copy(TEXT_GUESTS / "echo.wasm", own)
        (Path(folder) / "link.wasm").symlink_to(own)
        for output in (own, Path(folder) / "link.wasm"):
            status, _, errors = run("compile", own, "-o", output)
            expect_equal((status, own.read_bytes()), (1, (TEXT_GUESTS / "echo.wasm").read_bytes()), f"the component is as it was ({errors})")
            expect_in("it is the component itself", errors, "the reason")
        expect(Path("/dev/null").is_char_device(), "/dev/null is gone")


@test("smoke, inspect and compile say what is wrong with what they are given")
def wrong_input():
    with tempfile.TemporaryDirectory() as folder:
        empty, cut, folder_itself, missing = (Path(folder) / name for name in ("empty", "cut", ".", "missing"))
        empty.write_bytes(b"")
        cut.write_bytes((TEXT_GUESTS / "echo.wasm").read_bytes()[:600])
        for file in (empty, cut, folder_itself, missing):
            for command in (("smoke",), ("inspect",), ("inspect", "--json"), ("compile", "-o", "/dev/null")):
                status, output, errors = run(command[0], file, *command[1:])
                expect_equal((status, output), (1, ""), f"{command} of {file.name} ({errors})")
                expect(errors.startswith("error: ") and len(errors.splitlines()) == 1, f"one line of reason ({errors!r})")
        os.mkfifo(Path(folder) / "pipe")
        for file, why in ((folder_itself, "Is a directory"), (missing, "No such file or directory"), (Path(folder) / "pipe", "it is no regular file"), (Path("/dev/zero"), "it is no regular file")):
            for command in (("smoke",), ("inspect",), ("compile", "-o", "/dev/null")):
                errors = run(command[0], file, *command[1:])[2]
                expect_equal(errors, f"error: component.unavailable: {file} cannot be read: {why}\n", f"{command}")
    for words in (("smoke",), ("inspect",), ("compile", TEXT_GUESTS / "echo.wasm"), ("inspect", "--yaml", TEXT_GUESTS / "echo.wasm")):
        expect_equal(run(*words)[0], 2, f"bad use: {words}")


@test("algad smoke names how a guest failed, by its code")
def smoke_fails():
    for guest, code in (("trap", "engine.trap"), ("recurse", "engine.stack_overflow"), ("unknown-import", "engine.link_error"), ("core-module", "engine.bad_component"), ("echo", "smoke.not_json")):
        status, _, errors = run("smoke", TEXT_GUESTS / f"{guest}.wasm")
        expect_equal(status, 1, f"exit status of {guest} ({errors})")
        expect_in(code, errors, guest)
        expect(errors.endswith("\n"), f"a whole line ({errors!r})")


@test("algad says what it can do")
def usage():
    status, output, _ = run("--help")
    expect_equal(status, 0, "exit status")
    for command in ("serve", "smoke", "inspect", "check-config"):
        expect_in(command, output, "--help")


sys.exit(main())
