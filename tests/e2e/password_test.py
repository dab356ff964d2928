#!/usr/bin/python3
"""PostgreSQL as a provider hands it over: a password in a file of its own, used, not shown and followed when it changes;
a version that is too old."""

import socket
import struct
import sys
import tempfile
import threading
from pathlib import Path

from harness.platform import CONFIG, Platform
from harness.server import run as run_algad
from harness.servers import Postgres
from harness.tap import eventually, expect, expect_equal, expect_in, main, test

FIRST, SECOND, WRONG = "canary-2f7c-first-password", "canary-2f7c-second-password", "canary-2f7c-wrong-password"


class World:
    def __init__(self, folder, postgres):
        self.folder, self.postgres = folder, postgres
        postgres.sql(f"CREATE ROLE alga LOGIN PASSWORD '{FIRST}'", database="postgres")
        postgres.sql("CREATE DATABASE alga OWNER alga", database="postgres")
        self.password = folder / "database-password"
        self.password.write_text(f"{FIRST}\n")
        self.settings = f"""{CONFIG}
[database]
url = "postgresql://alga@127.0.0.1:{postgres.port}/alga"
password = "file:{self.password}"
"""
        self.platform = Platform(folder / "platform", config=self.settings).start()


@test("a platform works on it, and a restart finds what was written")
def works(world):
    tenant = world.platform.tenant("acme")
    world.platform.server.stop()
    world.platform.start()
    listed = world.platform.operator.get("/api/v1/tenants").json()["tenants"]
    expect_in(tenant, [row["id"] for row in listed], "tenants")


@test("a password that changes is read again when a connection wants it")
def follows(world):
    world.postgres.sql(f"ALTER ROLE alga PASSWORD '{SECOND}'", database="postgres")
    world.password.write_text(SECOND)
    world.postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'alga'", database="postgres")
    eventually(lambda: world.platform.operator.get("/api/v1/tenants").status == 200, 20, "it works again")


@test("with another password it does not start, says why, and shows neither")
def refused(world):
    (world.folder / "wrong").write_text(WRONG)
    config = world.folder / "wrong.toml"
    config.write_text(world.settings.replace(str(world.password), str(world.folder / "wrong")))
    status, output, errors = run_algad("serve", "--role", "all", "--data", world.folder / "other", "--listen", "127.0.0.1:0", "--config", config)
    expect(status != 0, "it started")
    expect_in("sql.", output + errors, "a code")
    expect(WRONG not in output + errors, "the password is in the output")
    shown = run_algad("print-config", "--redacted", "--config", config)
    expect(WRONG not in shown[1] + shown[2], "the password is in the configuration that is shown")


def answer_as_old_server(listener):
    """Says what PostgreSQL 14 says to whoever connects, and no more."""
    with listener.accept()[0] as link:
        while struct.unpack("!I", link.recv(8)[4:])[0] in (80877103, 80877104):
            link.sendall(b"N")  # neither TLS nor Kerberos
        link.recv(4096)
        said = b"R" + struct.pack("!II", 8, 0)
        for name, value in ((b"server_version", b"14.9"), (b"client_encoding", b"UTF8"), (b"standard_conforming_strings", b"on")):
            said += b"S" + struct.pack("!I", 4 + len(name) + len(value) + 2) + name + b"\0" + value + b"\0"
        link.sendall(said + b"Z" + struct.pack("!I", 5) + b"I")
        link.settimeout(10)
        while link.recv(4096):
            pass


@test("a PostgreSQL that is too old is refused by name")
def too_old(world):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answering = threading.Thread(target=answer_as_old_server, args=(listener,), daemon=True)
        answering.start()
        url = f"postgresql://alga@127.0.0.1:{listener.getsockname()[1]}/alga"
        status, output, errors = run_algad("serve", "--role", "all", "--data", world.folder / "old", "--listen", "127.0.0.1:0", "--set", f"database.url={url}")
        answering.join(20)
    expect(status != 0, "it started")
    expect_in("sql.unsupported_server", output + errors, "the code")


@test("no file of the server, its log included, holds a password")
def canary(world):
    own = {str(world.password), str(world.folder / "wrong")}
    for secret in (FIRST, SECOND, WRONG):
        holding = [str(path) for path in world.folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
        expect_equal([path for path in holding if path not in own], [], f"files that hold {secret}")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as name, Postgres(password="canary-2f7c-superuser") as postgres:
        world = World(Path(name), postgres)
        try:
            return main(world)
        finally:
            world.platform.server.stop()


if __name__ == "__main__":
    sys.exit(run())
