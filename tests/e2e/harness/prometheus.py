"""A real Prometheus that scrapes a server under test every second."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

from .client import Client
from .ports import free_port
from .tap import Skip

START_SECONDS = 30


def program(name):
    """`prometheus` or `promtool`: on the PATH, or in the folder $ALGA_PROMETHEUS."""
    folder = os.environ.get("ALGA_PROMETHEUS")
    found = shutil.which(name, path=folder) if folder else shutil.which(name)
    if not found:
        raise Skip(f"no Prometheus: {name} is neither on the PATH nor in the folder ALGA_PROMETHEUS")
    return found


class Prometheus:
    """Scrapes `targets` (ports) as the job `alga` and judges the rules of a file, both every second."""

    def __init__(self, folder, rules, targets):
        self.program = program("prometheus")
        self.folder = Path(folder)
        self.folder.mkdir(parents=True)
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": [{"job_name": "alga", "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in targets]}]}],
        }
        (self.folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
        self.port = free_port()
        self.client = Client(f"http://127.0.0.1:{self.port}", timeout=10)
        self.process = None

    def __enter__(self):
        command = [self.program, f"--config.file={self.folder}/prometheus.yml", f"--storage.tsdb.path={self.folder}/data"]
        command += [f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn"]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.__exit__()
                raise RuntimeError("Prometheus did not start:\n" + (self.folder / "log").read_text()[-2000:])
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _ready(self):
        try:
            return self.client.get("/-/ready").status == 200
        except OSError:
            return False

    def data(self, path):
        return self.client.get(f"/api/v1/{path}").json()["data"]

    def value(self, expression):
        """Of an expression with one sample; None while it has none."""
        samples = self.data(f"query?query={quote(expression)}")["result"]
        return float(samples[0]["value"][1]) if samples else None

    def rules(self):
        return [rule for group in self.data("rules")["groups"] for rule in group["rules"]]

    def firing(self):
        return {alert["labels"]["alertname"]: alert for alert in self.data("alerts")["alerts"] if alert["state"] == "firing"}
