"""The `alga` command and the server's API, as the demo uses them."""

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from harness.client import Client

# Ends what hangs; a machine that is busy with ten other things compiles for minutes.
COMMAND_SECONDS = 900


class Alga:
    """Runs `alga` with its own home below `folder`, so that the user's logins stay untouched. `gateways`
    are the origins through which extensions are called, in turn; by default that of the API."""

    def __init__(self, root, folder, origin, token_file, gateways=()):
        self.token_file = Path(token_file)
        self._program = ["node", str(Path(root) / "sdk" / "alga-cli" / "bin" / "alga.js")]
        self._folder = Path(folder)
        home = self._folder / "home"
        home.mkdir()
        self._env = {
            **os.environ,
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "ALGA_URL": origin,
            "NO_COLOR": "1",
            "npm_config_cache": os.environ.get("npm_config_cache") or str(Path.home() / ".npm"),
        }
        token = {"authorization": f"Bearer {self.token_file.read_text().strip()}"}
        self._client = Client(origin, token)
        self._gateways = itertools.cycle([Client(gateway, token) for gateway in gateways] or [self._client])

    def cli(self, *arguments, cwd=None, feed=""):
        """Runs a command to its end; returns its output. A failing command ends the demo."""
        done = subprocess.run(
            self._program + [str(argument) for argument in arguments],
            cwd=cwd or self._folder,
            env=self._env,
            input=feed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECONDS,
        )
        if done.returncode:
            sys.exit(f"alga {arguments[0]} failed with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def json(self, *arguments, cwd=None):
        return json.loads(self.cli(*arguments, "--json", cwd=cwd))

    def npm(self, project, *arguments):
        done = subprocess.run(
            ["npm", *arguments],
            cwd=project,
            env={**self._env, "HOME": str(Path.home())},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECONDS,
        )
        if done.returncode:
            sys.exit(f"npm {arguments[0]} failed:\n{done.stdout}")

    def api(self, method, path, body=None, expect=200, tenant=None):
        """A call of the admin API by the operator."""
        headers = {"x-tenant-id": tenant} if tenant else {}
        answer = self._client.request(method, path, body=body, headers=headers)
        if answer.status != expect:
            sys.exit(f"{method} {path} answered {answer.status}, wanted {expect}: {answer.text()}")
        return answer

    def invoke(self, extension, path, tenant):
        """A call of the extension through the gateway, whatever it answers."""
        return next(self._gateways).get(f"/api/ext/{extension}{path}", headers={"x-tenant-id": tenant})

    def eventually_lines(self, extension, tenant, wanted, seconds=60):
        """The log lines of an extension, read until one holds `wanted`: records come in batches."""
        deadline = time.monotonic() + seconds
        while True:
            lines = self.cli("logs", extension, "--tenant", tenant, "--level", "info").splitlines()
            if any(wanted in line for line in lines) or time.monotonic() > deadline:
                return lines
            time.sleep(0.2)

    @staticmethod
    def add_capability(project, name):
        path = Path(project) / "manifest.json"
        manifest = json.loads(path.read_text())
        manifest["capabilities"].append(name)
        manifest["api"]["endpoints"] = [{"method": "GET", "path": path} for path in ("/tickets", "/elsewhere")]
        path.write_text(json.dumps(manifest, indent=2))
