"""An author: the `alga` command with a home of its own, and projects that it works in."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from .tap import Failed, expect_equal

ROOT = Path(__file__).resolve().parents[3]
SDK = ROOT / "sdk"
ALGA = SDK / "alga-cli" / "bin" / "alga.js"
# Ends what hangs; a machine that is busy with ten other things compiles for minutes.
COMMAND_SECONDS = 900
STOP_SECONDS = 45
MEMORY_WANTED = 4 << 30


@dataclass
class Said:
    """What a command wrote, and how it ended."""

    status: int
    out: str
    err: str

    def json(self):
        return json.loads(self.out)

    def all(self):
        return self.out + self.err


class Author:
    """Runs `alga` against one server with one account; the user's own settings stay untouched."""

    def __init__(self, folder, origin="", token="", tenant=""):
        self.folder = Path(folder)
        home = self.folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ALGA_")}
        cache = Path(os.environ.get("ALGA_CACHE") or Path.home() / ".cache" / "alga")
        named = {"ALGA_URL": origin, "ALGA_TOKEN": token, "ALGA_TENANT": tenant}
        self.env = {
            **kept,
            **{name: value for name, value in named.items() if value},
            "ALGA_BUILD_CACHE": str(cache / "components"),
            "HOME": str(home),
            # Other people's tools keep their own state where it is.
            "CARGO_HOME": os.environ.get("CARGO_HOME") or str(Path.home() / ".cargo"),
            "RUSTUP_HOME": os.environ.get("RUSTUP_HOME") or str(Path.home() / ".rustup"),
            "NPM_CONFIG_USERCONFIG": os.environ.get("NPM_CONFIG_USERCONFIG") or str(Path.home() / ".npmrc"),
            "CARGO_TARGET_DIR": str(cache / "guest-tools" / "target"),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "NO_COLOR": "1",
            "npm_config_cache": os.environ.get("npm_config_cache") or str(Path.home() / ".npm"),
        }

    def run(self, *arguments, cwd=None, feed="", expect=0, seconds=COMMAND_SECONDS):
        """Runs `alga ARGUMENT…`. A status other than `expect` fails the test; None takes any."""
        done = self.program(["node", ALGA, *arguments], cwd=cwd, feed=feed, seconds=seconds)
        if expect is not None and done.status != expect:
            shown = " ".join(map(str, arguments))
            raise Failed(f"alga {shown} ended with {done.status}, wanted {expect}:\n{done.all()}")
        return done

    def json(self, *arguments, **more):
        return self.run(*arguments, "--json", **more).json()

    def program(self, command, cwd=None, feed="", seconds=COMMAND_SECONDS, env=None):
        """Runs any program as this author."""
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd or self.folder,
            env={**self.env, **(env or {})},
            input=feed,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments, cwd=None):
        """Starts `alga ARGUMENT… --json`, which goes on until it is interrupted."""
        log = self.folder / f"running-{time.monotonic_ns()}"
        return Running(["node", ALGA, *arguments, "--json"], cwd or self.folder, self.env, log)

    def copy(self, source, name):
        """Copies a project from the repository, without what was built in it, and links its packages."""
        project = self.folder / name
        built = shutil.ignore_patterns("dist", ".alga", "node_modules", "vendor")
        shutil.copytree(source, project, ignore=built)
        return self.link(project)

    @staticmethod
    def link(project):
        """Gives a project the packages of this checkout, in place of an `npm install`."""
        (Path(project) / "node_modules").symlink_to(SDK / "node_modules")
        return Path(project)


class Workshop:
    """A platform, a tenant, and an author whose publisher the platform knows."""

    TENANT = "acme"

    def __init__(self, platform, publisher="example"):
        self.platform = platform
        platform.tenant(self.TENANT)
        token = platform.token_file.read_text().strip()
        self.author = Author(platform.folder / "author", platform.server.origin, token, self.TENANT)
        self.key = self.author.folder / "signing.key"
        public = self.author.json("keygen", "--out", self.key)["public_key"]
        expect_equal(platform.operator.post("/api/v1/publishers", {"name": publisher}).status, 201, "new publisher")
        keys = f"/api/v1/publishers/{publisher}/keys"
        expect_equal(platform.operator.post(keys, {"public_key": public}).status, 201, "new publisher key")

    def publish(self, project, *options):
        """Builds, packs, signs and publishes a project; returns what the command says."""
        return self.author.json("publish", "--key", self.key, *options, cwd=project)

    def install(self, extension, *options, egress=(), config=None):
        """Installs with all that the manifest declares; returns the install."""
        rules = [part for rule in egress for part in ("--egress", rule)]
        values = [part for name, value in (config or {}).items() for part in ("--config", f"{name}={value}")]
        return self.author.json("install", extension, "--grant-declared", *rules, *values, *options)["install"]

    def call(self, extension, path, **more):
        """A call of an end user through the gateway."""
        return self.platform.call(self.TENANT, extension, path, **more)


class Running:
    """A command that goes on. Its events, one JSON object a line, are read with `next`."""

    def __init__(self, command, cwd, env, log):
        self.out, self.err = log.with_suffix(".out"), log.with_suffix(".err")
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self._taken = set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.interrupt()

    def output(self):
        return self.out.read_text(errors="replace") + self.err.read_text(errors="replace")

    def events(self):
        return [json.loads(line) for line in self.out.read_text().splitlines(keepends=True) if line.endswith("}\n")]

    def next(self, holds, seconds, what):
        """The first event, of those not taken yet, that `holds` is true of; takes it."""
        deadline = time.monotonic() + seconds
        while True:
            for index, event in enumerate(self.events()):
                if index not in self._taken and holds(event):
                    self._taken.add(index)
                    return event
            if self.process.poll() is not None:
                raise Failed(f"{what}: the command ended with {self.process.returncode}:\n{self.output()[-4000:]}")
            if time.monotonic() > deadline:
                raise Failed(f"{what}: not within {seconds} s:\n{self.output()[-2000:]}")
            time.sleep(0.05)

    def processes(self):
        """The programs that run below the command, and itself: names by process id."""
        children, names = {}, {}
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                pid_and_name, _, rest = status.read_text().rpartition(") ")
            except OSError:
                continue
            pid, _, name = pid_and_name.partition(" (")
            if rest[0] != "Z":
                names[int(pid)] = name
                children.setdefault(int(rest.split()[1]), []).append(int(pid))
        found, below = {}, [self.process.pid]
        while below:
            pid = below.pop()
            if pid in names:
                found[pid] = names[pid]
            below += children.get(pid, ())
        return found

    @staticmethod
    def alive(processes):
        """Names of those that still run of what `processes` returned before."""
        names = []
        for pid, name in processes.items():
            try:
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
            except OSError:
                continue
            if state != "Z":
                names.append(name)
        return sorted(names)

    def kill(self):
        """Ends the command itself without a warning; what it started has to see that alone."""
        self.process.kill()
        self.process.wait()

    def interrupt(self):
        """Ctrl-C, as a terminal sends it: to every process of the session. Returns the exit status."""
        os.killpg(self.process.pid, signal.SIGINT)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise Failed(f"the command did not stop:\n{self.output()[-4000:]}") from None


class GuestTools:
    """Compilers of the other guest languages, which tests/guests/toolchains.sh gets."""

    def __init__(self, author):
        said = author.program([ROOT / "tests" / "guests" / "toolchains.sh"], seconds=600)
        self.folder = Path(said.out.strip())
        author.env["PATH"] = f"{self.folder}{os.pathsep}{author.env['PATH']}"

    def missing(self, language):
        """Why a language cannot be built here, or None."""
        reason = self.folder.parent / f"missing-{language}"
        return reason.read_text().strip() if reason.exists() else None


def with_settings(config, section, lines):
    """A configuration with further lines in one of its sections."""
    head = f"[{section}]\n"
    return config.replace(head, head + lines) if head in config else f"{config}\n{head}{lines}"


def scratch():
    """A temporary folder: in memory where there is room, for components are large and disks slow."""
    memory = Path("/dev/shm")
    roomy = None
    if memory.is_dir():
        found = os.statvfs(memory)
        if not found.f_flag & os.ST_NOEXEC and found.f_bavail * found.f_frsize > MEMORY_WANTED:
            roomy = memory
    return tempfile.TemporaryDirectory(prefix="alga-e2e.", dir=roomy)


def release_only(what):
    """Ends the program, with a skipped test, when the server under test is a sanitized one."""
    preset = os.environ.get("ALGA_PRESET")
    if preset in ("asan", "tsan"):
        print(f"ok {what} # SKIP the tools of authors are tested with the release build; {preset} compiles for minutes")
        sys.exit(0)
