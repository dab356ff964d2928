"""A file system of its own that a test fills to the last byte."""

import subprocess
from pathlib import Path

from .tap import Skip


class SmallDisk:
    """Mounted at `folder` inside its `with` block."""

    def __init__(self, folder, megabytes):
        self.folder = Path(folder)
        self._filler = self.folder / "filler"
        self._megabytes = megabytes

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self._megabytes}m,mode=0700", "tmpfs", self.folder], capture_output=True)
        if done.returncode:
            raise Skip("a small file system cannot be mounted here")
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", self.folder], check=False)

    def fill(self):
        with open(self._filler, "ab", buffering=0) as out:
            for piece in (65536, 1):
                try:
                    while True:
                        out.write(b"\0" * piece)
                except OSError:
                    pass

    def free(self):
        self._filler.unlink(missing_ok=True)
