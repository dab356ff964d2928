#!/usr/bin/python3
"""What the server is made of: every library that it loads and every crate of the bridge is on the lists below. None of them
runs JavaScript (the engine of a script comes with its component) and none is a lattice or its messages: another
platform's control plane is no part of this one."""

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from harness.server import fixture, program, run
from harness.tap import expect, expect_equal, expect_in, main, test

ROOT = Path(__file__).resolve().parents[2]
#: Shared libraries, and what for. Whoever adds one says so here.
LIBRARIES = {
    "libarchive.so.13": "tar",
    "libboost_container.so.1.81.0": "JSON",
    "libboost_json.so.1.81.0": "JSON",
    "libboost_url.so.1.81.0": "addresses",
    "libcrypto.so.3": "TLS, signatures",
    "libcurl.so.4": "requests of guests",
    "libfmt.so.9": "text",
    "libpq.so.5": "PostgreSQL",
    "libprometheus-cpp-core.so.1.0": "metrics",
    "libseccomp.so.2": "the compiler's process",
    "libsodium.so.23": "secrets",
    "libsqlite3.so.0": "SQLite",
    "libssl.so.3": "TLS",
    "libtomlplusplus.so.3": "configuration",
    "libzstd.so.1": "bundles",
}
#: Of the compiler and the C library.
SYSTEM = re.compile(r"(libc|libm|libgcc_s|libstdc\+\+|libdl|libpthread|librt|libresolv|ld-linux[-a-z0-9_]*)\.so\.\d")
#: What bridge/Cargo.toml names, without what only its tests use.
CRATES = {
    "anyhow", "async-trait", "base64", "bytes", "form_urlencoded", "http", "http-body", "http-body-util", "serde_json", "sha2", "tokio",
    "wasmparser", "wasmtime", "wasmtime-wasi", "wasmtime-wasi-http", "wat", "wit-component", "wit-parser",
}  # fmt: skip
#: Crates that are engines of JavaScript or bindings of one, clients of NATS, or a lattice's.
FOREIGN = re.compile(r"(boa|rquickjs|quickjs|mozjs|v8|rusty_v8|deno|javy|duktape|hermes|nova_vm|async-nats|nats|wasmcloud|wash|wadm)([-_].*)?")
#: What an engine of JavaScript leaves in whatever contains one: messages of its parser and of its objects.
OF_SCRIPTS = (b"missing ) after argument list", b"too much recursion", b"is not a constructor")


@test("the server loads these libraries and no others")
def libraries(_):
    listed = subprocess.run(["readelf", "-d", program()], capture_output=True, text=True, check=True).stdout
    needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", listed))
    expect_equal({name for name in needed if not SYSTEM.fullmatch(name)}, set(LIBRARIES), "libraries")


@test("the bridge names these crates and no others, and none of all that they bring is an engine of JavaScript or a lattice")
def crates(_):
    manifest = tomllib.loads((ROOT / "bridge" / "Cargo.toml").read_text())
    expect_equal(set(manifest["dependencies"]), CRATES, "dependencies of the bridge")
    locked = {package["name"] for package in tomllib.loads((ROOT / "bridge" / "Cargo.lock").read_text())["package"]}
    expect(CRATES <= locked, f"not in Cargo.lock: {CRATES - locked}")
    expect_equal({name for name in locked if FOREIGN.fullmatch(name)}, set(), "crates")


@test("the engine of a script is in its component and not in the server")
def engines(_):
    component, server = fixture("js-echo.wasm").read_bytes(), Path(program()).read_bytes()
    expect([mark for mark in OF_SCRIPTS if mark in component], "no mark of an engine in a component of JavaScript: the search finds nothing")
    expect_equal([mark for mark in OF_SCRIPTS if mark in server], [], "marks of an engine in the server")


@test("a script is no extension: an engine of its own must come with it")
def scripts(folder):
    script = folder / "main.js"
    script.write_text("export const handler = () => ({ status: 200, headers: [], body: undefined });\n")
    for command, reason in (("smoke", "engine.bad_component: not a WebAssembly component"), ("inspect", "component.not_wasm: it is not a Wasm binary")):
        status, output, errors = run(command, script)
        expect_equal((status, output), (1, ""), f"{command} ({errors})")
        expect_in(reason, errors, command)


def run_all():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder:
        return main(Path(folder))


sys.exit(run_all())
