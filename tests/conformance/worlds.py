"""The servers that cases speak to: `runner` stands alone for drop-in use, `platform` has every role."""

import base64
import json
from contextlib import contextmanager

from harness import bundle
from harness.lone_runner import EXTENSION, INSTALL, KNOWN, ROUTED, TENANT, UNPROTECTED, LoneRunner
from harness.lone_runner import OTHER_TENANT as OTHER
from harness.platform import CONFIG, Platform, loopback_rules
from harness.server import fixture

CONFIG_TOKEN = "install-config-token-of-conformance"
STORAGE_TOKEN = "storage-token-of-conformance"
REGISTRY_KEY = "registry-key-of-conformance"


class World:
    """What cases may name: `variables`, and callers by name (`as`)."""

    def __init__(self, variables, callers):
        self.variables, self.callers = variables, callers


def secret_file(folder, name, value):
    path = folder / name
    path.write_text(value)
    path.chmod(0o600)
    return path


@contextmanager
def runner(folder, upstream):
    """A lone runner that believes whoever has the service token."""
    settings = f'''{UNPROTECTED}[egress]
rules = {json.dumps(loopback_rules(upstream))}
[bundles.cache]
max_bytes = "1GiB"
'''
    variables = {"tenant": TENANT, "extension": EXTENSION, "install": INSTALL, "upstream": upstream.origin, "no_hash": "sha256:" + "0" * 64}
    variables["inline_secret"] = base64.b64encode(json.dumps({"key": "value-of-a-secret"}).encode()).decode()
    server = LoneRunner(folder, settings)
    for name, component in (("hash", "js-echo.wasm"), ("compat_hash", "js-compat-echo.wasm"), ("hostile_hash", "js-hostile.wasm")):
        variables[name] = server.place(fixture(component))
    packed = folder / "text.tar.zst"
    variables["no_component_hash"] = bundle.pack_files({"manifest.json": b"{}"}, packed)
    bundle.place(server.bundles, TENANT, EXTENSION, packed, variables["no_component_hash"])
    variables["no_code_hash"] = bundle.pack_files({"manifest.json": b"{}", "dist/main.wasm": b"no component"}, packed)
    bundle.place(server.bundles, TENANT, EXTENSION, packed, variables["no_code_hash"])
    variables["wrong_hash"] = "sha256:" + "1" * 64  # of something else
    bundle.place(server.bundles, TENANT, EXTENSION, packed, variables["wrong_hash"])
    with server:
        callers = {
            "gateway": server.client({**ROUTED, **KNOWN}),
            "unrouted": server.client(KNOWN),
            "stranger": server.client(ROUTED),
            "anybody": server.client(),
        }
        yield World(variables, callers)


@contextmanager
def platform(folder, upstream):
    """Every role in one process, with an extension that declares endpoints and one that does not."""
    folder.mkdir(parents=True)
    config_token = secret_file(folder, "config-token", CONFIG_TOKEN)
    storage_token = secret_file(folder, "storage-token", STORAGE_TOKEN)
    registry_key = secret_file(folder, "registry-key", REGISTRY_KEY)
    config = CONFIG.replace("rate_burst = 100000", 'rate_burst = 20000\nallowed_origins = ["https://app.example.com"]') + f"""
[control_plane]
token = "file:{config_token}"
storage_without_grant = true
domain_root = "ext.example.com"
[runner.registry]
key = "file:{registry_key}"
[runner.storage]
token = "file:{storage_token}"
"""
    with Platform(folder / "platform", config=config) as whole:
        for tenant in (TENANT, OTHER):
            whole.tenant(tenant)
        publisher = whole.publisher("example")
        endpoints = [("GET", "/echo"), ("POST", "/echo"), ("GET", "/status"), ("POST", "/answer"), ("PUT", "/items/:id"), ("GET", "/throw"), ("GET", "/sleep"), ("POST", "/random"), ("GET", "/config"), ("GET", "/secret"), ("POST", "/bytes")]
        declared = [{"method": method, "path": path, "handler": "dist/main.wasm"} for method, path in endpoints]
        ui = {"index.html": b"<p>page</p>", "app.js": b"1"}
        slug = whole.publish(publisher, name="echo", endpoints=declared, ui=ui)
        hostile = whole.publish(publisher, name="hostile", component="js-hostile.wasm")
        install = whole.install(TENANT, slug, egress=loopback_rules(upstream), config={"key": "value", "timeout": "5"})
        mean = whole.install(TENANT, hostile)
        disabled = whole.install(OTHER, slug)
        whole.operator.post(f"/api/v1/installs/{disabled['id']}/disable", headers={"x-tenant-id": OTHER})
        whole.secret(TENANT, install, "key", "value-of-a-secret")
        variables = {
            "tenant": TENANT,
            "other": OTHER,
            "slug": slug,
            "hostile": hostile,
            "install": install["id"],
            "hostile_install": mean["id"],
            "disabled_install": disabled["id"],
            "registry": install["extension_id"],
            "hash": "sha256:" + install["content_hash"].removeprefix("sha256:"),
            "upstream": upstream.origin,
            "host": f"{install['id'].replace('-', '')}.ext.example.com",
            "nobody": "11111111-1111-4111-8111-111111111111",
        }
        plain = whole.server.client
        callers = {
            "operator": whole.operator,
            "admin": whole.api_key("tenant_admin", tenant=TENANT),
            "user": whole.api_key("tenant_user", tenant=TENANT),
            "foreigner": whole.api_key("tenant_admin", tenant=OTHER),
            "publisher": whole.api_key("publisher", publisher="example"),
            "client": whole.api_key("client_user", tenant=TENANT),
            "anybody": plain(),
            "forger": plain({"authorization": "Bearer not-a-token"}),
            "config": plain({"x-runner-auth": CONFIG_TOKEN}),
            "runner": plain({"x-runner-auth": STORAGE_TOKEN}),
            "registry": plain({"x-api-key": REGISTRY_KEY}),
        }
        yield World(variables, callers)


WORLDS = {"runner": runner, "platform": platform}
