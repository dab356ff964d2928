"""Debian's podman, with images and containers in a folder of a test's own."""

import os
import shutil
import subprocess

from .tap import Skip

TOOLS = ("podman", "runc", "buildah", "mmdebstrap")


def need_container_tools():
    if os.geteuid() != 0:
        raise Skip("containers are built and run as root here, and this is not root")
    # The first thing whoever makes layers or containers does; it cannot be done below a chroot, for one.
    probe = subprocess.run(["unshare", "-m", "true"], capture_output=True, text=True)
    if probe.returncode:
        raise Skip(f"containers need a mount namespace of their own: {probe.stderr.strip()}")
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing and subprocess.run(
        ["apt-get", "install", "-q", "-y", "--no-install-recommends", "podman", "runc", "buildah", "mmdebstrap", "uidmap"],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
    ).returncode:
        raise Skip(f"not on this machine and not installable: {', '.join(missing)}")


def podman_command(storage):
    """The beginning of every command on what `storage` holds."""
    base = ["podman", "--root", f"{storage}/root", "--runroot", f"{storage}/run", "--storage-driver", "vfs"]
    return [*base, "--runtime", "runc", "--cgroup-manager", "cgroupfs"]


def ulimits():
    return ["--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096"]
