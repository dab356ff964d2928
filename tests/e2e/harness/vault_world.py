"""A platform in one process whose secrets go by way of Vault, behind a network that can be made slow, wrong or silent."""

from pathlib import Path

from .platform import CONFIG, Platform
from .tap import eventually, expect_equal

FIRST = "canary-71c0de-first-secret"
# Seconds that Vault is waited for: many times what it takes on a busy machine.
TIMEOUT = 2
CONFIG_TOKEN = "token-of-install-config-for-tests"

# Everything by Vault. Opened secrets are not kept, so that each request asks Vault.
VAULT = """
[secrets]
read_chain = ["env", "filesystem", "vault"]
write_provider = "vault"
wrapping_keys = "vault"
transport = "vault-transit:v1"
cache_ttl = "0s"

[vault]
address = "{address}"
login = "approle"
role = "{role}"
secret_id = "file:{secret_id}"
transit_key = "alga-envelopes"
wrapping_key = "alga-data-keys"
timeout = "{timeout}s"

[control_plane]
token = "env:TEST_CONFIG_TOKEN"
"""


class World:
    """One tenant with one install on a platform whose only keys are in Vault, behind a flaky network."""

    def __init__(self, folder, bao, flaky):
        self.folder, self.bao, self.flaky = Path(folder), bao, flaky
        bao.setup()
        bao.api(
            "POST",
            "auth/approle/role/alga-all",
            {"token_policies": "alga-control-plane,alga-runner", "token_ttl": "60s", "token_max_ttl": "1h"},
        )
        role, secret_id = bao.approle("alga-all")
        (self.folder / "secret-id").write_text(secret_id + "\n")
        config = CONFIG + VAULT.format(address=flaky.address, role=role, secret_id=self.folder / "secret-id", timeout=TIMEOUT)
        self.platform = Platform(self.folder / "platform", config=config, env={"TEST_CONFIG_TOKEN": CONFIG_TOKEN})
        self.secrets = [FIRST]

    def __enter__(self):
        self.platform.start()
        self.tenant = self.platform.tenant("acme")
        self.slug = self.platform.publish(self.platform.publisher("example"))
        self.install = self.platform.install(self.tenant, self.slug)
        self.platform.secret(self.tenant, self.install, "api_key", FIRST)
        return self

    def __exit__(self, *_):
        self.platform.server.stop()

    def read(self, tenant=None, slug=None):
        """Invokes; answers status, what the guest read (or the code of the refusal), and the answer."""
        answer = self.platform.call(tenant or self.tenant, slug or self.slug, "/secret?key=api_key")
        body = answer.json()
        return answer.status, body["value"].get("ok") if answer.status == 200 else body.get("code"), answer

    def rotate(self, value):
        self.secrets.append(value)
        self.platform.secret(self.tenant, self.install, "api_key", value)

    def install_config(self):
        answer = self.platform.server.client().post(
            "/internal/runner/install-config",
            {"tenantId": self.tenant, "extensionId": self.install["id"]},
            headers={"x-runner-auth": CONFIG_TOKEN},
        )
        expect_equal(answer.status, 200, f"install-config ({answer.text()})")
        return answer.json()

    def well_again(self, seconds=20):
        """Waits until requests succeed by themselves."""
        self.flaky.well()
        eventually(lambda: self.read()[0] == 200, seconds, "recovery without hands")
        expect_equal(self.read()[1], self.secrets[-1], "the secret after recovery")
