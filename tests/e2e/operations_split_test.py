#!/usr/bin/python3
"""docs/operations/many-machines.md is followed, block by block, with PostgreSQL, an S3 server and OpenBao."""

import sys
import tempfile
from pathlib import Path

from harness import openbao
from harness.openbao import OpenBao
from harness.ports import free_port
from harness.servers import ObjectStore, Postgres
from harness.tap import main, test
from harness.walk import DOCS, Walk

NAMED = (8080, 8081, 8082, 8443, 8444, 9090, 9091, 9092)


@test("a platform of many machines is set up, given new keys, restored and upgraded as the page says")
def many_machines(folder):
    with Postgres(password="of the superuser") as postgres, ObjectStore(folder / "objects") as objects, OpenBao(folder / "vault") as vault:
        ports = {port: free_port() for port in NAMED} | {5432: postgres.port}
        health = {"control-plane": ports[9090], "runner": ports[9091], "gateway": ports[9092]}
        env = {
            "SOURCE": str(DOCS.parents[1]),
            "ADMIN_DATABASE": postgres.admin_url,
            "S3_ENDPOINT": objects.origin,
            "S3_REGION": objects.region,
            "S3_BUCKET": objects.bucket,
            "S3_ACCESS_KEY": objects.access_key,
            "S3_SECRET_KEY": objects.secret_key,
            "HOME": str(folder),
            **{f"{name}_ADDR": vault.address for name in ("VAULT", "BAO")},
            **{f"{name}_TOKEN": vault.root for name in ("VAULT", "BAO")},
        }
        walk = Walk(folder / "walk", ports, health, env)
        walk.tool("bao", openbao.program())
        walk.follow("many-machines.md", at_least=30)


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder:
        return main(Path(folder))


sys.exit(run())
