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
UNKNOWN_IMPORT = Path(__file__).resolve().parents[1] / "guests" / "text" / "unknown-import.wasm"


class World:
    def __init__(self, platform):
        self.platform, self.count = platform, 0
        self.publisher = platform.publisher("example")
        self.component = fixture("js-echo.wasm").read_bytes()
        self.calm = self.leftovers()

    def leftovers(self):
        """What an upload or an unpacked bundle leaves; staged uploads go when housekeeping sweeps them."""
        data = self.platform.folder / "server" / "data"
        return sorted(str(path.relative_to(data)) for path in data.rglob("*") if path.is_file() and (path.relative_to(data).parts[0] == "uploads" or path.name.startswith(".download") or "publish-" in str(path.relative_to(data))))

    def manifest(self):
        self.count += 1
        text = bundle.manifest("hostile", f"1.0.{self.count}")
        text["publisher"] = "example"
        del text["api"]
        return text

    def refuse(self, content, what, status, code, detail):
        """Publishes; it must be refused with this status, code and detail."""
        packed = self.platform.folder / "hostile.tar.zst"
        packed.write_bytes(content)
        self.expect_refused(self.publish(packed), what, status, code, detail)

    def expect_refused(self, answer, what, status, code, detail):
        expect_equal(answer.status, status, f"{what}: {answer.text()[:300]}")
        error = answer.json()["error"]
        expect_equal((error["code"], error["detail_code"]), (code, detail), f"{what}: {answer.text()[:300]}")

    def publish(self, packed, content_hash=None):
        """The answer of whatever refuses first, the upload or its end; the answer of its end if none does."""
        content_hash = content_hash or hash_of(packed)
        body = packed.read_bytes()
        path = f"/api/ext-bundles/upload-proxy?filename=bundle.tar.zst&size={len(body)}&declaredHash={content_hash}"
        uploaded = self.platform.operator.post(path, body, headers={"content-type": "application/octet-stream"})
        if uploaded.status // 100 != 2:
            return uploaded
        wanted = {"key": uploaded.json()["upload"]["key"], "size": len(body), "declaredHash": content_hash, "signature": self.publisher.sign(content_hash)}
        return self.platform.operator.post("/api/ext-bundles/finalize", wanted)

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


def bare(manifest, component):
    """A bundle of a manifest and whatever is to be the component."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        add(archive, "manifest.json", json.dumps(manifest).encode())
        add(archive, "dist/main.wasm", component)
    return out.getvalue()


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


def refused_bundle(detail, status=400):
    return status, "INVALID_BUNDLE", f"archive.{detail}"


@test("a bundle without harm is taken, so that the refusals below mean something")
def good(world):
    packed = world.platform.folder / "good.tar.zst"
    packed.write_bytes(compressed(world.tar([entry("ui/x", content=b"1"), entry("ui/y", content=b"2")])))
    answer = world.publish(packed)
    expect_equal(answer.status // 100, 2, f"a good bundle ({answer.text()[:300]})")
    world.good = hash_of(packed).removeprefix("sha256:")


@test("entries that lead out, point elsewhere or are no files are refused, each with its code")
def entries(world):
    cases = {
        "symbolic link": ("link_entry", [entry("ui/x", tarfile.SYMTYPE, "/etc/passwd")]),
        "link and a file through it": ("link_entry", [entry("ui/d", tarfile.SYMTYPE, "/tmp"), entry("ui/d/alga-was-here", content=b"x")]),
        "hard link": ("link_entry", [entry("ui/x", tarfile.LNKTYPE, "manifest.json")]),
        "device": ("special_entry", [entry("ui/x", tarfile.CHRTYPE)]),
        "block device": ("special_entry", [entry("ui/x", tarfile.BLKTYPE)]),
        "pipe": ("special_entry", [entry("ui/x", tarfile.FIFOTYPE)]),
        "absolute": ("absolute_path", [entry("/etc/alga-was-here", content=b"x")]),
        "parent": ("path_traversal", [entry("../alga-was-here", content=b"x")]),
        "parent inside": ("path_traversal", [entry("ui/../../alga-was-here", content=b"x")]),
        "backslashes": ("invalid_path", [entry("ui\\..\\x", content=b"x")]),
        "control character": ("invalid_path", [entry("ui/a\nb", content=b"x")]),
        "long name": ("path_too_long", [entry("ui/" + "x" * 300, content=b"x")]),
        "deep": ("path_too_long", [entry("ui/" + "d/" * 40 + "x", content=b"x")]),
        "twice": ("duplicate_entry", [entry("ui/x", content=b"1"), entry("ui/x", content=b"2")]),
        "twice by case": ("case_collision", [entry("ui/x", content=b"1"), entry("ui/X", content=b"2")]),
        "file and folder": ("duplicate_entry", [entry("ui/x", content=b"1"), entry("ui/x/y", content=b"2")]),
        "another manifest": ("duplicate_entry", [entry("manifest.json", content=b"{}")]),
    }
    for name, (detail, added) in cases.items():
        world.refuse(compressed(world.tar(added)), name, *refused_bundle(detail))
    out = [path for folder in (world.platform.folder, Path("/etc"), Path("/tmp")) for path in folder.glob("alga-was-here")]
    out += list(world.platform.folder.rglob("alga-was-here"))
    expect_equal(out, [], "files that got out")


@test("bombs of size, of count and of compression are stopped at their limit")
def bombs(world):
    before = world.platform.server.peak_memory_bytes()
    # Either would need a gigabyte and more, or eight gigabytes of window, if its limit were looked at afterwards.
    zeros = compressed(world.tar([entry("ui/zeros", content=b"\0" * (1 << 30))]))
    world.refuse(zeros, "a gigabyte of zeros", *refused_bundle("unpacked_too_large", 413))
    del zeros
    world.refuse(compressed(world.tar([entry(f"ui/{i}", content=b"") for i in range(3_000)])), "three thousand entries", *refused_bundle("too_many_entries", 413))
    wide = subprocess.run(["zstd", "-q", "--ultra", "-22", "--long=31", "-c"], input=world.tar([]), stdout=subprocess.PIPE, check=True).stdout
    world.refuse(wide, "a window of two gigabytes", *refused_bundle("window_too_large", 413))
    packed = world.platform.folder / "large.tar.zst"
    packed.write_bytes(compressed(world.tar([entry("ui/noise", content=os.urandom(33 << 20))])))
    answer = world.publish(packed)
    expect_equal((answer.status, answer.json()["error"]["code"]), (413, "http.body_too_large"), "an archive of 33 MiB")
    grown = world.platform.server.peak_memory_bytes() - before
    expect(grown < 512 << 20, f"the server's peak grew by {grown >> 20} MiB")


@test("archives that are cut, continued, empty or something else are refused, each with its code")
def broken(world):
    good = world.tar([])
    packed = compressed(good)
    cases = {
        "cut": ("truncated", packed[: len(packed) // 2]),
        "continued": ("trailing_data", packed + b"more"),
        "two frames": ("trailing_data", packed + packed),
        "a tar that is cut": ("truncated", compressed(good[: len(good) // 2])),
        "two tars": ("trailing_data", compressed(good + good)),
        "one byte": ("not_zstd", b"x"),
        "noise": ("not_zstd", os.urandom(1 << 20)),
        "tar alone": ("not_zstd", good),
        "gzip": ("not_zstd", gzip.compress(good)),
        "no tar": ("corrupt", compressed(b"z" * 4096)),
    }
    for name, (detail, content) in cases.items():
        world.refuse(content, name, *refused_bundle(detail))


@test("what is no component, or a component of another world, is refused by name")
def components(world):
    big = COMPONENT + b"\0" + bytes([0x80, 0x80, 0x80, 0x08]) + b"\x01x" + b"\0" * 100
    no_wasm, malformed = ("INVALID_COMPONENT", "component.not_wasm"), ("INVALID_COMPONENT", "component.malformed")
    cases = {
        "text": (*no_wasm, b'(module (func (export "handler")))'),
        "ELF": ("NATIVE_CODE_REFUSED", "publish.native_code", ELF),
        "garbage": (*no_wasm, bytes(range(256)) * 10),
        "core module": ("COMPONENT_REQUIRED", "component.core_module", CORE),
        "empty component": ("INVALID_COMPONENT", "component.refused", COMPONENT),
        "another world": ("INVALID_COMPONENT", "component.refused", UNKNOWN_IMPORT.read_bytes()),
        "cut component": (*malformed, world.component[:200_000]),
        "custom section that lies": (*malformed, big),
        "nothing": (*no_wasm, b""),
    }
    for name, (code, detail, content) in cases.items():
        world.refuse(compressed(bare(world.manifest(), content)), name, 422, code, detail)


@test("native code in a bundle is refused, wherever it stands and whatever its name")
def native(world):
    for name, content in (("precompiled/x86_64.cwasm", ELF), ("precompiled/x86_64.cwasm", b"anything"), ("ui/picture.png", ELF)):
        world.refuse(compressed(world.tar([entry(name, content=content)])), name, 422, "NATIVE_CODE_REFUSED", "publish.native_code")


@test("a bundle under another hash than its own is refused")
def wrong_hash(world):
    packed = world.platform.folder / "other.tar.zst"
    packed.write_bytes(compressed(world.tar([])))
    world.expect_refused(world.publish(packed, "sha256:" + "0" * 64), "another hash", 400, "HASH_MISMATCH", "publish.hash_mismatch")


@test("nothing of all that is left, and the server is well")
def clean(world):
    # The file of an upload goes shortly after its answer.
    eventually(lambda: set(world.leftovers()) <= set(world.calm), 30, lambda: f"no file is left, there are {world.leftovers()}")
    expect_equal(world.platform.server.client().get("/readyz").status, 200, "/readyz")
    shown = world.platform.operator.get("/api/v1/extensions/example.hostile").json()["extension"]
    expect_equal([version["content_hash"] for version in shown["versions"]], [world.good], "versions of the extension")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-hostile.") as folder, Platform(folder, config=SETTINGS) as platform:
        return main(World(platform))


if __name__ == "__main__":
    sys.exit(run())
