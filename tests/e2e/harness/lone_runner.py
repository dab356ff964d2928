"""A runner in drop-in use: alone, behind somebody else's gateway, believing whoever has the service token."""

import base64
from pathlib import Path

from . import bundle
from .server import Algad

TENANT, OTHER_TENANT = "acme", "umbrella"
EXTENSION, INSTALL = "0b6b6f5e-6c9e-4c7e-9d0a-2f6f9f8a1c11", "5e1f7a52-2a53-4b0e-8f0f-6a53a3f0c7d1"
SERVICE_TOKEN = "service-token-of-a-test"
ROUTED = {"x-alga-tenant": TENANT, "x-alga-extension": EXTENSION}
KNOWN = {"x-runner-service-token": SERVICE_TOKEN}
# Secrets and configuration that no authority signed, for runners under test only.
UNPROTECTED = """
[server]
development = true
[secrets]
allow_inline = true
"""


#: Nobody listens on this port.
AWAY = """[control_plane]
url = "http://127.0.0.1:9"
"""


class LoneRunner(Algad):
    """Its bundle store is the folder `bundles`; place() fills it. `settings` are further sections of its
    configuration, `cold_wait` how long a request waits for a compile. With `spools` it has the address of a
    control plane that is away, for which its records wait in `data/spool`."""

    def __init__(self, folder, settings="", cold_wait="2m", spools=False):
        folder = Path(folder)
        self.bundles = folder / "bundles"
        self.bundles.mkdir(parents=True)
        token = folder / "service-token"
        token.write_text(SERVICE_TOKEN)
        token.chmod(0o600)
        config = f"""
[runner]
trust = "service-token"
service_token = "file:{token}"
[bundles]
path = "{self.bundles}"
[engine]
cold_wait = "{cold_wait}"
compile_timeout = "10m"
compile_processes = 1
{AWAY if spools else ""}{settings}"""
        super().__init__("runner", folder / "runner", config=config)

    def place(self, component, manifest=None, files=None, tenants=(TENANT,)):
        """Puts a bundle with this component into the store and returns its hash."""
        packed = self.bundles / "packed.tar.zst"
        content_hash = bundle.pack(component, manifest or bundle.manifest(), packed, files)
        for tenant in tenants:
            bundle.place(self.bundles, tenant, EXTENSION, packed, content_hash)
        packed.unlink()
        return content_hash

    def execute(self, body, headers=None, **more):
        """POST /v1/execute as the gateway of the body's tenant; a header that is None is left out."""
        sent = {**ROUTED, "x-alga-tenant": body["context"]["tenant_id"], **KNOWN, **(headers or {})}
        return self.client({name: value for name, value in sent.items() if value is not None}, **more).post("/v1/execute", body)


def execution(content_hash, path="/", method="GET", query=None, payload=None, tenant=TENANT, timeout_ms=15000):
    """The body of a request to execute a bundle; tests change what they are about."""
    http = {"method": method, "path": path, "query": query or {}, "headers": {}}
    if payload is not None:
        http["body_b64"] = base64.b64encode(payload).decode()
    context = {"request_id": "r", "tenant_id": tenant, "extension_id": EXTENSION, "install_id": INSTALL, "content_hash": content_hash}
    return {"context": context, "http": http, "limits": {"timeout_ms": timeout_ms}}
