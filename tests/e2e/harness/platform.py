"""A whole platform in one process, with a tenant, a publisher and what a test installs."""

import base64
import json
import subprocess
import tempfile
from pathlib import Path

from . import bundle
from .server import Algad, fixture
from .tap import eventually, expect_equal

ALL_CAPABILITIES = ("cap:config.read", "cap:secrets.get", "cap:http.fetch", "cap:storage.kv", "cap:ui.proxy")


class Publisher:
    """An Ed25519 key pair and the signatures that publishing wants."""

    def __init__(self, folder, name):
        self.name = name
        self._key = Path(folder) / f"{name}.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", self._key], check=True, capture_output=True)
        der = subprocess.run(
            ["openssl", "pkey", "-in", self._key, "-pubout", "-outform", "DER"], check=True, capture_output=True
        ).stdout
        self.public_key = base64.b64encode(der[-32:]).decode()
        self.key_id = None

    def sign(self, content_hash):
        """The detached signature of a bundle, as `finalize` takes it."""
        with tempfile.NamedTemporaryFile() as message:
            message.write(f"alga-bundle:v1:{content_hash}".encode())
            message.flush()
            command = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", self._key, "-in", message.name]
            signature = subprocess.run(command, check=True, capture_output=True).stdout
        text = {"algorithm": "ed25519", "key_id": self.key_id, "signature": base64.b64encode(signature).decode()}
        return {"text": json.dumps(text), "algorithm": "ed25519"}


# Fixtures answer every path, tests call faster than people do, and a busy machine compiles slowly.
CONFIG = """
[gateway]
allow_undeclared_endpoints = true
rate_burst = 100000
rate_interval = "1ms"

[engine]
cold_wait = "2m"
compile_timeout = "10m"

[publishing]
uploads = 100000
"""


class Platform:
    """`algad serve --role all` in an empty folder. `operator` speaks to it with every right."""

    def __init__(self, folder, config=CONFIG, env=None, prefix=()):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.token_file = self.folder / "bootstrap-token"
        arguments = ["--bootstrap-token-file", str(self.token_file)]
        self.server = Algad("all", self.folder / "server", config=config, arguments=arguments, env=env, prefix=prefix)
        self.operator = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.server.stop()

    def start(self):
        self.server.start()
        self.operator = self.client(self.token_file.read_text().strip())
        return self

    def client(self, token, timeout=600.0):
        return self.server.client({"authorization": f"Bearer {token}"}, timeout)

    def tenant(self, tenant):
        expect_equal(self.operator.post("/api/v1/tenants", {"id": tenant, "name": tenant.title()}).status, 201, "new tenant")
        return tenant

    def publisher(self, name):
        expect_equal(self.operator.post("/api/v1/publishers", {"name": name}).status, 201, "new publisher")
        publisher = Publisher(self.folder, name)
        answer = self.operator.post(f"/api/v1/publishers/{name}/keys", {"public_key": publisher.public_key})
        expect_equal(answer.status, 201, f"new publisher key ({answer.text()})")
        publisher.key_id = answer.json()["key_id"]
        return publisher

    def api_key(self, role, **about):
        answer = self.operator.post("/api/v1/api-keys", {"label": f"{role} of a test", "role": role, **about})
        expect_equal(answer.status, 201, f"new API key ({answer.text()})")
        return self.client(answer.json()["key"])

    def upload(self, publisher, packed, content_hash, sign=True):
        """Upload and finalize; returns the answer of finalize, whatever it is."""
        body = Path(packed).read_bytes()
        path = f"/api/ext-bundles/upload-proxy?filename=bundle.tar.zst&size={len(body)}&declaredHash={content_hash}"
        answer = self.operator.post(path, body, headers={"content-type": "application/octet-stream"})
        expect_equal(answer.status // 100, 2, f"upload ({answer.text()})")
        wanted = {"key": answer.json()["upload"]["key"], "size": len(body), "declaredHash": content_hash}
        if sign:
            wanted["signature"] = publisher.sign(content_hash)
        return self.operator.post("/api/ext-bundles/finalize", wanted)

    def publish(self, publisher, name="echo", version="1.0.0", component="js-echo.wasm", capabilities=ALL_CAPABILITIES, ui=None, endpoints=None):
        """Packs, signs and publishes a fixture; returns its slug. `ui`: files by their path below `ui/`."""
        packed = self.folder / f"{name}-{version}.tar.zst"
        manifest = bundle.manifest(name, version, capabilities)
        manifest["publisher"] = publisher.name
        if endpoints is None:
            del manifest["api"]
        else:
            manifest["api"]["endpoints"] = endpoints
        if ui:
            manifest["ui"] = {"type": "iframe", "entry": "ui/index.html"}
        files = {f"ui/{path}": content for path, content in (ui or {}).items()}
        content_hash = bundle.pack(fixture(component), manifest, packed, files)
        answer = self.upload(publisher, packed, content_hash)
        expect_equal(answer.status // 100, 2, f"finalize ({answer.text()})")
        expect_equal(answer.json()["contentHash"], content_hash, "hash of the published bundle")
        return f"{publisher.name}.{name}"

    def install(self, tenant, extension, capabilities=ALL_CAPABILITIES, egress=(), config=None, limits=None):
        """Installs for a tenant; returns the install as the API shows it."""
        wanted = {
            "extension": extension,
            "capabilities": list(capabilities),
            "egress": list(egress),
            "config": config or {},
            "limits": limits or {},
        }
        answer = self.operator.post("/api/v1/installs", wanted, headers={"x-tenant-id": tenant})
        expect_equal(answer.status, 201, f"install ({answer.text()})")
        return answer.json()["install"]

    def secret(self, tenant, install, name, value):
        answer = self.operator.put(f"/api/v1/installs/{install['id']}/secrets/{name}", {"value": value}, headers={"x-tenant-id": tenant})
        expect_equal(answer.status, 200, f"set secret ({answer.text()})")
        return answer.json()

    def call(self, tenant, extension, path, method="GET", body=None, headers=None, client=None):
        """Invokes through the gateway."""
        sent = {"x-tenant-id": tenant, **(headers or {})}
        return (client or self.operator).request(method, f"/api/ext/{extension}{path}", body=body, headers=sent)

    def record(self, tenant, answer):
        """What is on record of the execution that gave `answer`; records are written shortly after it."""
        path = f"/api/v1/executions?request={answer.header('x-request-id')}"

        def ended():
            rows = self.operator.get(path, headers={"x-tenant-id": tenant}).json()["executions"]
            return next((row for row in rows if row["end_class"]), None)

        return eventually(ended, 15, f"a record of the request that was answered {answer.status}")

    def files_holding(self, needle):
        """Every file below the platform's folder, and its output, that holds the bytes of `needle`."""
        wanted = needle.encode()
        return [str(path) for path in self.folder.rglob("*") if path.is_file() and wanted in path.read_bytes()]


def loopback_rules(upstream):
    """What an operator writes to open one server on loopback."""
    return [upstream.origin, f"cidr:127.0.0.1/32:{upstream.port}"]
