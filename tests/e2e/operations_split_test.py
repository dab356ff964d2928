#!/usr/bin/python3
"""docs/operations/many-machines.md is followed, block by block, with PostgreSQL, an S3 server and OpenBao."""

import sys
import tempfile
from pathlib import Path

from harness import openbao
from harness.openbao import OpenBao
from harness.ports import free_port
from harness.servers import ObjectStore, Postgres
from harness.tap import expect, main, test
from harness.walk import DOCS, Walk

NAMED = (8080, 8081, 8082, 8443, 8444, 9090, 9091, 9092)


@test("a platform of many machines is set up, given new keys, restored and upgraded as the page says")
def many_machines(folder):
    with Postgres(password="of the superuser") as postgres, ObjectStore(folder / "objects", accounts=True) as objects, OpenBao(folder / "vault") as vault:
        ports = {port: free_port() for port in NAMED} | {5432: postgres.port}
        health = {"control-plane": ports[9090], "runner": ports[9091], "gateway": ports[9092]}
        for number in (1, 2):
            objects.add_key(f"walk-{number}", f"canary-s3-walk-{number}")
        # As an operator's shell has them; the servers are started from it and must take no key from there.
        env = {
            "SOURCE": str(DOCS.parents[1]),
            "ADMIN_DATABASE": postgres.admin_url,
            "S3_ENDPOINT": objects.origin,
            "S3_REGION": objects.region,
            "S3_BUCKET": objects.bucket,
            "S3_ACCESS_KEY": "walk-1",
            "S3_SECRET_KEY": "canary-s3-walk-1",
            "S3_NEW_ACCESS_KEY": "walk-2",
            "S3_NEW_SECRET_KEY": "canary-s3-walk-2",
            "S3_DELETE_KEY": objects.delete_key,
            "HOME": str(folder),
            **{f"{name}_ADDR": vault.address for name in ("VAULT", "BAO")},
            **{f"{name}_TOKEN": vault.root for name in ("VAULT", "BAO")},
        }
        walk = Walk(folder / "walk", ports, health, env)
        walk.tool("bao", openbao.program())
        walk.follow("many-machines.md", at_least=30)
        logs = sorted(walk.folder.glob("*.log"))
        expect(len(logs) > 0, "the walk left no log")
        for log in logs:
            expect("the bundle store cannot be used" not in log.read_text(), f"{log.name}: a start found that S3 refuses its key")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder:
        return main(Path(folder))


sys.exit(run())
