#!/usr/bin/python3
"""`algad admin`, one command for each operation of the API, and the commands that work on the database."""

import base64
import json
import sys
import tempfile
from pathlib import Path

from harness import bundle, contract
from harness.platform import CONFIG, Platform
from harness.server import fixture, run as algad
from harness.tap import eventually, expect, expect_equal, expect_in, main, test

ROOT = Path(__file__).resolve().parents[2]
CANARY = "canary-secret-of-the-command-line"


def documented_commands():
    document = json.loads((ROOT / "schema" / "openapi.json").read_text())
    operations = (operation for item in document["paths"].values() for operation in item.values())
    return {operation["x-command"] for operation in operations if "x-command" in operation}


class World:
    def __init__(self, platform, folder):
        self.platform = platform
        self.folder = Path(folder)
        self.called = set()
        self.install = None
        self.request = None

    def settings(self):
        return ["--data", str(self.platform.server.folder / "data"), "--config", str(self.platform.server.config)]

    def admin(self, command, *arguments, expect_status=0, tenant="acme", token=None):
        """Runs `algad admin COMMAND ARGUMENT… --json`; returns what the server answered, once it is as the document says."""
        self.called.add(command)
        words = ["admin", *command.split(), *arguments, "--json", "--server", self.platform.server.origin]
        words += ["--token-file", token or self.platform.token_file]
        if tenant:
            words += ["--tenant", tenant]
        status, out, err = algad(*words, timeout=300)
        expect_equal(status, expect_status, f"status of {command} ({out} {err})")
        answer = json.loads(out) if out.strip() else None
        if status == 0:
            expect_equal(contract.fault_of_success(contract.operation_of(command), answer), None, f"what the document says of {command}")
        return answer

    def file(self, name, text):
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)
        return path


@test("admin: who am I, tenants, publishers and their keys")
def people(world):
    expect_equal(world.admin("whoami")["principal"]["roles"], ["operator"], "roles")
    expect_equal(world.admin("tenants create", "--id", "acme", "--name", "Acme Ltd")["tenant"]["name"], "Acme Ltd", "name")
    expect_equal([it["id"] for it in world.admin("tenants list")["tenants"]], ["acme"], "tenants")
    world.admin("publishers create", "--name", "example")
    expect_equal([it["name"] for it in world.admin("publishers list")["publishers"]], ["example"], "publishers")
    key = base64.b64encode(bytes(31) + b"\x09").decode()
    refused = world.admin("publisher-keys add", "example", "--public-key", "short", expect_status=1)
    expect_equal(refused["error"]["code"], "publisher.bad_key", "a bad key")
    added = world.admin("publisher-keys add", "example", "--public-key", key)
    expect_equal([it["key_id"] for it in world.admin("publisher-keys list", "example")["keys"]], [added["key_id"]], "keys")
    world.admin("publisher-keys revoke", "example", added["key_id"])
    world.admin("grant-keys rotate")


@test("admin: API keys are made, used and revoked")
def api_keys(world):
    made = world.admin("api-keys create", "--label", "admin of acme", "--role", "tenant_admin", "--tenant", "acme", tenant=None)
    token = world.file("acme.token", made["key"] + "\n")
    expect_equal(world.admin("whoami", tenant=None, token=token)["principal"]["tenant"], "acme", "tenant of the new key")
    expect(any(it["id"] == made["id"] for it in world.admin("api-keys list")["api_keys"]), "the key is listed")
    world.admin("api-keys revoke", made["id"])
    refused = world.admin("whoami", tenant=None, token=token, expect_status=1)
    expect_equal(refused["error"]["code"], "auth.invalid_token", "a revoked key")


@test("admin: a bundle is uploaded, dropped, uploaded again and published")
def publish(world):
    packed = world.folder / "echo.tar.zst"
    manifest = bundle.manifest("echo", "1.0.0", ["cap:config.read", "cap:secrets.get", "cap:storage.kv"])
    del manifest["api"]
    content_hash = bundle.pack(fixture("js-echo.wasm"), manifest, packed)
    first = world.admin("bundles upload", packed, "--filename", "echo.tar.zst", "--declared-hash", content_hash)
    expect_equal(world.admin("bundles abort", "--key", first["upload"]["key"])["status"], "deleted", "abort")
    again = world.admin("bundles upload", packed)
    done = world.admin("bundles finalize", "--key", again["upload"]["key"], "--declared-hash", content_hash)
    expect_equal(done["contentHash"], content_hash, "hash")
    expect_equal([it["slug"] for it in world.admin("extensions list")["extensions"]], ["example.echo"], "extensions")
    expect_equal(world.admin("extensions show", "example.echo")["extension"]["restricted"], False, "restricted")
    piloted = world.admin("extensions pilot", "example.echo", "--tenants", "acme")
    expect_equal(piloted["extension"]["restricted"], True, "restricted")
    none = world.admin("extensions source-map", "example.echo", "1.0.0", expect_status=1)
    expect_equal(none["error"]["code"], "extension.source_map_not_found", "source map")


@test("admin: an install is made, granted, configured, disabled, enabled and updated")
def installs(world):
    made = world.admin("installs create", "--extension", "example.echo", "--capabilities", "cap:config.read", "--config", "key=before")
    world.install = made["install"]["id"]
    expect_equal([it["id"] for it in world.admin("installs list")["installs"]], [world.install], "installs")
    granted = world.admin(
        "installs grant", world.install, "--capabilities", "cap:config.read", "--capabilities", "cap:secrets.get",
        "--capabilities", "cap:storage.kv", "--egress", "https://api.example.com", "--limits", '{"timeout_ms": 9000, "cpu_ms": 700}',
    )  # fmt: skip
    expect_equal(granted["install"]["limits"], {"timeout_ms": 9000, "cpu_ms": 700}, "limits")
    expect_equal(world.admin("installs grant", world.install, "--limits", '{"timeout_ms": null}')["install"]["limits"], {"cpu_ms": 700}, "one taken back")
    expect_equal(granted["install"]["egress"], ["https://api.example.com"], "egress")
    expect_equal(world.admin("installs grant", world.install, "--egress", "")["install"]["egress"], [], "no egress")
    world.admin("config change", world.install, "--set", "key=after", "--set", "other=1", "--unset", "missing")
    expect_equal(world.admin("config show", world.install)["config"], {"key": "after", "other": "1"}, "configuration")
    expect_equal(world.admin("installs disable", world.install)["install"]["enabled"], False, "disabled")
    expect_equal(world.admin("installs enable", world.install)["install"]["enabled"], True, "enabled")
    expect_equal(world.admin("installs update", world.install)["install"]["version"], "1.0.0", "version")
    expect_equal(world.admin("installs show", "example.echo")["install"]["id"], world.install, "by its slug")


@test("admin: a secret comes from a file and is never shown")
def secrets(world):
    world.admin("secrets set", world.install, "api_key", "--value-file", world.file("secret", CANARY + "\n"))
    names = world.admin("secrets list", world.install)
    expect_equal(names["names"], ["api_key"], "names")
    answer = world.platform.call("acme", "example.echo", "/secret?key=api_key")
    expect_equal(answer.json()["value"], {"ok": CANARY}, "the extension's view")
    world.request = answer.header("x-request-id")
    world.admin("secrets delete", world.install, "api_key")


@test("admin: storage of an install is written, read, listed and deleted")
def storage(world):
    place = (world.install, "notes")
    world.admin("storage create", *place, "--key", "a", "--value", '{"n": 1}')
    world.admin("storage set", *place, "b", "--value", '"text"', "--ttl-seconds", "600")
    expect_equal(world.admin("storage show", *place, "a")["value"], {"n": 1}, "value")
    listed = world.admin("storage list", *place, "--limit", "10", "--include-values", "true")
    expect_equal([it["key"] for it in listed["items"]], ["a", "b"], "keys")
    made = world.admin("storage set-schema", *place, "1", "--schema", '{"type": "object", "required": ["n"]}')
    expect_equal(made["schema"]["status"], "active", "the status of a new schema")
    refused = world.admin("storage set", *place, "b", "--value", '"text"', expect_status=1)
    expect_equal(refused["error"]["details"]["code"], "storage.schema_violation", "what does not fit")
    heard = world.platform.call("acme", "example.echo", "/storage").json()["created"]
    expect_equal(heard, {"err": "invalid"}, "what a guest hears of a value that does not fit")

    def told():
        lines = world.admin("logs", "--level", "warn", "--limit", "10")["lines"]
        return any("notes/a was not written, as it does not fit" in line["message"] for line in lines)

    eventually(told, 30, "a line for its author")
    expect_equal([it["version"] for it in world.admin("storage schemas", *place)["schemas"]], [1], "schemas")
    world.admin("storage delete-schema", *place, "1")
    world.admin("storage set", *place, "b", "--value", '"text"')
    world.admin("storage delete", *place, "b")
    expect_equal(world.admin("storage show", *place, "b", expect_status=1)["error"]["code"], "NOT_FOUND", "after delete")


@test("admin: quotas, usage, executions, logs and the audit trail")
def records(world):
    set_to = world.admin("quota set", "acme", "--invocations", "1000", "--cpu-ms", "none", tenant=None)
    expect_equal(set_to["quota"]["limits"]["invocations"], 1000, "limit")
    eventually(lambda: world.admin("quota show")["quota"]["used"]["invocations"] >= 1, 30, "invocations that were used")
    expect("usage" in world.admin("installs usage", world.install), "usage")
    executions = world.admin("executions list", "--install", world.install, "--limit", "5")["executions"]
    expect(any(it["request_id"] == world.request for it in executions), "the execution is listed")
    found = next(it for it in executions if it["request_id"] == world.request)
    expect_equal(world.admin("executions show", found["id"])["execution"]["request_id"], world.request, "one execution")
    expect("lines" in world.admin("logs", "--level", "info", "--limit", "10"), "log lines")
    actions = [it["action"] for it in world.admin("audit list")["events"]]
    expect_in("tenant.quota_set", actions, "audit")
    expect_equal(world.admin("audit verify")["intact"], True, "intact")


@test("a used-up quota is 429 with the time until the next window, and lifting it helps at once")
def quota(world):
    world.admin("quota set", "acme", "--invocations", "0", tenant=None)
    refused = world.platform.call("acme", "example.echo", "/counter")
    expect_equal((refused.status, refused.json()["code"]), (429, "quota.invocations_exceeded"), f"answer ({refused.text()})")
    expect(0 < int(refused.header("retry-after")) <= 86400, f"retry-after: {refused.header('retry-after')}")
    line = world.platform.server.logged("refused", lambda line: line["request_id"] == refused.header("x-request-id"))[0]
    expect_equal((line.get("tenant"), line.get("install"), line["code"]), ("acme", world.install, "quota.invocations_exceeded"), "whom the log names")
    world.admin("quota set", "acme", "--invocations", "none", tenant=None)
    expect_equal(world.platform.call("acme", "example.echo", "/counter").status, 200, "after lifting it")


@test("admin: for people the answer is a table, and a refusal goes to the error output")
def readable(world):
    common = ["--server", world.platform.server.origin, "--token-file", world.platform.token_file]
    status, out, _ = algad("admin", "installs", "list", "--tenant", "acme", *common)
    expect_equal(status, 0, "status")
    head, row = out.splitlines()
    expect_equal(head.split()[0], "id", "first column")
    expect_in(world.install, row, "row")
    status, out, err = algad("admin", "installs", "show", "nothing", "--tenant", "acme", *common)
    expect_equal((status, out), (1, ""), "refusal")
    expect_in("error: install.not_found", err, "error output")


@test("admin: bad use ends with 2, an unreachable server with 3")
def statuses(world):
    token = ["--token-file", world.platform.token_file]
    expect_equal(algad("admin", "tenants", "create", *token)[0], 2, "a missing option")
    expect_equal(algad("admin", "tenants", "paint", *token)[0], 2, "an unknown command")
    expect_equal(algad("admin", "quota", "set", "acme", "--invocations", "many", *token)[0], 2, "no number")
    expect_equal(algad("admin", "whoami", *token, "--server", "http://127.0.0.1:9")[0], 3, "nobody listens")
    status, out, _ = algad("admin", "installs", "--help")
    expect_equal(status, 0, "help")
    expect_in("grant", out, "help")


@test("an uninstalled extension is gone")
def uninstall(world):
    world.admin("installs delete", world.install)
    expect_equal(world.admin("installs list")["installs"], [], "installs")


@test("every operation that the document gives a command was called")
def complete(world):
    expect_equal(documented_commands() - world.called, set(), "commands that no test called")


@test("keys rotate: data keys are wrapped again, and secrets still open")
def rotate(world):
    made = world.admin("installs create", "--extension", "example.echo", "--capabilities", "cap:secrets.get")
    world.admin("secrets set", made["install"]["id"], "api_key", "--value-file", world.file("secret", CANARY))
    status, out, err = algad("keys", "rotate", "--json", *world.settings())
    expect_equal(status, 0, f"rotate ({err})")
    expect(json.loads(out)["rewrapped"] >= 2, f"rewrapped: {out}")
    expect_equal(world.platform.call("acme", "example.echo", "/secret?key=api_key").json()["value"], {"ok": CANARY}, "secret")
    world.platform.server.stop()
    world.platform.start()
    expect_equal(world.platform.call("acme", "example.echo", "/secret?key=api_key").json()["value"], {"ok": CANARY}, "after a restart")


@test("keys envelopes: prepared, used and the older one retired, while the platform runs and loses no request")
def envelopes(world):
    def secret():
        return world.platform.call("acme", "example.echo", "/secret?key=api_key")

    def step(*arguments):
        status, out, err = algad("keys", "envelopes", *arguments, "--json", *world.settings())
        expect_equal(status, 0, f"keys envelopes {arguments} ({err})")
        return json.loads(out)

    prepared = step("--prepare")["prepared_key_id"]
    expect_equal(secret().json()["value"], {"ok": CANARY}, "with a prepared key")
    expect_equal(step("--use", prepared), {"current_key_id": prepared}, "used")
    expect_equal(secret().json()["value"], {"ok": CANARY}, "after the change")
    world.platform.server.stop()
    world.platform.start()
    expect_equal(step("--retire"), {"retired": 1}, "retired")
    world.platform.server.stop()
    world.platform.start()
    expect_equal(secret().json()["value"], {"ok": CANARY}, "sealed with the new key, the only one")
    rotated = step("--rotate")["current_key_id"]
    expect(rotated != prepared, "another key")
    status, _, err = algad("keys", "envelopes", "--use", "knothing", *world.settings())
    expect_equal(status, 1, "a key that is not there")
    expect_in("keys.unknown_key", err, "its refusal")
    status, _, _ = algad("keys", "envelopes", *world.settings())
    expect_equal(status, 2, "no step is bad use")


@test("migrate: an up-to-date schema stays as it is; version names it")
def migrate(world):
    status, out, err = algad("migrate", "--json", *world.settings())
    expect_equal(status, 0, f"migrate ({err})")
    report = json.loads(out)
    expect_equal(report["before"], report["after"], "schema")
    status, out, _ = algad("version", "--json")
    expect_equal((status, json.loads(out)["schema"]), (0, report["after"]), "version")
    empty = world.folder / "empty"
    status, out, err = algad("migrate", "--json", "--data", empty)
    expect_equal((status, json.loads(out)["before"]), (0, 0), f"an empty database ({err})")


@test("audit verify: intact, until one row is altered")
def audit(world):
    world.platform.server.stop()
    status, out, err = algad("audit", "verify", "--json", *world.settings())
    expect_equal((status, json.loads(out)["intact"]), (0, True), f"verify ({err})")
    heads = {it["tenant"]: it for it in json.loads(out)["heads"]}
    copy = "acme:{batch}:{chain}".format(**heads["acme"])
    status, out, err = algad("audit", "verify", "--expect", copy, *world.settings())
    expect_equal(status, 0, f"the head of the trail is its head ({err})")
    expect_in("head " + copy, out, "report")
    later = "acme:{}:00".format(heads["acme"]["batch"] + 1)
    status, out, _ = algad("audit", "verify", "--expect", later, *world.settings())
    expect_equal(status, 1, "status of a trail that was longer once")
    expect_in("it was there once and is not any more", out, "report")
    status, _, err = algad("audit", "verify", "--expect", "nonsense", *world.settings())
    expect_equal(status, 1, "status of what is no head")
    expect_in("request.invalid", err, "what is no head")
    alter(world.platform.server.folder / "data" / "alga.db")
    status, out, _ = algad("audit", "verify", "--tenant", "acme", *world.settings())
    expect_equal(status, 1, "status of an altered trail")
    expect_in("NOT intact", out, "report")


def alter(database):
    import sqlite3

    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE extension_audit_log SET actor = 'nobody' WHERE tenant = 'acme' AND batch = 1")


@test("no output of any command holds the secret")
def canary(world):
    expect_equal(world.platform.files_holding(CANARY), [], "files that hold the secret")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder:
        with Platform(Path(folder) / "platform", config=CONFIG) as platform:
            return main(World(platform, folder))


sys.exit(run())
