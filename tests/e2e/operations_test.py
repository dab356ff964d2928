#!/usr/bin/python3
"""docs/operations/walkthrough.md and the README are followed, block by block, in empty folders; every other command
that the pages of docs/operations name exists with the options they name."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import author
from harness.ports import free_port
from harness.server import program, surroundings
from harness.tap import expect, main, test
from harness.walk import BLOCK, DOCS, Walk


@test("the walkthrough works in an empty folder, block by block")
def walkthrough(folder):
    port = free_port()
    walk = Walk(folder / "walkthrough", {8080: port}, {"server": port}, author.Author(folder / "author").env)
    walk.tool("alga", author.ALGA)
    (walk.folder / "bundle.tar.zst").unlink()  # the page makes its own
    walk.follow("walkthrough.md", at_least=19)


@test("the commands of the README make, publish, install and call an extension, and call it on a runner by itself")
def readme(folder):
    port, alone = free_port(), free_port()
    walk = Walk(folder / "readme", {8080: port, 8090: alone}, {"server": port, "runner": alone}, author.Author(folder).env)
    walk.tool("alga", author.ALGA)
    walk.follow("../../README.md", at_least=7)


def commands_of_the_pages():
    """`algad …` in backquotes or at the beginning of a line of a block, without what stands for a value."""
    found = set()
    for page in [*DOCS.glob("*.md"), DOCS.parents[1] / "README.md"]:
        text = page.read_text()
        found |= {(page.name, command) for command in re.findall(r"`(algad [^`]+)`", text)}
        for _, _, block in BLOCK.findall(text):
            found |= {(page.name, line.split("|")[0]) for line in re.findall(r"^(algad .+)$", block, re.M)}
    return found


@test("every algad command that a page names exists, with its options")
def named(_):
    commands = commands_of_the_pages()
    expect(len(commands) > 20, f"{len(commands)} commands")
    for page, command in sorted(commands):
        words = [word for word in command.replace("\\", "").split()[1:] if not word.startswith(("…", "<"))]
        chain, options = [], [word for word in words if word.startswith("--")]
        for word in words:
            if not re.fullmatch(r"[a-z][a-z-]*", word):
                break
            chain.append(word)
        help_text = help_of(chain)
        expect(help_text is not None, f"{page}: {command}: there is no such command")
        for option in options:
            name = option.split("=")[0]
            expect(name in help_text, f"{page}: {command}: no option {name}")


def help_of(chain):
    """The help of the longest beginning of `chain` that is a command; what follows are values."""
    for length in range(len(chain), 0, -1):
        done = subprocess.run([program(), *chain[:length], "--help"], env=surroundings(), capture_output=True, text=True, timeout=60)
        if done.returncode == 0 and (length == len(chain) or "SUBCOMMAND" not in done.stdout):
            # Options of `admin` itself may follow any of its commands.
            more = ["admin"] if chain[0] == "admin" else []
            extra = subprocess.run([program(), *more, "--help"], env=surroundings(), capture_output=True, text=True, timeout=60)
            return done.stdout + extra.stdout
    return None


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder:
        return main(Path(folder))


sys.exit(run())
