#!/usr/bin/python3
"""What an operator sees who got something wrong: every refused start names the setting or file, an error code and
what to do, and ends with 1 or 2; what may come back later is reported while the server runs. Nobody meets an abort."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from harness.authority import Authority
from harness.openbao import OpenBao
from harness.ports import free_port
from harness.server import Algad, program, run, surroundings
from harness.servers import ObjectStore, Postgres
from harness.tap import Skip, eventually, expect, expect_equal, expect_in, main, test

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


class World:
    """A folder, a data folder of a server that has run once, and certificates good and bad."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.chmod(0o755)
        with Algad("all", self.folder / "used"):
            pass
        self.used = self.folder / "used" / "data"
        self.authority = Authority(self.folder / "tls")
        self.certificate, self.key = self.authority.issue("server.test")
        self._count = 0

    def fresh(self):
        self._count += 1
        return self.folder / f"data-{self._count}"

    def copy(self):
        """The used data folder, to be spoilt."""
        target = self.fresh()
        shutil.copytree(self.used, target)
        target.chmod(0o700)
        return target

    def expired(self):
        """A certificate that ended yesterday, with its key."""
        certificate, key = self.authority.issue("expired.test")
        request = certificate.with_suffix(".csr")
        sign = ["openssl", "x509", "-req", "-in", request, "-CA", self.authority.ca, "-CAkey", self.authority.folder / "ca.key"]
        subprocess.run([*sign, "-CAcreateserial", "-days", "-1", "-out", certificate], check=True, capture_output=True)
        return certificate, key


def serve(*arguments, data=None, prefix=(), env=None):
    """Starts algad, which is to refuse; returns its status and what it wrote to the error output."""
    command = [*prefix, program(), "serve", "--listen", "127.0.0.1:0"]
    if data is not None:
        command += ["--data", data]
    command += arguments
    try:
        done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, env=surroundings(env))
    except subprocess.TimeoutExpired as late:
        raise AssertionError(f"still runs: {arguments}: {late.stderr}") from None
    return done.returncode, done.stderr


def settings(**values):
    """`--set` for each setting; `__` stands for the dot."""
    return [part for name, value in values.items() for part in ("--set", f"{name.replace('__', '.')}={value}")]


def refused(code, *named, status=1, advice=True, **how):
    """The start ends with `code`, names what is wrong, and says what to do."""
    arguments = how.pop("arguments", [])
    got, errors = serve(*arguments, **how)
    what = f"{arguments}: {errors}"
    expect_equal(got, status, f"status of {what}")
    expect(f"error: {code}: " in errors, f"{code} is named by {what}")
    for name in named:
        expect_in(str(name), errors, what)
    expect_equal("what to do: " in errors, advice, f"advice of {what}")


def faulty(*named, **values):
    """The configuration is refused before anything is opened, by serve and by check-config alike."""
    arguments = settings(**values)
    for command in ("serve", "check-config"):
        status, _, errors = run(command, *arguments, "--data", "/nowhere/at/all")
        expect_equal(status, 2, f"{command} {arguments}: {errors}")
        for name in named:
            expect_in(name, errors, f"{command} {arguments}")


def as_nobody():
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        raise Skip("only root can start the server as somebody else")
    return NOBODY


@contextmanager
def reporting(world, *arguments, env=None):
    """A server that starts all the same, for its log."""
    with Algad("all", world.fresh(), arguments=arguments, env=env) as server:
        yield server


def reported(server, code):
    """The error line with this code; it says what to do."""
    def find():
        lines = [json.loads(line) for line in server.output().splitlines() if line.startswith("{")]
        return next((line for line in lines if line.get("code") == code and line["level"] == "error"), None)

    line = eventually(find, 30, f"{code} in the log:\n{server.output()[-2000:]}")
    expect(line.get("what_to_do"), f"advice in {line}")
    return line


@test("a configuration that is missing, unreadable, a folder or no TOML is refused by name")
def files(world):
    missing = world.folder / "none.toml"
    refused("config.file_unreadable", missing, "No such file", status=2, arguments=["--config", missing])
    refused("config.file_unreadable", "Is a directory", status=2, arguments=["--config", world.folder])
    broken = world.folder / "broken.toml"
    broken.write_text("[server\n")
    status, errors = serve("--config", broken)
    expect_equal(status, 2, errors)
    expect_in(f"{broken}:1:", errors, "the line")
    closed = world.folder / "closed.toml"
    closed.write_text("")
    closed.chmod(0)
    refused("config.file_unreadable", "Permission denied", status=2, arguments=["--config", closed], prefix=as_nobody())


@test("settings that do not exist, do not fit or contradict one another are refused before anything is opened")
def contradictions(_):
    faulty("server.data_dri is not a setting; did you mean server.data_dir?", server__data_dri="x")
    faulty("server.roles", "did you mean runner?", server__roles="runer")
    faulty("server.roles names \"all\" beside other roles", server__roles="gateway,all")
    faulty("server.listen", "IP address", server__listen="name.test:80")
    faulty("server.metrics_listen is the address of server.listen too", server__listen="127.0.0.1:80", server__metrics_listen="127.0.0.1:80")
    faulty("control_plane.url is needed", "database.url is needed", "runner.url is needed", server__roles="gateway")
    faulty("tls.key is needed", tls__certificate="c.pem")
    faulty("server.internal_listen is needed", tls__internal_certificate="c.pem", tls__internal_key="k.pem")
    faulty("bundles.s3.bucket is needed", bundles__store="s3", bundles__s3__endpoint="http://127.0.0.1:9")
    faulty("vault.address is needed", secrets__transport="vault-transit:v1")
    faulty("database.url must not contain a password", database__url="postgres://u:p@h/d")
    faulty("database.url is not good: a database address begins with", database__url="mysql://alga@h/d")
    faulty("must name where the secret is", database__password="clear")


@test("everything that the start would refuse because of the settings alone is refused by check-config, all at once, with file and line")
def all_at_once(world):
    file = world.folder / "wrong.toml"
    lines = {
        "[server]": None,
        'roles = ["gateway"]': None,
        'trusted_proxies = ["10.0.0.1/8"]': "config.bad_value: {}: server.trusted_proxies item 1 must be a network",
        "[runer]": "config.unknown_key: {}: [runer] is not a table of settings; did you mean [runner]?",
        "[runner.ui]": None,
        'frame_ancestors = ["https://a.test", "b;c"]': "config.bad_value: {}: runner.ui.frame_ancestors item 2",
        "[database]": None,
        'url = "postgres://u@h:0/d"': "config.bad_value: {}: database.url is not good: its port",
        "[engine]": None,
        'artefact_keys = ["AAAA"]': "config.bad_key: {}: engine.artefact_keys item 1",
        "[egress]": None,
        "rules = [": None,
        '  "https://good.test",': None,
        '  "good.test",': "config.bad_value: {}: egress.rules item 2 is no egress rule",
        "]": None,
        'own_addresses = ["name.test"]': "config.bad_value: {}: egress.own_addresses item 1 must be an IP address",
        "[bundles]": None,
        'store = "s3"': "config.incomplete: {}: bundles.s3.bucket is needed",
        "[bundles.s3]": None,
        'endpoint = "https://s3.test/path"': "config.bad_value: {}: bundles.s3.endpoint",
        "[secrets]": None,
        'read_chain = ["env", "env"]': "config.incomplete: {}: secrets.read_chain names a provider twice",
        "[vault]": None,
        'tenant_path = "kv/data/all"': "config.bad_value: {}: vault.tenant_path must be a KV v2 path",
        "[control_plane]": None,
        'runners = ["runner:8443"]': "config.bad_value: {}: control_plane.runners item 1 must be an http or https URL",
        "[publishing]": None,
        'legacy_modules_until = "soon"': "config.bad_value: {}: publishing.legacy_modules_until must be a moment",
        "[gateway]": None,
        'allowed_origins = ["https://app.test/"]': "config.bad_value: {}: gateway.allowed_origins item 1",
    }  # fmt: skip
    file.write_text("\n".join(lines) + "\n")
    variables = {"ALGA_TLS_KEY": "k.pem"}
    expected = {f"error: {text.format(f'{file}:{number}')}" for number, text in enumerate(lines.values(), 1) if text}
    expected.add("error: config.incomplete: environment ALGA_TLS_KEY: tls.certificate is needed because tls.key is set")
    expected.add(f"error: config.incomplete: {file}:2: control_plane.url is needed because the gateway runs without a control plane")
    expected.add("error: config.bad_value: --listen: server.listen must be host:port")
    for command in ("check-config", "serve"):
        status, output, errors = run(command, "--config", file, "--listen", "nowhere", "--data", "/nowhere/at/all", env=variables)
        expect_equal((status, output), (2, ""), errors)
        missing = [text for text in expected if text not in errors]
        expect(not missing, f"{command} says nothing of {missing} in:\n{errors}")
        more = [line for line in errors.splitlines() if not any(line.startswith(text) for text in expected) and "bundles.s3." not in line and "runner.url" not in line]
        expect_equal(more, [], f"what {command} says beside")


def bad_use(*arguments, names):
    """The command line is refused before anything happens: status 2, nothing on the output, one clear line."""
    status, output, errors = run(*arguments)
    expect_equal((status, output), (2, ""), f"{arguments}: {errors}")
    expect_in(names, errors, f"{arguments}")
    expect_in("Run with --help for more information.", errors, f"{arguments}")


@test("a command or option that does not exist, or is given nothing, is refused by name")
def bad_command_lines(world):
    bad_use("srve", names="error: srve is no command of algad; did you mean serve?")
    bad_use("keys", "artifacts", names="error: artifacts is no command of keys; did you mean artefacts?")
    bad_use("audit", "prove", names="error: prove is no command of audit")
    bad_use("admin", "xyzzy", names="error: xyzzy is no command of admin")
    bad_use("admin", "grant-keys", "rotat", names="error: rotat is no command of grant-keys; did you mean rotate?")
    bad_use(names="A subcommand is required")
    bad_use("keys", names="A subcommand is required")
    bad_use("serve", "--confg", "x", names="--confg")
    bad_use("version", "extra", names="extra")
    data = ["--data", world.fresh()]
    # A variable of a script that is not set, where saying nothing would mean something else.
    for command in (["serve", "--config", ""], ["check-config", "--role", ""], ["check-config", "--data", ""], ["serve", "--listen", ""], ["audit", "verify", "--tenant", "", *data], ["keys", "artefacts", "--use", "", *data], ["keys", "envelopes", "--use", "", *data]):
        bad_use(*command, names="is empty")
    for text in ("server.listen", "=x", ""):
        bad_use("check-config", "--set", text, names="is not SETTING=VALUE")
    expect(not data[1].exists(), "nothing was made")
    expect_equal(run("check-config", "--set", "server.public_url=")[0], 0, "a setting may be emptied")
    bad_use("keys", "artefacts", "--prepare", "--rotate", *data, names="--prepare")


@test("algad says its version, and every command its options")
def help_texts(_):
    status, plain, _ = run("version")
    expect_equal((status, run("--version")[1].split()), (0, plain.split(",")[0].split()), "the version")
    for command in ([], ["serve"], ["check-config"], ["print-config"], ["smoke"], ["inspect"], ["compile"], ["migrate"], ["audit"], ["audit", "verify"], ["keys"], ["keys", "rotate"], ["keys", "envelopes"], ["keys", "artefacts"], ["version"], ["admin"]):
        status, output, errors = run(*command, "--help")
        expect_equal((status, errors), (0, ""), f"{command} --help")
        expect_in("algad", output, "whose")


@test("output that cannot be kept is a failure")
def full_output(world):
    (world.folder / "good.toml").write_text("")
    for command in (["print-config"], ["version"], ["check-config"], ["--help"], ["keys", "artefacts", "--data", world.copy()]):
        with open("/dev/full", "w") as full:
            done = subprocess.run([program(), *map(str, command)], stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, text=True, env=surroundings(None))
        expect(done.returncode != 0, f"{command} with a full disk")
        expect_in("error: the output cannot be written", done.stderr, f"{command}")


@test("commands on the database and its keys make none where no server has been, and name a file that cannot be read")
def offline_commands(world):
    for command in (["audit", "verify"], ["keys", "rotate"]):
        data = world.fresh()
        status, output, errors = run(*command, "--data", data)
        expect_equal((status, output), (1, ""), errors)
        expect_in(f"error: sql.schema_too_old: {data}/alga.db is not there", errors, f"{command}")
        expect(not data.exists(), "no folder was made")
        empty = world.fresh()
        empty.mkdir(mode=0o700)
        (empty / "alga.db").touch()
        status, _, errors = run(*command, "--data", empty)
        expect_equal(status, 1, errors)
        expect_in("error: sql.schema_too_old: the database has schema 0", errors, f"{command}")
        expect_in("what to do: ", errors, f"{command}")
        expect_equal(run(*command, "--data", world.copy())[0], 0, "where one has been")
    status, _, errors = run("keys", "artefacts", "--use", "nonsense", "--data", world.copy())
    expect_equal(status, 1, errors)
    expect_in("error: keys.unknown_key: no key with this public half was prepared", errors, "no such key")
    expect_in("that --prepare has printed", errors, "advice")
    for file, why in ((world.folder, "Is a directory"), (world.folder / "none", "No such file or directory"), ("/dev/zero", "it is larger than")):
        status, output, errors = run("admin", "whoami", "--token-file", file)
        expect_equal((status, output), (2, ""), errors)
        expect_equal(errors.splitlines()[0].split(" (")[0].startswith(f"error: admin.bad_argument: {file} cannot be read: {why}"), True, errors)


@test("the next key of compiled code is prepared, told, used once and forgotten, by the command line alone")
def artefact_keys(world):
    data = ["--data", world.copy()]

    def keys(*arguments):
        status, output, errors = run("keys", "artefacts", *arguments, *data, "--json")
        expect_equal(status, 0, errors)
        return json.loads(output)

    former = keys()["artefact_key"]
    made = keys("--prepare")["prepared_artefact_key"]
    expect_equal(keys("--prepare")["prepared_artefact_key"], made, "the same again")
    expect_equal(keys(), {"artefact_key": former, "prepared_artefact_key": made}, "what is told")
    expect_equal(keys("--use", made), {"artefact_key": made}, "used")
    expect_equal(keys("--use", made), {"artefact_key": made}, "used already")
    expect_equal(keys(), {"artefact_key": made}, "in the end")


@test("a data folder that is missing, a file, closed, somebody else's or in use is refused by name")
def data_folders(world):
    refused("config.missing", "--data")
    file = world.folder / "file"
    file.write_text("")
    refused("config.folder", file, "Not a directory", data=file)
    with Algad("all", world.fresh()) as server:
        refused("blob.cache_locked", "another process", data=server.folder / "data")
    folder = world.fresh()
    folder.mkdir(mode=0o755)
    refused("config.folder", folder, "belongs to the user 0, algad runs as 65534", data=folder, prefix=as_nobody())
    refused("config.folder", "Permission denied", data=folder / "below", prefix=as_nobody())


@test("a disk that is full or read-only is refused by name")
def disks(world):
    place = world.folder / "mounted"
    place.mkdir()
    for options, code, named in (("size=300k", "sql.disk_full", "full"), ("size=300k,ro", "config.folder", "Read-only file system")):
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, text=True)
        if mounted.returncode != 0:
            raise Skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
        try:
            refused(code, named, data=place)
        finally:
            subprocess.run(["umount", place], check=True)


@test("keys that are gone, spoilt or unreadable stop the start, and what is there is left as it is")
def keys(world):
    gone = world.copy()
    shutil.rmtree(gone / "secrets")
    refused("keys.unknown_key", data=gone)
    spoilt = world.copy()
    (spoilt / "secrets" / "alga_wrapping_keys").write_text("rubbish")
    refused("keys.malformed", "alga_wrapping_keys", data=spoilt)
    expect_equal((spoilt / "secrets" / "alga_wrapping_keys").read_text(), "rubbish", "the file")
    closed = world.copy()
    for path in [closed, *closed.rglob("*")]:
        os.chown(path, 65534, 65534)
    for path in (closed / "secrets").iterdir():
        path.chmod(0)
    refused("vault.io", "cannot be opened: Permission denied", data=closed, prefix=as_nobody())


@test("a database file that is newer, no database or read-only is refused by name")
def sqlite(world):
    newer = world.copy()
    later = "INSERT INTO alga_migrations VALUES (9999, 'later', 'x', 0)"
    subprocess.run(["sqlite3", newer / "alga.db", later], check=True)
    refused("sql.schema_too_new", data=newer)
    rubbish = world.copy()
    (rubbish / "alga.db").write_bytes(os.urandom(5000))
    refused("sql.corrupt", rubbish / "alga.db", data=rubbish)
    closed = world.copy()
    for path in [closed, *closed.rglob("*")]:
        os.chown(path, 65534, 65534)
    (closed / "alga.db").chmod(0o400)
    refused("sql.unavailable", closed / "alga.db", "Permission denied", data=closed, prefix=as_nobody())


@test("an address that is taken, not ours or not allowed is refused with the setting that names it")
def addresses(world):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for setting in ("server.listen", "server.internal_listen", "server.metrics_listen"):
            refused("http.listen_failed", setting, address, "already in use", arguments=["--set", f"{setting}={address}"], data=world.fresh())
    refused("http.listen_failed", "192.0.2.1:80", arguments=settings(server__listen="192.0.2.1:80"), data=world.fresh())


@test("certificates that are missing, no PEM, of another key or locked are refused with setting and file")
def certificates(world):
    pair = {"tls__certificate": world.certificate, "tls__key": world.key}
    none = world.folder / "none.pem"
    text = world.folder / "text.pem"
    text.write_text("no PEM")
    _, other = world.authority.issue("other.test")
    for values, named in (
        ({**pair, "tls__certificate": none}, ("tls.certificate", none, "No such file")),
        ({**pair, "tls__certificate": text}, ("tls.certificate", text, "no PEM certificate")),
        ({**pair, "tls__key": other}, (other, "does not belong to the certificate")),
        ({**pair, "tls__client_ca": none}, ("tls.client_ca", none)),
        ({"tls__client_certificate": none, "tls__client_key": none}, ("tls.client_certificate", none)),
        ({"tls__ca": none}, ("tls.ca", none)),
        ({"egress__authorities": none}, ("egress.authorities", none)),
    ):
        data = world.fresh()
        refused("tls.bad_files", *named, arguments=settings(**values), data=data)
        expect(not (data / "alga.db").exists(), "nothing was made before the refusal")


@test("a certificate that has ended is reported while the server runs, because it can be replaced")
def expired_certificate(world):
    certificate, key = world.expired()
    listen = settings(server__internal_listen="127.0.0.1:0", tls__internal_certificate=certificate, tls__internal_key=key)
    with reporting(world, *listen) as server:
        expect_equal(reported(server, "tls.certificate_expired")["setting"], "tls.internal_certificate", "the setting")


@test("a PostgreSQL that is away, refuses the password, lacks the database or a right is told apart")
def postgres(world):
    with Postgres(password="of the superuser") as server:
        server.sql("CREATE ROLE alga LOGIN PASSWORD 'good'", database="postgres")
        server.sql("CREATE DATABASE alga", database="postgres")
        address = f"127.0.0.1:{server.port}/alga"
        env = {"GOOD": "good", "BAD": "bad"}

        def start(url, *named, code="sql.unavailable", password="GOOD"):
            values = settings(database__url=url, database__password=f"env:{password}")
            refused(code, *named, arguments=values, data=world.fresh(), env=env)

        start(f"postgres://alga@127.0.0.1:{free_port()}/alga", "Connection refused")
        start(f"postgres://alga@{address}", "password authentication failed", password="BAD")
        start(f"postgres://alga@{address}", "database.password", "NOSUCH", code="config.secret_unreadable", password="NOSUCH")
        start(f"postgres://alga@127.0.0.1:{server.port}/none", 'database "none" does not exist')
        start(f"postgres://alga@{address}?sslmode=require", "does not support SSL")
        start(f"postgres://alga@{address}", "permission denied for schema public", code="sql.denied")


@test("an S3 store without the bucket, with a wrong key or away is reported while the server runs")
def s3(world):
    env = {"ACCESS": ObjectStore.access_key, "SECRET": ObjectStore.secret_key, "WRONG": "wrong"}

    def start(endpoint, code, bucket=ObjectStore.bucket, secret="SECRET"):
        values = settings(
            bundles__store="s3", bundles__s3__endpoint=endpoint, bundles__s3__bucket=bucket,
            bundles__s3__access_key="env:ACCESS", bundles__s3__secret_key=f"env:{secret}",
        )  # fmt: skip
        server = Algad("control-plane", world.fresh(), arguments=values, env=env)
        with server:
            reported(server, code)

    with ObjectStore(world.folder / "objects") as objects:
        start(objects.origin, "blob.bucket_missing", bucket="nix")
        start(objects.origin, "blob.denied", secret="WRONG")
    start(f"http://127.0.0.1:{free_port()}", "blob.unavailable")


@test("a Vault that is away, sealed, without the key or refuses the token is told apart")
def vault(world):
    env = {"WRONG": "wrong"}
    with OpenBao(world.folder / "vault") as server:
        server.setup()
        env["GOOD"] = server.token("alga-control-plane")
        chain = {"secrets__read_chain": "vault", "secrets__write_provider": "vault"}

        def refused_by_vault(code, address=server.address, token="GOOD"):
            values = settings(vault__address=address, vault__token=f"env:{token}", **chain)
            refused(code, arguments=values, data=world.fresh(), env=env)

        refused_by_vault("vault.unavailable", address=f"http://127.0.0.1:{free_port()}")
        refused_by_vault("vault.denied", token="WRONG")
        keyless = settings(vault__address=server.address, vault__token="env:GOOD", vault__transit_key="nix")
        with reporting(world, *keyless, env=env) as started:
            expect_in("nix", reported(started, "vault.denied")["message"], "the key")
        server.seal()
        refused_by_vault("vault.sealed")
        with reporting(world, *settings(vault__address=server.address, vault__token="env:GOOD"), env=env) as started:
            reported(started, "vault.sealed")


def run_all():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder:
        return main(World(folder))


sys.exit(run_all())
