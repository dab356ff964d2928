#!/usr/bin/python3
"""Hostile bundles: archives that lead out, blow up or lie, and components that are none."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from harness import bundle  # noqa: E402
from harness.platform import CONFIG, Platform  # noqa: E402
from harness.server import fixture  # noqa: E402
from harness.tap import eventually, expect, expect_equal, main, test  # noqa: E402

SETTINGS = CONFIG + '\n[limits]\nbundle_unpacked = "64MiB"\nbundle_entries = 2000\nbundle_archive = "32MiB"\n'
ELF = b"\x7fELF\x02\x01\x01" + b"\0" * 200
CORE = b"\0asm\x01\0\0\0"
COMPONENT = b"\0asm\x0d\0\x01\0"


class World:
    def __init__(self, platform):
        self.platform, self.count = platform, 0
        self.publisher = platform.publisher("example")
        self.component = fixture("js-echo.wasm").read_bytes()
        self.calm = self.leftovers()

    def leftovers(self):
        """What an upload or an unpacked bundle leaves; staged uploads go when housekeeping sweeps them."""
        data = self.platform.folder / "server" / "data"
        return sorted(str(path.relative_to(data)) for path in data.rglob("*") if path.is_file() and (path.relative_to(data).parts[0] == "uploads" or path.name.startswith(".download")))

    def manifest(self):
        self.count += 1
        text = bundle.manifest("hostile", f"1.0.{self.count}")
        text["publisher"] = "example"
        del text["api"]
        return text

    def refuse(self, archive, what, tail=b""):
        """Publishes; it must be refused with a code and leave nothing."""
        packed = self.platform.folder / "hostile.tar.zst"
        content = compressed(archive) if archive is not None else b""
        packed.write_bytes(content + tail)
        return self.finalize(packed, what)

    def finalize(self, packed, what):
        try:
            answer = self.platform.upload(self.publisher, packed, hash_of(packed))
        except AssertionError:
            return None  # refused at the upload already
        expect(400 <= answer.status < 500, f"{what}: {answer.status} {answer.text()[:300]}")
        expect("code" in answer.text(), f"{what}: no code in {answer.text()[:300]}")
        return answer

    def publish(self, archive):
        """The answer of finalize, whatever it is."""
        packed = self.platform.folder / "native.tar.zst"
        packed.write_bytes(compressed(archive))
        return self.platform.upload(self.publisher, packed, hash_of(packed))

    def tar(self, entries):
        """A bundle with a good manifest and component, and what `entries` (TarInfo, content) add."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for name, content in (("manifest.json", json.dumps(self.manifest()).encode()), ("dist/main.wasm", self.component)):
                add(archive, name, content)
            for entry, content in entries:
                archive.addfile(entry, io.BytesIO(content) if content is not None else None)
        return out.getvalue()


def compressed(archive):
    return subprocess.run(["zstd", "-q", "-3", "-c"], input=archive, stdout=subprocess.PIPE, check=True).stdout


def hash_of(packed):
    return "sha256:" + hashlib.sha256(packed.read_bytes()).hexdigest()


def add(archive, name, content):
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def entry(name, kind=tarfile.REGTYPE, link="", content=b""):
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, link, len(content) if kind == tarfile.REGTYPE else 0
    return made, content if kind == tarfile.REGTYPE else None


@test("entries that lead out, point elsewhere or are no files are refused")
def entries(world):
    cases = {
        "symbolic link": [entry("ui/x", tarfile.SYMTYPE, "/etc/passwd")],
        "link and a file through it": [entry("ui/d", tarfile.SYMTYPE, "/tmp"), entry("ui/d/x", content=b"x")],
        "hard link": [entry("ui/x", tarfile.LNKTYPE, "manifest.json")],
        "device": [entry("ui/x", tarfile.CHRTYPE)],
        "block device": [entry("ui/x", tarfile.BLKTYPE)],
        "pipe": [entry("ui/x", tarfile.FIFOTYPE)],
        "absolute": [entry("/etc/alga-was-here", content=b"x")],
        "parent": [entry("../alga-was-here", content=b"x")],
        "parent inside": [entry("ui/../../alga-was-here", content=b"x")],
        "backslashes": [entry("ui\\..\\x", content=b"x")],
        "control character": [entry("ui/a\nb", content=b"x")],
        "long name": [entry("ui/" + "x" * 300, content=b"x")],
        "deep": [entry("ui/" + "d/" * 40 + "x", content=b"x")],
        "twice": [entry("ui/x", content=b"1"), entry("ui/x", content=b"2")],
        "twice by case": [entry("ui/x", content=b"1"), entry("ui/X", content=b"2")],
        "file and folder": [entry("ui/x", content=b"1"), entry("ui/x/y", content=b"2")],
        "another manifest": [entry("manifest.json", content=b"{}")],
    }
    for name, added in cases.items():
        world.refuse(world.tar(added), name)
    expect(not Path("/etc/alga-was-here").exists() and not Path("/tmp/alga-was-here").exists(), "a file got out")


@test("bombs of size, of count and of compression are stopped at their limit")
def bombs(world):
    world.refuse(world.tar([entry("ui/zeros", content=b"\0" * (100 << 20))]), "a hundred megabytes of zeros")
    world.refuse(world.tar([entry(f"ui/{i}", content=b"") for i in range(3_000)]), "three thousand entries")
    world.refuse(None, "noise", tail=os.urandom(1 << 20))
    expect(world.platform.server.peak_memory_bytes() < 3 << 30, "the server used more than 3 GiB")


@test("archives that are cut, continued, empty or something else are refused")
def broken(world):
    good = world.tar([])
    packed = compressed(good)
    for name, content in {"cut": packed[: len(packed) // 2], "continued": packed + b"more", "two frames": packed + packed, "empty": b"x", "tar alone": good, "gzip": gzip.compress(good)}.items():
        world.refuse(None, name, tail=content)


@test("what is no component, or a component of another world, is refused by name")
def components(world):
    big = COMPONENT + b"\0" + bytes([0x80, 0x80, 0x80, 0x08]) + b"\x01x" + b"\0" * 100
    cases = {"text": b'(module (func (export "handler")))', "ELF": ELF, "garbage": bytes(range(256)) * 10, "core module": CORE, "empty component": COMPONENT, "cut component": world.component[:200_000], "custom section that lies": big, "nothing": b""}
    for name, content in cases.items():
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            add(archive, "manifest.json", json.dumps(world.manifest()).encode())
            add(archive, "dist/main.wasm", content)
        world.refuse(out.getvalue(), name)


@test("native code in a bundle is refused or never loaded")
def native(world):
    answer = world.publish(world.tar([entry("precompiled/x86_64.cwasm", content=ELF)]))
    if answer.status < 300:
        slug = "example.hostile"
        world.platform.install(world.platform.tenant("acme"), slug)
        expect_equal(world.platform.call("acme", slug, "/counter").json(), {"counter": 1}, "the component itself runs")


@test("a bundle under another hash than its own is refused")
def wrong_hash(world):
    packed = world.platform.folder / "other.tar.zst"
    packed.write_bytes(compressed(world.tar([])))
    try:
        answer = world.platform.upload(world.publisher, packed, "sha256:" + "0" * 64)
    except AssertionError:
        return
    expect(400 <= answer.status < 500, f"{answer.status}: {answer.text()[:200]}")


@test("nothing of all that is left, and the server is well")
def clean(world):
    # The file of an upload goes shortly after its answer.
    eventually(lambda: set(world.leftovers()) <= set(world.calm), 30, lambda: f"no file is left, there are {world.leftovers()}")
    expect_equal(world.platform.server.client().get("/readyz").status, 200, "/readyz")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-hostile.") as folder, Platform(folder, config=SETTINGS) as platform:
        return main(World(platform))


if __name__ == "__main__":
    sys.exit(run())
