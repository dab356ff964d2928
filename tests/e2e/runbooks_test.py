#!/usr/bin/python3
"""docs/operations/runbooks.md is followed: what an alert is about is done to a real platform, a real Prometheus raises the
alarm, and what the section tells to look at is there. Its `algad admin` commands are carried out as they stand."""

import re
import shlex
import socket
import sys
import tempfile
from pathlib import Path

from harness.platform import CONFIG, Platform
from harness.prometheus import Prometheus
from harness.server import run as algad
from harness.tap import eventually, expect, expect_equal, expect_in, main, test, unless_skipped
from harness.walk import DOCS

RULES = DOCS.parents[1] / "deploy" / "prometheus" / "alerts.yaml"
RUNBOOKS = (DOCS / "runbooks.md").read_text()
COMMAND = re.compile(r"`(algad admin [^`…]+)`")


class World:
    def __init__(self, platform, prometheus):
        self.platform, self.prometheus = platform, prometheus
        self.carried_out = set()
        self.tenant = platform.tenant("acme")
        self.slug = platform.publish(platform.publisher("example"))
        self.install = platform.install(self.tenant, self.slug, limits={"timeout_ms": 2000})["id"]

    def call(self, path, **more):
        return self.platform.call(self.tenant, self.slug, path, **more)

    def alarm(self, name, provoke):
        """Does what the alert is about until it is raised; it was not before."""
        expect(name not in self.prometheus.firing(), f"{name} before anything happened")

        def raised():
            provoke()
            return self.prometheus.firing().get(name)

        return eventually(raised, 60, name, every=0.5)

    def commands(self, section):
        return COMMAND.findall(re.search(rf"^## {section}$(.*?)(?=^#|\Z)", RUNBOOKS, re.M | re.S)[1])

    def carry_out(self, command):
        """A command of the page with what its capitals stand for; returns what it printed."""
        words = shlex.split(command.replace("TENANT", self.tenant).replace("INSTALL", self.install).replace("NUMBER", "1000000"))
        operator = ["--server", self.platform.server.origin, "--token-file", self.platform.token_file]
        status, out, errors = algad(*words[1:], *operator)
        expect_equal(status, 0, f"{command}: {out}{errors}")
        self.carried_out.add(command)
        return out

    def line(self, message, answer):
        """The server's line on a request."""
        request = answer.header("x-request-id")
        return self.platform.server.logged(message, lambda line: line["request_id"] == request)[0]


@test("AlgaGatewayErrors: its commands lead from the alarm to the extension, its own lines and the refused address")
def errors(world):
    world.call("/fetch?url=https://not-allowed.example.test/")
    alert = world.alarm("AlgaGatewayErrors", lambda: [world.call("/throw") for _ in range(5)])
    expect_equal(alert["labels"]["severity"], "page", "severity")
    thrown = world.call("/throw")
    who = world.line("execution", thrown)
    expect_equal((who["tenant"], who["install"], who["end_class"]), (world.tenant, world.install, "guest_error"), "whom the log names")
    world.platform.record(world.tenant, thrown)
    said = {command: world.carry_out(command) for command in world.commands("AlgaGatewayErrors") if "disable" not in command}
    expect_equal(len(said), 4, f"commands: {list(said)}")
    text = "\n".join(said.values())
    for wanted in ("end_class", "engine.guest_error", "thrown on purpose", "guest.egress_denied", "https://not-allowed.example.test/"):
        expect_in(wanted, text, "what the commands show")


@test("AlgaLimitsHit: the log names limit, tenant and install, and the command gives the install more time")
def limits(world):
    answer = world.call("/loop")
    expect_equal((answer.status, answer.json()["code"]), (504, "engine.wall_limit"), "an execution that hits a limit")
    line = world.line("execution", answer)
    whose = (line["tenant"], line["install"], line["end_class"], line["limits"])
    expect_equal(whose, (world.tenant, world.install, "wall_limit", "engine.wall_limit"), "whose limit it is, and which")
    shown = [world.carry_out(command) for command in world.commands("AlgaLimitsHit")]
    expect_in("wall_limit", shown[0], "executions")
    expect_in("timeout_ms: 60000", shown[1], "what was granted")
    expect_in("cap:secrets.get", shown[1], "what was granted before")


@test("AlgaGatewaySlow: executions have the times that the section names")
def slow(world):
    shown = [world.carry_out(command) for command in world.commands("AlgaGatewaySlow")]
    for name in ("queue_us", "cold_us", "instantiate_us", "call_us", "cpu_us"):
        expect_in(f'"{name}"', shown[0], "times")


@test("AlgaQuotaUsedUp: the log names the tenant, and the section's command ends the refusals at once")
def quota(world):
    world.carry_out("algad admin quota set TENANT --invocations 0")
    world.alarm("AlgaQuotaUsedUp", lambda: [world.call("/echo") for _ in range(5)])
    refused = world.call("/echo")
    line = world.line("refused", refused)
    expect_equal((refused.status, line["code"], line["tenant"], line["install"]), (429, "quota.invocations_exceeded", world.tenant, world.install), "a refusal")
    shown = {command: world.carry_out(command) for command in world.commands("AlgaQuotaUsedUp") if "disable" not in command}
    expect_in("invocations: 0", shown["algad admin quota show --tenant TENANT"], "the limit")
    expect_equal(world.call("/echo").status, 200, "a call after it")


@test("AlgaConnectionsRefused: what is no HTTP counts by its reason and raises the alarm")
def refused(world):
    def nonsense():
        for _ in range(100):
            with socket.create_connection(("127.0.0.1", world.platform.server.port)) as connection:
                connection.sendall(b"NONSENSE\r\n\r\n")
                connection.recv(1000)

    world.alarm("AlgaConnectionsRefused", nonsense)
    expect(world.prometheus.value('alga_http_refused_total{reason="http.bad_request"}') >= 100, "the reason")


@test("every `algad admin` command of the page is carried out by a server")
def all_commands(world):
    commands = set(COMMAND.findall(RUNBOOKS))
    expect(len(commands) >= 10, f"commands: {commands}")
    # What disables the install comes last.
    for command in sorted(commands - world.carried_out, key=lambda command: "disable" in command):
        world.carry_out(command)
    expect_equal(world.call("/echo").status, 404, "a call of what is disabled")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as name:
        folder = Path(name)
        rules = folder / "alerts.yaml"
        # As committed, but for how long it has to last.
        rules.write_text(re.sub(r"for: \d+m", "for: 1s", RULES.read_text()))
        settings = f'{CONFIG}\n[limits]\nmax_wall_time = "60s"\n'
        with Platform(folder / "platform", settings) as platform, Prometheus(folder / "prometheus", rules, [platform.server.port]) as prometheus:
            return main(World(platform, prometheus))


sys.exit(unless_skipped(run, "the runbooks"))
