#!/usr/bin/python3
"""Secrets by way of Vault, held to a real OpenBao: provider chain, wrapping key, `vault-transit:v1`, trouble."""

import base64
import json
import sqlite3
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from harness.authority import Authority
from harness.flaky import Flaky
from harness.openbao import OpenBao, program
from harness.platform import CONFIG, Platform
from harness.repeated import Repeated
from harness.server import run as run_algad
from harness.tap import eventually, expect, expect_equal, expect_in, main, test
from harness.vault_world import CONFIG_TOKEN, FIRST, TIMEOUT, VAULT, World

REFUSALS = ("vault.unavailable", "vault.sealed", "secret.overload", "gateway.policy_unavailable")


@test("a secret goes from the administrator to the guest, encrypted and decrypted by Vault")
def main_path(world):
    expect_equal(world.read()[:2], (200, FIRST), "what the guest read")
    envelope = world.install_config()["secretEnvelope"]
    expect_equal(envelope["algorithm"], "vault-transit:v1", "algorithm")
    expect_equal((envelope["key_path"], envelope["mount"]), ("alga-envelopes", "transit"), "key")
    expect(envelope["ciphertext_b64"].startswith("vault:v1:"), f"Vault's ciphertext: {envelope['ciphertext_b64'][:12]}")
    expect_equal(envelope["key_id"], "alga-envelopes.v1", "key id")


@test("the platform's own keys are in Vault, and no file holds one")
def own_keys(world):
    names = set(world.bao.api("GET", "kv/data/app/secrets")["data"]["data"])
    expect("alga_artefact_key" in names, f"application secrets in Vault: {names}")
    folder = world.platform.folder / "server/data/secrets"
    expect_equal([path.name for path in folder.iterdir()], [], "files of application secrets")


@test("a rotated secret is used by the very next request")
def rotation(world):
    world.rotate("canary-71c0de-second-secret")
    expect_equal(world.read()[:2], (200, world.secrets[-1]), "what the guest read")


@test("the transit keys rotate under way: older envelopes still open, newer ones name the newer key")
def transit_rotation(world):
    world.bao.api("POST", "transit/keys/alga-envelopes/rotate", {})
    world.bao.api("POST", "transit/keys/alga-data-keys/rotate", {})
    expect_equal(world.read()[:2], (200, world.secrets[-1]), "an older envelope")
    world.rotate("canary-71c0de-third-secret")
    expect_equal(world.read()[:2], (200, world.secrets[-1]), "a newer envelope")
    expect_equal(world.install_config()["secretEnvelope"]["key_id"], "alga-envelopes.v2", "key id")


@test("`algad keys rotate` wraps the data keys again while the server runs, and leaves the secrets' ciphertext alone")
def wrapping_rotation(world):
    database = world.platform.folder / "server/data/alga.db"

    def rows(query):
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as sql:
            return sql.execute(query).fetchall()

    ciphertext = rows("SELECT tenant, install_id, ciphertext, version FROM tenant_extension_install_secrets")
    before = rows("SELECT tenant, key_version, wrapping_key_id, wrapped_key FROM tenant_data_keys")
    role, secret_id = world.bao.approle("alga-key-rotation")
    (world.folder / "rotation-id").write_text(secret_id)
    config = world.folder / "rotation.toml"
    config.write_text(VAULT.format(address=world.flaky.address, role=role, secret_id=world.folder / "rotation-id", timeout=TIMEOUT))
    data = world.platform.folder / "server/data"
    status, out, err = run_algad("keys", "rotate", "--config", config, "--data", data, "--json", env={"TEST_CONFIG_TOKEN": CONFIG_TOKEN})
    expect_equal(status, 0, f"exit status ({out}{err})")
    after = rows("SELECT tenant, key_version, wrapping_key_id, wrapped_key FROM tenant_data_keys")
    expect_equal([row[:2] for row in after], [row[:2] for row in before], "data keys")
    newest = world.bao.api("GET", "transit/keys/alga-data-keys")["data"]["latest_version"]
    expect_equal({row[2] for row in after}, {f"alga-data-keys.v{newest}"}, "what wraps them")
    expect_equal(rows("SELECT DISTINCT wrapping_key_id FROM signing_keys"), [(f"alga-data-keys.v{newest}",)], "what wraps signing keys")
    expect_equal(json.loads(out)["rewrapped"], len(after) + rows("SELECT count(*) FROM signing_keys")[0][0], "how many")
    expect_equal(rows("SELECT tenant, install_id, ciphertext, version FROM tenant_extension_install_secrets"), ciphertext, "ciphertext")
    # Nothing needs the older versions any more, and Vault may refuse them.
    world.bao.api("POST", "transit/keys/alga-data-keys/config", {"min_decryption_version": newest})
    world.platform.server.stop()
    world.platform.start()
    expect_equal(world.read()[:2], (200, world.secrets[-1]), "after a restart")


def trouble(world, begin, codes, end=lambda: None):
    """While it lasts: typed refusals that say to wait, and nothing else. Afterwards: the newest secret."""
    expect_equal(world.read()[0], 200, "before the trouble")
    begin()
    status, code, answer = world.read()
    expect_equal(status, 503, f"status ({answer.text()})")
    expect(code in codes, f"code {code!r}, wanted one of {codes}")
    expect(answer.header("retry-after") is not None, "the refusal does not say when to come back")
    expect(all(secret not in answer.text() for secret in world.secrets), "a secret in a refusal")
    end()
    world.well_again()


@test("a sealed Vault: `vault.sealed`, and recovery without hands")
def sealed(world):
    trouble(world, world.bao.seal, ["vault.sealed"], world.bao.unseal)


@test("a Vault that permits nothing any more: `vault.denied`, and recovery without hands")
def denied(world):
    policy = (Path(__file__).resolve().parents[2] / "deploy/vault/runner.hcl").read_text()

    def forbid():
        world.bao.api("PUT", "sys/policies/acl/alga-runner", {"policy": 'path "nothing" { capabilities = ["read"] }'})

    trouble(world, forbid, ["vault.denied"], lambda: world.bao.api("PUT", "sys/policies/acl/alga-runner", {"policy": policy}))


@test("a revoked token is replaced by a new login")
def revoked(world):
    accessors = world.bao.api("LIST", "auth/token/accessors")["data"]["keys"]
    for accessor in accessors:
        looked_up = world.bao.api("POST", "auth/token/lookup-accessor", {"accessor": accessor})["data"]
        if "alga-runner" in looked_up["policies"]:
            world.bao.api("POST", "auth/token/revoke-accessor", {"accessor": accessor})
    expect_equal(world.read()[:2], (200, world.secrets[-1]), "the next request")


@test("a Vault that limits its callers: `vault.rate_limited`")
def rate_limited(world):
    trouble(world, lambda: setattr(world.flaky, "status", 429), ["vault.rate_limited"])


@test("a Vault that answers 500: `vault.unavailable`")
def broken(world):
    trouble(world, lambda: setattr(world.flaky, "status", 500), ["vault.unavailable"])


@test("a Vault that closes connections: `vault.unavailable`")
def closed(world):
    trouble(world, lambda: setattr(world.flaky, "broken", True), ["vault.unavailable"])


@test("a silent Vault: `vault.unavailable` after the configured time, and others are not held up")
def silent(world):
    other = world.platform.tenant("quiet")
    install = world.platform.install(other, world.slug)
    expect_equal(world.platform.call(other, world.slug, "/counter").status, 200, "an install without secrets")
    world.bao.pause()
    try:
        stop = threading.Event()
        callers = [threading.Thread(target=lambda: [world.read() for _ in iter(stop.is_set, True)]) for _ in range(16)]
        for caller in callers:
            caller.start()
        time.sleep(0.5)
        waits = []
        for _ in range(20):
            began = time.monotonic()
            expect_equal(world.platform.call(other, world.slug, "/counter").status, 200, "an install without secrets")
            waits.append(time.monotonic() - began)
        status, code, answer = world.read()
        expect_equal((status, code), (503, "vault.unavailable"), f"with secrets ({answer.text()})")
        stop.set()
        for caller in callers:
            caller.join()
        # Who waits for Vault waits for all of its time: most would have, not one that a busy machine kept.
        expect(sorted(waits)[10] < TIMEOUT, f"an install without secrets waited {sorted(waits)[10]:.1f} s for Vault")
    finally:
        world.bao.go_on()
    world.well_again()
    world.platform.operator.delete(f"/api/v1/installs/{install['id']}", headers={"x-tenant-id": other})


@test("a Vault that is slow makes answers late, not wrong, also of a secret that is rotated under load")
def slow(world):
    acknowledged, wrong = [len(world.secrets) - 1], []

    def call():
        least = acknowledged[0]
        status, value, answer = world.read()
        if status != 200 or value not in world.secrets[least:]:
            wrong.append((status, value, least, answer.text()[:200]))

    world.flaky.delay = 0.3
    try:
        with Repeated(*[call] * 6):
            for number in range(3):
                asked = world.flaky.count("transit/decrypt")
                eventually(lambda: world.flaky.count("transit/decrypt") >= asked + 6, 30, "calls")
                world.rotate(f"canary-71c0de-slowly-{number}")
                acknowledged[0] = len(world.secrets) - 1
        expect_equal(wrong[:3], [], "answers that are wrong, or older than what was acknowledged before their request")
        began = time.monotonic()
        expect_equal(world.read()[:2], (200, world.secrets[-1]), "what the guest read")
        expect(time.monotonic() - began >= 0.3, "Vault was not waited for")
        tenant, install = fresh_tenant(world, "slowly")
        world.platform.secret(tenant, install, "api_key", "canary-71c0de-first-of-a-tenant")
        expect_equal(world.read(tenant)[:2], (200, "canary-71c0de-first-of-a-tenant"), "a tenant's first secret")
    finally:
        world.well_again()


@test("a Vault slower than its timeout: refusals in a bounded time, at once for those that come next, and a save that needs it changes nothing")
def too_slow(world):
    tenant, install = fresh_tenant(world, "too-slowly")
    path, header = f"/api/v1/installs/{install['id']}/secrets", {"x-tenant-id": tenant}
    before = world.platform.operator.get(path, headers=header).json()
    most = 3 * (TIMEOUT + 1) + 10  # three attempts and their pauses, on a busy machine

    def took(work):
        began = time.monotonic()
        return work(), time.monotonic() - began

    world.flaky.delay = TIMEOUT + 1
    try:
        refused, seconds = took(world.read)
        expect_equal(refused[:2], (503, "vault.unavailable"), f"a call ({refused[2].text()})")
        expect(refused[2].header("retry-after") is not None, "the refusal does not say when to come back")
        expect(TIMEOUT <= seconds < most, f"a call was refused after {seconds:.1f} s")
        # Who comes within the second after that does not wait; on a busy machine, one of several does.
        eventually(lambda: not_waited_for(world), 60, "a refusal at once")
        saved, seconds = took(lambda: world.platform.operator.put(f"{path}/api_key", {"value": "canary-71c0de-too-late"}, headers=header))
        expect_equal((saved.status, saved.json()["error"]["code"]), (503, "keys.unavailable"), f"a tenant's first secret ({saved.text()})")
        expect(seconds < most, f"a save was refused after {seconds:.1f} s")
        expect_equal(world.platform.operator.get(path, headers=header).json(), before, "names and version of the secrets")
    finally:
        world.well_again()
    # Vault has answered by now, to nobody.
    expect_equal(world.platform.operator.get(path, headers=header).json(), before, "names and version of the secrets afterwards")
    expect_equal(world.read(tenant)[:2], (200, None), "a secret that was refused")
    world.platform.secret(tenant, install, "api_key", "canary-71c0de-in-time")
    expect_equal(world.read(tenant)[:2], (200, "canary-71c0de-in-time"), "the save that is repeated")


def not_waited_for(world):
    """Whether a refusal comes before Vault's time is over."""
    began = time.monotonic()
    expect_equal(world.read()[:2], (503, "vault.unavailable"), "the next call")
    return time.monotonic() - began < TIMEOUT


def fresh_tenant(world, name):
    """A tenant that has no data key yet, and its install."""
    tenant = world.platform.tenant(name)
    return tenant, world.platform.install(tenant, world.slug)


@test("a tenant's first secret is not saved, and nothing changes, when Vault dies in the middle of it")
def dies_in_a_save(world):
    tenant, install = fresh_tenant(world, "fresh")
    path, header = f"/api/v1/installs/{install['id']}/secrets", {"x-tenant-id": tenant}
    before = world.platform.operator.get(path, headers=header).json()
    answers = []

    def save():
        answers.append(world.platform.operator.put(f"{path}/api_key", {"value": "canary-71c0de-lost"}, headers=header))

    world.secrets.append("canary-71c0de-lost")
    world.bao.pause()
    wrapped = world.flaky.count("encrypt/alga-data-keys")
    saver = threading.Thread(target=save)
    saver.start()
    eventually(lambda: world.flaky.count("encrypt/alga-data-keys") > wrapped, 30, "the call to Vault")
    world.bao.stop(9)
    saver.join()
    expect_equal(answers[0].status, 503, f"the save ({answers[0].text()})")
    expect_equal(answers[0].json()["error"]["code"], "keys.unavailable", "code")
    expect_equal(world.platform.operator.get(path, headers=header).json(), before, "names and version of the secrets")
    status, code, _ = world.read(tenant)
    expect_equal((status, code), (200, None), "the guest has no such secret")
    world.bao.start()
    world.secrets.pop()
    world.well_again()
    world.platform.secret(tenant, install, "api_key", "canary-71c0de-saved")
    expect_equal(world.read(tenant)[:2], (200, "canary-71c0de-saved"), "after Vault came back")


@test("a tenant that has its data key can save while Vault is away; the save is in effect when Vault is back")
def save_without_vault(world):
    expect_equal(world.read()[0], 200, "before")
    world.flaky.broken = True
    try:
        world.rotate("canary-71c0de-while-away")
        status, code, _ = world.read()
        # The control plane cannot make the envelope; to the gateway that is a policy it cannot have.
        expect_equal((status, code), (503, "gateway.policy_unavailable"), "an older secret is never served instead")
    finally:
        world.well_again()


@test("Vault stopped and started again under load: the right secret or a typed refusal, never anything else")
def stopped_under_load(world):
    stop, wrong, refused, served = threading.Event(), [], set(), [0]

    def caller():
        while not stop.is_set():
            status, value, answer = world.read()
            if status == 200 and value == world.secrets[-1]:
                served[0] += 1
            elif status == 503 and value in REFUSALS:
                refused.add(value)
            else:
                wrong.append((status, value, answer.text()[:200]))

    callers = [threading.Thread(target=caller) for _ in range(8)]
    for thread in callers:
        thread.start()
    try:
        eventually(lambda: served[0] > 20, 30, "calls before")
        world.bao.stop()
        eventually(lambda: refused, 30, "a refusal")
        time.sleep(2)
        world.bao.start()
        eventually(lambda: world.read()[0] == 200, 30, "recovery without hands")
        before = served[0]
        eventually(lambda: served[0] > before + 50, 60, "calls after recovery")
    finally:
        stop.set()
        for thread in callers:
            thread.join()
    expect_equal(wrong[:3], [], "answers that are neither")


@test("the token is renewed while nobody calls")
def renewed(world):
    before = world.flaky.count("renew-self") + world.flaky.count("approle/login")
    # Tokens live for sixty seconds here and are renewed after two thirds of that.
    eventually(lambda: world.flaky.count("renew-self") + world.flaky.count("approle/login") > before, 120, "a renewal", every=1)


@test("the policies of deploy/vault let each party do its own work and nothing else")
def policies(world):
    runner, plane = world.bao.token("alga-runner"), world.bao.token("alga-control-plane")
    rotation = world.bao.token("alga-key-rotation")

    def may(token, method, path, body=None):
        try:
            world.bao.api(method, path, body, token=token)
            return True
        except RuntimeError as refused:
            expect_in(": 403 ", str(refused), f"{method} {path}")
            return False

    text = {"plaintext": "aGVsbG8="}
    sealed = world.bao.api("POST", "transit/encrypt/alga-envelopes", text)["data"]["ciphertext"]
    wrapped = world.bao.api("POST", "transit/encrypt/alga-data-keys", text)["data"]["ciphertext"]
    rights = {
        "open an envelope": ("POST", "transit/decrypt/alga-envelopes", {"ciphertext": sealed}),
        "make an envelope": ("POST", "transit/encrypt/alga-envelopes", text),
        "wrap a data key": ("POST", "transit/encrypt/alga-data-keys", text),
        "unwrap a data key": ("POST", "transit/decrypt/alga-data-keys", {"ciphertext": wrapped}),
        "read application secrets": ("GET", "kv/data/app/secrets", None),
        "rotate": ("POST", "transit/keys/alga-data-keys/rotate", {}),
        "export": ("GET", "transit/export/encryption-key/alga-envelopes", None),
        "read policies": ("GET", "sys/policies/acl/alga-runner", None),
    }
    wanted = {
        "runner": {"open an envelope"},
        "control plane": {"make an envelope", "wrap a data key", "unwrap a data key", "read application secrets"},
        "key rotation": {"rotate"},
    }
    for party, token in {"runner": runner, "control plane": plane, "key rotation": rotation}.items():
        expect_equal({name for name, call in rights.items() if may(token, *call)}, wanted[party], f"what the {party} may")


@test("the reference's environment names, a namespace and a token file that is replaced")
def environment(world):
    world.bao.api("POST", "sys/namespaces/team-a", {})

    def inside(method, path, body=None):
        return world.bao.api(method, f"team-a/{path}", body)

    inside("POST", "sys/mounts/transit", {"type": "transit"})
    inside("POST", "transit/keys/alga-envelopes", {})
    rule = 'path "transit/+/alga-envelopes" { capabilities = ["update"] }'
    inside("PUT", "sys/policies/acl/alga", {"policy": rule})

    def new_token():
        return inside("POST", "auth/token/create", {"policies": ["alga"], "ttl": "1h"})["auth"]

    token = world.folder / "vault-token"
    first = new_token()
    token.write_text(first["client_token"] + "\n")
    env = {
        "ALGA_VAULT_ADDR": world.flaky.address,
        "ALGA_VAULT_NAMESPACE": "team-a",
        "ALGA_VAULT_TOKEN_FILE": str(token),
        "ALGA_VAULT_TRANSIT_KEY": "alga-envelopes",
        "ALGA_SECRETS_CACHE_TTL": "0s",
    }
    with Platform(world.folder / "reference", env=env) as platform:
        tenant = platform.tenant("acme")
        slug = platform.publish(platform.publisher("example"))
        platform.secret(tenant, platform.install(tenant, slug), "api_key", "canary-71c0de-by-environment")

        def read():
            answer = platform.call(tenant, slug, "/secret?key=api_key")
            return answer.json()["value"]["ok"] if answer.status == 200 else answer.json()["code"]

        before = world.flaky.count("transit/decrypt")
        expect_equal(read(), "canary-71c0de-by-environment", "what the guest read")
        expect(world.flaky.count("transit/decrypt") > before, "Vault was not asked to decrypt")
        replacement = world.folder / "vault-token.new"
        replacement.write_text(new_token()["client_token"] + "\n")
        replacement.rename(token)
        inside("POST", "auth/token/revoke-accessor", {"accessor": first["accessor"]})
        expect_equal(read(), "canary-71c0de-by-environment", "with the new token")


class TokenReviews:
    """What Vault asks of a Kubernetes cluster: whose service account a token is. Believes one token."""

    def __init__(self, account):
        self.token = ".".join(
            base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
            for part in (
                {"alg": "RS256"},
                {
                    "sub": f"system:serviceaccount:alga:{account}",
                    "kubernetes.io": {"namespace": "alga", "serviceaccount": {"name": account, "uid": "u1"}},
                },
                "signature",
            )
        )
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):
                review = json.loads(self.rfile.read(int(self.headers["content-length"])))
                user = {"username": f"system:serviceaccount:alga:{account}", "uid": "u1"}
                review["status"] = {"authenticated": review["spec"]["token"] == outer.token, "user": user}
                answer = json.dumps(review).encode()
                self.send_response(201)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@test("the login of Kubernetes, and a whole platform by the reference's names: chain, paths, token of the service account")
def kubernetes(world):
    cluster = TokenReviews("alga-all")
    bao, account = world.bao, world.folder / "service-account-token"
    bao.api("POST", "sys/auth/kubernetes", {"type": "kubernetes"})
    authority = Authority(world.folder / "cluster").ca.read_text()
    about = {"kubernetes_host": cluster.origin, "disable_local_ca_jwt": True, "kubernetes_ca_cert": authority}
    bao.api("POST", "auth/kubernetes/config", about)
    bound = {"bound_service_account_names": ["alga-all"], "bound_service_account_namespaces": ["alga"]}
    rights = 'path "kv/data/elsewhere/*" { capabilities = ["create", "read", "update"] }'
    bao.api("PUT", "sys/policies/acl/elsewhere", {"policy": rights})
    role = {**bound, "policies": ["alga-control-plane", "alga-runner", "elsewhere"], "ttl": "20m"}
    bao.api("POST", "auth/kubernetes/role/alga-all", role)
    account.write_text(cluster.token)
    config = f"""
[vault]
login = "kubernetes"
role = "alga-all"
service_account_token = "{account}"
"""
    env = {
        "VAULT_ADDR": world.flaky.address,
        "SECRET_READ_CHAIN": "env,vault",
        "SECRET_WRITE_PROVIDER": "vault",
        "VAULT_APP_SECRET_PATH": "kv/data/elsewhere/app",
        "VAULT_TENANT_SECRET_PATH_TEMPLATE": "kv/data/elsewhere/{tenantId}",
        "ALGA_VAULT_TRANSIT_KEY": "alga-envelopes",
        "ALGA_VAULT_TRANSIT_MOUNT": "transit",
    }
    try:
        with Platform(world.folder / "kubernetes", config=CONFIG + config, env=env) as platform:
            tenant = platform.tenant("acme")
            slug = platform.publish(platform.publisher("example"))
            platform.secret(tenant, platform.install(tenant, slug), "api_key", "canary-71c0de-in-a-pod")
            answer = platform.call(tenant, slug, "/secret?key=api_key")
            expect_equal((answer.status, answer.json()["value"]), (200, {"ok": "canary-71c0de-in-a-pod"}), "what the guest read")
            names = set(bao.api("GET", "kv/data/elsewhere/app")["data"]["data"])
            expect_equal(names, {"alga_wrapping_keys", "alga_artefact_key"}, "application secrets where the environment says")
            expect_equal(platform.files_holding(cluster.token), [], "files that hold the service account's token")
    finally:
        cluster.close()


@test("a platform that began with local keys moves its wrapping key into Vault and loses nothing")
def moving(world):
    token = world.folder / "moving-token"
    token.write_text(world.bao.token("alga-control-plane", "alga-key-rotation"))
    vault = f"""
[secrets]
wrapping_keys = "vault"

[vault]
address = "{world.flaky.address}"
token = "file:{token}"
wrapping_key = "alga-data-keys"
"""
    platform = Platform(world.folder / "moving", config=CONFIG)
    with platform:
        tenant = platform.tenant("acme")
        slug = platform.publish(platform.publisher("example"))
        platform.secret(tenant, platform.install(tenant, slug), "api_key", "canary-71c0de-moved")

        def read():
            return platform.call(tenant, slug, "/secret?key=api_key").json()["value"]

        expect_equal(read(), {"ok": "canary-71c0de-moved"}, "with local keys")
        platform.server.stop()
        platform.server.config.write_text(CONFIG + vault)
        platform.start()
        expect_equal(read(), {"ok": "canary-71c0de-moved"}, "wrapped by the local ring, opened beside Vault")
        data = platform.folder / "server/data"
        status, out, err = run_algad("keys", "rotate", "--config", platform.server.config, "--data", data)
        expect_equal(status, 0, f"exit status ({out}{err})")
        ring = data / "secrets/alga_wrapping_keys"
        expect(ring.exists(), "there was no local ring")
        ring.unlink()
        platform.server.stop()
        platform.start()
        expect_equal(read(), {"ok": "canary-71c0de-moved"}, "without the local ring")


@test("no log, metric, file or database of the server holds a secret, nor does Vault's log")
def canary(world):
    metrics = world.platform.server.client().get("/metrics").text()
    for secret in [*world.secrets, "canary-71c0de"]:
        expect_equal(world.platform.files_holding(secret), [], "files that hold a secret")
        expect(secret not in metrics, "a secret in the metrics")
        expect(secret not in (world.bao.folder / "bao.log").read_text(errors="replace"), "a secret in Vault's log")
    tokens = json.dumps(world.platform.server.output())
    expect("s." + "x" * 3 not in tokens and "hvs." not in tokens, "a token of Vault's in the log")


def run():
    if program() is None:
        print("ok secrets by way of Vault # SKIP no OpenBao: put `bao` on the PATH or into ALGA_BAO")
        return 0
    with tempfile.TemporaryDirectory(prefix="alga-vault.") as folder:
        with OpenBao(Path(folder) / "bao") as bao, Flaky(bao.port) as flaky, World(folder, bao, flaky) as world:
            return main(world)


sys.exit(run())
