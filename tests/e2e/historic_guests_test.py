#!/usr/bin/python3
"""Components of the toolchains that extensions of the field were made with, through `/v1/execute`.

tests/guests/historic/build.sh builds them; where their tools cannot be had, each test is skipped with the reason.
"""

import base64
import json
import sys
import tempfile
import time

from harness import bundle
from harness.lone_runner import TENANT, UNPROTECTED, LoneRunner, execution
from harness.server import historic_fixture
from harness.tap import eventually, expect, expect_equal, main, test

CONFIG, STORAGE, HTTP, SECRETS = "cap:config.read", "cap:storage.kv", "cap:http.fetch", "cap:secrets.get"
ALWAYS = ["cap:context.read", "cap:log.emit", "cap:user.read"]
VERSIONS = ("0-19", "0-20", "0-21", "0-22")


class World:
    def __init__(self, server):
        self.server, self.hashes = server, {}

    def place(self, name, capabilities):
        if name not in self.hashes:
            self.hashes[name] = self.server.place(historic_fixture(name), bundle.manifest(capabilities=capabilities))
        return self.hashes[name]

    def run(self, name, path, capabilities, providers=None, **more):
        """The result of an execution that must have ended well."""
        body = execution(self.place(name, capabilities), path, timeout_ms=30000, **more)
        body["context"]["config"] = {"greeting": "hello"}
        body["providers"] = list(capabilities if providers is None else providers)
        response = self.server.execute(body)
        expect_equal(response.status, 200, f"{name}: HTTP status ({response.text()[:500]})")
        result = response.json()
        expect_equal((result.get("error"), result["status"]), (None, 200), f"{name} {path} ({response.text()[:500]})")
        return result

    def logged(self, text):
        """How many log lines of guests with this text stand in the runner's log; they come shortly after the answer."""
        return sum(line["component"] == "guest" and text in line["text"] for line in self.server.log_lines("log"))


def answer(result):
    return json.loads(base64.b64decode(result["body_b64"]))


def handler_of(name, live_random):
    """What handler.js has to bring through: the request, a host call, a log line, headers, live time and randomness."""

    def check(world):
        drawn = []
        for turn in (1, 2):
            path = f"/{name}-{turn}"
            before = time.time() * 1000
            result = world.run(name, path, [CONFIG, *ALWAYS], method="POST", query={"x": "1"}, payload=b"abc")
            seen = answer(result)
            wanted = {"calls": 1, "tenant": TENANT, "url": f"{path}?x=1", "body": "abc", "greeting": "hello"}
            expect_equal({key: seen[key] for key in wanted}, wanted, f"{name}: what the guest saw")
            expect(before - 1 <= seen["now"] <= time.time() * 1000 + 1, f"{name}: the clock shows {seen['now']}, it was {before}")
            eventually(lambda path=path: world.logged(f"POST {path}?x=1"), 15, f"{name}: its log line")
            repeated = [value for name_sent, value in result["header_list"] if name_sent == "x-one"]
            expect_equal(repeated, ["1", "2"], f"{name}: a repeated header")
            drawn.append(seen["random"])
        expect_equal(drawn[0] != drawn[1], live_random, f"{name}: Math.random() gave {drawn}")

    return check


for version in VERSIONS:
    test(f"a component of componentize-js {version.replace('-', '.')} runs")(handler_of(f"componentize-js-{version}", live_random=True))
# Its generator is seeded when the component is built: every execution draws the same numbers.
test("a component of jco with QuickJS runs, and draws the numbers of its build")(handler_of("jco-quickjs", live_random=False))


def pure(version):
    """Built against the unversioned package, with clocks, randomness and standard streams switched off."""
    name, granted = f"pure-{version}", [STORAGE, HTTP, SECRETS, *ALWAYS]

    def check(world):
        seen = answer(world.run(name, "/echo", granted, method="POST", query={"a": "b"}, payload=b"abc"))
        expect_equal((seen["method"], seen["url"], seen["body"]), ("POST", "/echo?a=b", "abc"), f"{name}: the request")
        expect_equal(answer(world.run(name, "/context", granted))["tenantId"], TENANT, f"{name}: tenant")
        denied = answer(world.run(name, "/storage", granted, providers=ALWAYS))
        expect_equal({key: denied[key] for key in ("put", "read")}, {"put": {"err": "denied"}, "read": {"err": "denied"}}, f"{name}: storage withheld")
        denied = answer(world.run(name, "/fetch", granted))
        expect_equal(denied, {"err": "not-allowed"}, f"{name}: an address without a rule")
        before = world.logged("a warn line")
        expect_equal(answer(world.run(name, "/log", granted)), {"logged": 3}, f"{name}: logging")
        eventually(lambda: world.logged("a warn line") == before + 1, 15, f"{name}: its log line")
        first, second = (answer(world.run(name, "/frozen", granted))["now"] for _ in range(2))
        expect_equal(first, second, f"{name}: a clock that was left out when it was built")

    return check


for version in (VERSIONS[0], VERSIONS[-1]):
    test(f"a component of componentize-js {version.replace('-', '.')} without clock and randomness, of the unversioned package, runs")(pure(version))


@test("a component of C++ without a library runs")
def cpp(world):
    result = world.run("cpp", "/cpp", [CONFIG, *ALWAYS], method="POST", payload=b"abc")
    expect_equal(base64.b64decode(result["body_b64"]), b"abc", "the body")
    expect_equal(result["header_list"], [["x-setting", "hello"]], "the setting")
    eventually(lambda: world.logged("C++ runs"), 15, "its log line")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder, LoneRunner(folder, UNPROTECTED) as server:
        return main(World(server))


if __name__ == "__main__":
    sys.exit(run())
