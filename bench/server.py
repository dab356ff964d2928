"""A runner under load, and where the time of its requests goes."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from grants import Signer
from harness import bundle
from harness.server import Algad
import machine

EXTENSION = "0b6b6f5e-6c9e-4c7e-9d0a-2f6f9f8a1c11"
TOKEN = "token-of-the-benchmark"
COMPILE_SECONDS = 600
CONFIG = """
[runner]
service_token = "file:{folder}/token"
grant_keys = ["{key}"]
[bundles]
path = "{folder}/bundles"
[engine]
cold_wait = "2m"
compile_processes = 1
keep_pages = "{keep_pages}"
"""
# One install may take all places of its tenant, as many as the most callers.
ALL_PLACES = "[limits]\nexecutions_per_install = 64\n"
# Stages in the order in which a request passes them; the last two are not in the line of an execution.
STAGES = ("grant", "cold", "queue", "instantiate", "call")
NAMES = {"cold": "artefact"}
WRK = """
local requests = {%s}
local turn = 0
function request()
  turn = turn %% #requests + 1
  return requests[turn]
end
local failed = 0
function init()
  for i, wanted in ipairs(requests) do
    requests[i] = wrk.format("POST", "/v1/execute", wanted.headers, wanted.body)
  end
end
function response(status, headers, body)
  if status ~= 200 or not body:find('"status":200', 1, true) then failed = failed + 1 end
end
local thread
function setup(made) thread = made end
function done(summary, latency)
  local errors = summary.errors
  local bad = thread:get("failed") or 0
  bad = bad + errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format("FIGURES %%d %%d %%d %%d %%d %%d\\n", summary.requests, summary.duration, bad,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
""".replace("local failed = 0", "failed = 0")


class Server:
    """A lone runner that believes grants, with whatever bundles a benchmark adds."""

    def __init__(self, folder, more=ALL_PLACES, keep_pages="on"):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.signer = Signer(self.folder)
        self._packed = {}
        (self.folder / "bundles").mkdir(exist_ok=True)
        (self.folder / "token").write_text(TOKEN)
        config = CONFIG.format(folder=self.folder, key=self.signer.public_key, keep_pages=keep_pages) + more
        self.algad = Algad("runner", self.folder / "runner", config=config)

    def __enter__(self):
        self.algad.start()
        return self

    def __exit__(self, *_):
        self.algad.stop()

    @property
    def pid(self):
        return self.algad.process.pid

    def add(self, component, tenant, name="bench"):
        """Places the bundle of a component for a tenant; returns its content hash."""
        packed, content_hash = self._packed.get((component, name), (None, None))
        if packed is None:
            packed = self.folder / f"{Path(component).stem}-{name}.tar.zst"
            content_hash = bundle.pack(component, bundle.manifest(f"com.example.{name}"), packed)
            self._packed[component, name] = packed, content_hash
        bundle.place(self.folder / "bundles", tenant, EXTENSION, packed, content_hash)
        return content_hash

    def request(self, content_hash, tenant, path="/", egress=(), limits=None):
        """Headers and body of one call, good for a minute."""
        capabilities = ("cap:http.fetch", "cap:config.read")
        grant = self.signer.grant(tenant, EXTENSION, content_hash, capabilities, egress)
        headers = {
            "content-type": "application/json", "x-alga-tenant": tenant, "x-alga-extension": EXTENSION,
            "x-runner-service-token": TOKEN, "x-alga-grant": grant,
            "x-ext-config-version": "1", "x-ext-secrets-version": "1",
        }  # fmt: skip
        context = {
            "tenant_id": tenant, "extension_id": EXTENSION, "content_hash": content_hash,
            "install_id": f"install-{tenant}", "version_id": "1.0.0", "request_id": "bench",
        }  # fmt: skip
        http = {"method": "GET", "path": path, "query": {}, "headers": {}}
        body = {"context": context, "http": http, "limits": limits or {}, "providers": list(capabilities)}
        return {"headers": headers, "body": json.dumps(body)}

    def call(self, request):
        """One call; the time it took and the answer's `status`."""
        begun = time.perf_counter()
        answer = self.algad.client(request["headers"]).request("POST", "/v1/execute", body=request["body"].encode())
        took = time.perf_counter() - begun
        if answer.status != 200 or answer.json()["status"] != 200:
            sys.exit(f"the guest does not answer: {answer.status} {answer.text()[:500]}")
        return took

    def status(self, request):
        """The status of one call over HTTP: 503 while its component is being compiled."""
        return self.algad.client(request["headers"]).request("POST", "/v1/execute", body=request["body"].encode()).status

    def warm(self, content_hash, tenant="tenant", path="/", times=20, **more):
        """Has the component compiled and mapped; grants last a minute, compiling may take longer."""
        deadline = time.monotonic() + COMPILE_SECONDS
        while self.status(self.request(content_hash, tenant, path, **more)) == 503 and time.monotonic() < deadline:
            time.sleep(1)
        for _ in range(times):
            self.call(self.request(content_hash, tenant, path, **more))

    def load(self, requests, callers, seconds, processors=None, pause_ms=0):
        """What `callers` connections get within `seconds`: rates, latencies, CPU, and the waterfall.

        With `pause_ms` each caller rests between two requests, so long on average.
        """
        script = self.folder / "load.lua"
        pause = f"function delay() return math.random(1, {2 * pause_ms}) end\n" if pause_ms else ""
        script.write_text(WRK % ", ".join(map(_lua, requests)) + pause)
        machine.pin(self.pid, {0} if processors else machine.everywhere())
        mark = self.algad.log.stat().st_size
        before = machine.cpu_seconds(self.pid)
        command = ["wrk", "-t1", f"-c{callers}", f"-d{seconds}s", "--timeout", "30s", "-s", str(script), self.algad.origin]
        if processors:
            command = ["taskset", "-c", ",".join(map(str, sorted(processors)))] + command
        done = subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
        used = machine.cpu_seconds(self.pid) - before
        machine.pin(self.pid, machine.everywhere())
        found = re.search(r"FIGURES ([\d ]+)", done.stdout)
        if not found:
            sys.exit(f"wrk said nothing:\n{done.stdout}{done.stderr}")
        count, duration, failed, *latencies = map(int, found.group(1).split())
        row = {"what": "POST /v1/execute", "callers": callers, "per_second": count / (duration / 1e6), "failed": failed}
        row.update(zip(("p50_us", "p99_us", "p999_us"), latencies))
        row["cpu_us"] = 1e6 * used / max(count, 1)
        row["waterfall"] = self.waterfall(mark, row)
        return row

    def lines(self, mark):
        """The execution lines that were written since the log had `mark` bytes."""
        with open(self.algad.log, "rb") as log:
            log.seek(mark)
            text = log.read().decode("utf-8", "replace")
        lines = (json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}"))
        return [line for line in lines if line.get("message") == "execution"]

    def waterfall(self, mark, row):
        """Microseconds of each stage: p50, p99, p99.9."""
        lines = [line for line in self.lines(mark) if line["end_class"] == "ok"]
        stages = {NAMES.get(stage, stage): [line[f"{stage}_us"] for line in lines] for stage in STAGES}
        inside = [line["total_us"] for line in lines]
        stages["runner, rest"] = [line["total_us"] - sum(line[f"{stage}_us"] for stage in STAGES) for line in lines]
        result = {name: [machine.quantile(values, part) for part in (0.5, 0.99, 0.999)] for name, values in stages.items()}
        totals = [machine.quantile(inside, part) for part in (0.5, 0.99, 0.999)]
        seen = (row["p50_us"], row["p99_us"], row["p999_us"])
        result["respond (HTTP, JSON, socket)"] = [max(0, outer - inner) for outer, inner in zip(seen, totals)]
        result["drop (after the answer)"] = self.drops()
        return result

    def rest(self, seconds=5):
        """Waits until no slot is in use: what follows an answer is done after it."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            used = re.findall(r"^alga_pool_slots_in_use\{.*\} (\d+)", self.algad.client().get("/metrics").text(), re.M)
            if used and not any(int(count) for count in used):
                return
            time.sleep(0.05)

    def drops(self):
        """Upper bounds of the buckets of alga_engine_drop_seconds, since the server started."""
        text = self.algad.client().get("/metrics").text()
        buckets = re.findall(r'alga_engine_drop_seconds_bucket\{le="([^"]+)"\} (\d+)', text)
        total = int(buckets[-1][1]) if buckets else 0
        bounds = []
        for part in (0.5, 0.99, 0.999):
            bound = next((le for le, count in buckets if int(count) >= total * part), "+Inf")
            bounds.append("≤ " + (f"{float(bound) * 1e6:.0f}" if bound != "+Inf" else "∞"))
        return bounds


def _lua(request):
    headers = ", ".join(f"[{json.dumps(name)}] = {json.dumps(value)}" for name, value in request["headers"].items())
    return f"{{headers = {{{headers}}}, body = [==[{request['body']}]==]}}"


def processors_for_one_caller():
    """The caller's processor when the server has processor 0 to itself; none on a single one."""
    return {1} if os.cpu_count() > 1 else None
