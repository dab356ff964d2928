"""The platform spread over processes: a control plane, gateways and runners with PostgreSQL, S3 and mutual
TLS, and between them wires that a test can cut."""

import http.client
import json
from contextlib import ExitStack
from pathlib import Path

from .authority import Authority
from .client import Answer
from .network import Relay
from .platform import Platform
from .server import Algad
from .servers import ObjectStore, Postgres

INSTALL_CONFIG_TOKEN = "canary-6b1f-install-config-token"
RUNNER_TOKEN = "canary-6b1f-runner-token"
REGISTRY_KEY = "canary-6b1f-registry-key"
DOMAIN_ROOT = "ext.example.com"
GATEWAY_RIGHTS = Path(__file__).resolve().parents[3] / "deploy" / "postgres" / "gateway.sql"


class Fleet(Platform):
    """`operator` speaks to the control plane, `gateways` and `runners` are lists of Algad.

    wires["gateway-0"] leads that gateway to the control plane, wires["runner-0"] that runner to it, and
    wires["execute-0"] that gateway to the runners, wires["warm-0"] the control plane to that runner. Every one of them speaks TLS with both sides' certificates.
    """

    def __init__(self, folder, gateways=2, runners=2, timeout="4s", grace="2s"):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.token_file = self.folder / "bootstrap-token"
        self.operator = None
        self._stack = ExitStack()
        self._wanted = (gateways, runners)
        self._times = (timeout, grace)
        self.gateways, self.runners, self.wires = [], [], {}

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self._stack.close()
            raise

    def __exit__(self, *_):
        self._stack.close()

    def start(self):
        enter = self._stack.enter_context
        self.postgres = enter(Postgres())
        self.objects = enter(self._objects())
        self._prepare_objects()
        self.authority = self._authority()
        self.identity = {name: self.authority.issue(f"{name}.test") for name in ("control-plane", "gateway", "runner", "stranger")}
        for name, value in (("config-token", INSTALL_CONFIG_TOKEN), ("runner-token", RUNNER_TOKEN), ("registry-key", REGISTRY_KEY)):
            (self.folder / name).write_text(value)
        gateways, runners = self._wanted
        self.postgres.sql("CREATE ROLE alga_gateway LOGIN")
        for index in range(runners):
            self._wire(f"warm-{index}")
        self.server = self._process("control-plane", self._control_plane(), ["--bootstrap-token-file", str(self.token_file)])
        self.operator = self.client(self.token_file.read_text().strip())
        for index in range(runners):
            self.runners.append(self.another_runner())
            self.wires[f"warm-{index}"].targets = [internal_port(self.runners[-1])]
        self.postgres.run_file(GATEWAY_RIGHTS, gateway="alga_gateway")
        for index in range(gateways):
            wire = self._wire(f"gateway-{index}", internal_port(self.server))
            execute = self._wire(f"execute-{index}", *map(internal_port, self.runners))
            self.gateways.append(self._process("gateway", self._gateway(wire, execute), name=f"gateway-{index}"))
        return self

    def another_runner(self):
        """Starts one that neither gateways nor the control plane know of."""
        name = f"runner-{len(self.runners)}"
        wire = self._wire(name, internal_port(self.server))
        return self._process("runner", self._runner(wire), name=name)

    def restart(self, server):
        """Starts a process again that was ended or killed; the wires lead to where it listens now."""
        server.start()
        if server is self.server:
            self.operator = self.client(self.operator.headers["authorization"].removeprefix("Bearer "))
            for name, wire in self.wires.items():
                if name.startswith(("runner", "gateway")):
                    wire.targets = [internal_port(server)]
        for index, runner in enumerate(self.runners):
            if runner is server:
                self.wires[f"warm-{index}"].targets = [internal_port(server)]
        for index in range(len(self.gateways)):
            self.wires[f"execute-{index}"].targets = [internal_port(runner) for runner in self.runners if runner.process.poll() is None]
        return server

    def gateway_clients(self, timeout=30.0):
        """The operator at each gateway."""
        token = {"authorization": self.operator.headers["authorization"]}
        return [gateway.client(token, timeout) for gateway in self.gateways]

    def call(self, tenant, extension, path, method="GET", body=None, headers=None, client=None):
        return super().call(tenant, extension, path, method, body, headers, client or self.gateway_clients()[0])

    def internal(self, server, method, path, body=None, headers=None, identity="gateway"):
        """One request to the internal listener of a process, with the certificate of `identity` or without any."""
        context = self.authority.context(self.identity[identity] if identity else None)
        connection = http.client.HTTPSConnection("127.0.0.1", internal_port(server), timeout=60, context=context)
        try:
            sent = {"content-type": "application/json", **(headers or {})}
            connection.request(method, path, None if body is None else json.dumps(body).encode(), sent)
            response = connection.getresponse()
            names = [(key.lower(), value) for key, value in response.getheaders()]
            return Answer(response.status, names, response.read())
        finally:
            connection.close()

    def warm_up(self, tenant, install):
        """Asks every runner, with a grant, to have the component ready; returns the answer of each."""
        wanted = {"tenant_id": tenant, "extension_id": install["extension_id"], "content_hash": install["content_hash"]}
        grant = {"x-alga-grant": self.install_config(tenant, install["id"]).json()["grant"]}
        return [self.internal(runner, "POST", "/warmup", wanted, grant) for runner in self.runners]

    def install_config(self, tenant, extension, identity="gateway"):
        """What a gateway is told about an install."""
        asked = {"tenantId": tenant, "extensionId": extension}
        token = {"x-runner-auth": INSTALL_CONFIG_TOKEN}
        return self.internal(self.server, "POST", "/internal/runner/install-config", asked, token, identity)

    def processes(self):
        return [self.server, *self.gateways, *self.runners]

    def files_holding(self, needle):
        """Outside the folder where the test itself keeps tokens and keys."""
        own = {self.folder / "config-token", self.folder / "runner-token", self.folder / "registry-key", self.token_file}
        return [path for path in super().files_holding(needle) if Path(path) not in own]

    def _wire(self, name, *targets):
        self.wires[name] = self._stack.enter_context(Relay(*targets))
        return self.wires[name]

    def _process(self, role, config, arguments=(), name=None):
        folder = self.folder / (name or role)
        server = Algad(role, folder, config=config, arguments=arguments, env=self._environment(name or role))
        return self._stack.enter_context(server)

    def _tls(self, name):
        certificate, key = self.identity[name]
        return f"""
[tls]
ca = "{self.authority.ca}"
client_certificate = "{certificate}"
client_key = "{key}"
"""

    def _internal(self, name):
        """An internal listener that only certificates of our authority may call."""
        certificate, key = self.identity[name]
        return f"""{self._tls(name)}
internal_certificate = "{certificate}"
internal_key = "{key}"
internal_client_ca = "{self.authority.ca}"

[server]
internal_listen = "127.0.0.1:0"
internal_port_file = "{{folder}}/internal.port"
"""

    def _database(self, user="alga"):
        return f"""
[database]
url = "{self.postgres.url_of(user)}"
"""

    def _authority(self):
        return Authority(self.folder / "tls")

    def _objects(self):
        """The bundle store, not started yet."""
        return ObjectStore(self.folder / "objects")

    def _prepare_objects(self):
        """Once the store runs and before any process does."""

    def _environment(self, _process):
        """Variables that a process (`control-plane`, `runner-0`, …) is started with."""
        return {"S3_ACCESS": self.objects.access_key, "S3_SECRET": self.objects.secret_key}

    def _bundles(self):
        return f"""
[bundles]
store = "s3"

[bundles.s3]
endpoint = "{self.objects.origin}"
bucket = "{self.objects.bucket}"
access_key = "env:S3_ACCESS"
secret_key = "env:S3_SECRET"

[secrets]
path = "{self.folder}/keys"
"""

    def _control_plane(self):
        keys = self.folder / "keys"
        keys.mkdir(mode=0o700, exist_ok=True)
        internal = self._internal("control-plane").replace("{folder}", str(self.folder / "control-plane"))
        runners = [f"https://127.0.0.1:{self.wires[f'warm-{index}'].port}" for index in range(self._wanted[1])]
        return f"""{internal}{self._database()}{self._bundles()}
[control_plane]
token = "file:{self.folder}/config-token"
runners = {json.dumps(runners)}
domain_root = "{DOMAIN_ROOT}"

[runner.storage]
token = "file:{self.folder}/runner-token"

[runner.registry]
key = "file:{self.folder}/registry-key"

[engine]
compile_timeout = "5m"
"""

    def _gateway(self, wire, execute):
        timeout, grace = self._times
        return f"""{self._tls("gateway")}{self._database("alga_gateway")}
[control_plane]
url = "https://127.0.0.1:{wire.port}"
token = "file:{self.folder}/config-token"

[runner]
url = "https://127.0.0.1:{execute.port}"

[gateway]
allow_undeclared_endpoints = true
rate_burst = 100000
rate_interval = "1ms"
timeout = "{timeout}"
grace = "{grace}"
"""

    def _runner(self, wire):
        index = len(self.runners)
        internal = self._internal("runner").replace("{folder}", str(self.folder / f"runner-{index}"))
        return f"""{internal}{self._bundles()}
[control_plane]
url = "https://127.0.0.1:{wire.port}"

[runner]
client_names = ["gateway.test"]

[runner.storage]
token = "file:{self.folder}/runner-token"

[runner.registry]
url = "https://127.0.0.1:{wire.port}"
key = "file:{self.folder}/registry-key"

# It compiles nothing and holds no key to sign with: what the control plane compiled is believed.
[engine]
cold_wait = "2m"
compile_processes = 0
artefact_keys = ["{self.server.logged("compiles")[0]["artefact_key"]}"]
"""


def internal_port(server):
    return int((server.folder / "internal.port").read_text())
