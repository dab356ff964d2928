"""OpenBao, which speaks Vault's API, as a child process whose data survive a restart."""

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from .ports import free_port
from .tap import Skip

ROOT = Path(__file__).resolve().parents[3]
CONFIG = """
storage "raft" {{
  path = "{folder}/data"
  node_id = "one"
}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster}"
  tls_disable = true
}}
api_addr = "http://127.0.0.1:{port}"
cluster_addr = "http://127.0.0.1:{cluster}"
"""


def program():
    """$ALGA_BAO, or `bao` on the PATH; none when there is no server."""
    return os.environ.get("ALGA_BAO") or shutil.which("bao")


class OpenBao:
    """Initialised and unsealed. `api()` acts as root; `setup()` runs deploy/vault/setup."""

    def __init__(self, folder):
        if program() is None:
            raise Skip("no Vault: put OpenBao's `bao` on the PATH or into ALGA_BAO")
        self.folder = Path(folder)
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        config = CONFIG.format(folder=self.folder, port=self.port, cluster=free_port())
        (self.folder / "bao.hcl").write_text(config)
        self.process = None
        self.root = self.key = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop(signal.SIGKILL)

    def start(self):
        with open(self.folder / "bao.log", "ab") as out:
            self.process = subprocess.Popen(
                [program(), "server", "-config", str(self.folder / "bao.hcl")],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={"HOME": str(self.folder), "PATH": os.environ["PATH"]},
            )
        self._wait("answers", lambda: self._status() is not None)
        if self.key is None:
            made = self.api("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1}, token=None)
            self.root, self.key = made["root_token"], made["keys"][0]
        self.unseal()

    def stop(self, sign=signal.SIGTERM):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(sign)
            self.process.send_signal(signal.SIGCONT)  # in case it is paused; too late for what it was killed in
            self.process.wait(30)

    def pause(self):
        """Alive but silent, as in a long pause of its host."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def seal(self):
        self.api("PUT", "sys/seal")

    def unseal(self):
        self.api("PUT", "sys/unseal", {"key": self.key}, token=None)
        self._wait("is unsealed and leads", lambda: self._status() == 200)

    def api(self, method, path, body=None, token=""):
        """The answer's JSON; fails on any other status than 2xx."""
        request = urllib.request.Request(f"{self.address}/v1/{path}", method=method)
        if body is not None:
            request.data = json.dumps(body).encode()
        if token is not None:
            request.add_header("X-Vault-Token", token or self.root)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read()
        except urllib.error.HTTPError as refused:
            raise RuntimeError(f"{method} {path}: {refused.code} {refused.read()[:500]!r}") from None
        return json.loads(text) if text else {}

    def setup(self):
        """What deploy/vault/setup does for an operator, by the script itself."""
        # The key-value engine upgrades itself for a moment after it was made.
        env = {**os.environ, "VAULT_ADDR": self.address, "VAULT_TOKEN": self.root, "VAULT_CLI": program(), "HOME": str(self.folder)}
        done = subprocess.run([ROOT / "deploy/vault/setup"], env=env, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"deploy/vault/setup: {done.stderr[-2000:]}")
        self._wait("has its key-value engine", self._kv_works)

    def token(self, *policies, ttl="1h"):
        """A token with these policies and no more, in a file of its own."""
        made = self.api("POST", "auth/token/create", {"policies": list(policies), "ttl": ttl, "no_default_policy": True})
        return made["auth"]["client_token"]

    def approle(self, role):
        """Role id and secret id."""
        role_id = self.api("GET", f"auth/approle/role/{role}/role-id")["data"]["role_id"]
        return role_id, self.api("POST", f"auth/approle/role/{role}/secret-id", {})["data"]["secret_id"]

    def _kv_works(self):
        try:
            self.api("POST", "kv/data/probe", {"data": {"probe": "1"}})
            return True
        except RuntimeError:
            return False

    def _status(self):
        try:
            with urllib.request.urlopen(f"{self.address}/v1/sys/health", timeout=2) as answer:
                return answer.status
        except urllib.error.HTTPError as refused:
            return refused.code
        except OSError:
            return None

    def _wait(self, what, check, seconds=30):
        deadline = time.monotonic() + seconds
        while not check():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"OpenBao never {what}: {(self.folder / 'bao.log').read_text()[-2000:]}")
            time.sleep(0.05)
