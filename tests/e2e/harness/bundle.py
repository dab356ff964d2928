"""Packs a component as bundle.tar.zst and puts it where a file store looks for it."""

import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path


def pack(component, manifest, out, files=None):
    """Writes a bundle with `dist/main.wasm`, `manifest.json` and further files by path; returns `sha256:<hex>`."""
    text = json.dumps(manifest, indent=2, sort_keys=True).encode()
    return pack_files({"manifest.json": text, "dist/main.wasm": Path(component).read_bytes(), **(files or {})}, out)


def pack_files(files, out):
    """Writes any files by their path in the archive; returns `sha256:<hex>`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(content), 0o644, 0
            archive.addfile(entry, io.BytesIO(content))
    # Debian 12's Python has no zstd; its command has.
    done = subprocess.run(["zstd", "-q", "-3", "-c"], input=buffer.getvalue(), stdout=subprocess.PIPE, check=True)
    Path(out).write_bytes(done.stdout)
    return "sha256:" + hashlib.sha256(done.stdout).hexdigest()


def place(store, tenant, extension, bundle, content_hash):
    """Copies a packed bundle to its canonical key below the folder `store`."""
    digest = content_hash.removeprefix("sha256:")
    target = Path(store) / "tenants" / tenant / "extensions" / extension / "sha256" / digest / "bundle.tar.zst"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(Path(bundle).read_bytes())
    return target


def manifest(name="com.example.fixture", version="1.0.0", capabilities=(), endpoints=()):
    return {
        "name": name,
        "publisher": "example",
        "version": version,
        "runtime": "wasm-js@1",
        "capabilities": list(capabilities),
        "api": {"endpoints": list(endpoints)},
    }
