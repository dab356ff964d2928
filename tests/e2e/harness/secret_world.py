"""An install on a fleet whose extension reads one secret: what tests of transports begin with."""

from .fleet import INSTALL_CONFIG_TOKEN
from .tap import expect_equal


class SecretWorld:
    """A tenant with the echo extension, warm on every runner. `secrets` holds all values that the secret
    `api_key` had, the current one last."""

    def __init__(self, fleet, first):
        self.fleet = fleet
        self.tenant = fleet.tenant("acme")
        self.slug = fleet.publish(fleet.publisher("example"))
        self.install = fleet.install(self.tenant, self.slug)
        self.secrets = []
        self.rotate(first)
        fleet.warm_up(self.tenant, self.install)

    def rotate(self, value):
        self.secrets.append(value)
        self.fleet.secret(self.tenant, self.install, "api_key", value)

    def ask(self, client=None):
        """A call that reads the secret: status, the value or the code of the refusal, and the answer."""
        answer = self.fleet.call(self.tenant, self.slug, "/secret?key=api_key", client=client)
        body = answer.json()
        return answer.status, body["value"].get("ok") if answer.status == 200 else body.get("code"), answer

    def read(self, client=None):
        """Status, and the value or the code of the refusal."""
        return self.ask(client)[:2]

    def config(self):
        """What a gateway asks the control plane for each request."""
        wanted = {"tenantId": self.tenant, "extensionId": self.install["id"]}
        token = {"x-runner-auth": INSTALL_CONFIG_TOKEN}
        answer = self.fleet.internal(self.fleet.server, "POST", "/internal/runner/install-config", wanted, token)
        expect_equal(answer.status, 200, f"install-config ({answer.text()})")
        return answer.json()

    def expect_nowhere(self, canary):
        """No value is in a file or log of the fleet, and `canary` in no dump and metric."""
        for value in self.secrets:
            expect_equal(self.fleet.files_holding(value), [], "files that hold it")
        expect_equal(canary in self.fleet.postgres.dump(), False, "a secret in the database")
        for process in self.fleet.processes():
            expect_equal(canary in process.client().get("/metrics").text(), False, "a secret in the metrics")
