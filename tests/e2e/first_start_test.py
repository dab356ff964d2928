#!/usr/bin/python3
"""What the first start says: how to log in, once, and nothing of it is kept."""

import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.server import Algad, program, surroundings
from harness.tap import expect, expect_equal, expect_in, main, test


class World:
    def __init__(self, folder):
        self.folder = Path(folder)


def said(server, beginning):
    """The rest of the only line of the output that begins so."""
    lines = [line.removeprefix(beginning) for line in server.output().splitlines() if line.startswith(beginning)]
    expect_equal(len(lines), 1, f"lines that begin with {beginning!r}\n{server.output()}")
    return lines[0]


def whoami(command):
    words = shlex.split(command)
    expect_equal(words[0], "algad", "program")
    done = subprocess.run([program(), *words[1:], "--json"], capture_output=True, text=True, timeout=60, env=surroundings())
    expect_equal((done.returncode, done.stderr), (0, ""), command)
    expect_in('"operator"', done.stdout, "roles")


def expect_hash_only(server, token):
    """No file of the data folder holds the token, nor its random part."""
    files = [path for path in (server.folder / "data").rglob("*") if path.is_file()]
    expect(any(path.name == "alga.db" for path in files), "there is a database")
    secret = token.removeprefix("alga_boot_").encode()
    expect(len(secret) >= 32, "the token is long")
    expect_equal([path.name for path in files if secret in path.read_bytes()], [], "files with the token")
    expect(any(b"bootstrap token" in path.read_bytes() for path in files), "what the database holds can be found so")


@test("the first start prints its token once and the command that tries it")
def printed(world):
    with Algad("all", world.folder / "printed") as server:
        token = said(server, "bootstrap token: ")
        expect(re.fullmatch(r"alga_boot_[A-Za-z0-9_-]+", token), "a token")
        expect_equal(server.output().count("alga_boot_"), 1, "tokens in the output")
        command = said(server, "log in: put the token into a file and run ")
        expect(command.endswith(" --token-file FILE"), command)
        file = world.folder / "token"
        file.write_text(token + "\n")
        file.chmod(0o600)
        whoami(command.removesuffix("FILE") + str(file))
        expect_hash_only(server, token)
        server.stop()
        expect_hash_only(server, token)
        server.start()
        expect_equal(server.output().count("log in: "), 1, "told how, after two starts")


@test("where a file takes the token, the first start names the file and prints no token")
def in_a_file(world):
    file = world.folder / "bootstrap-token"
    with Algad("all", world.folder / "filed", arguments=["--bootstrap-token-file", str(file)]) as server:
        expect_equal(file.stat().st_mode & 0o777, 0o600, "mode of the file")
        expect("alga_boot_" not in server.output(), "no token in the output")
        command = said(server, "log in: ")
        expect_in(str(file), command, "the file")
        whoami(command)
        expect_hash_only(server, file.read_text().strip())


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder:
        return main(World(folder))


sys.exit(run())
