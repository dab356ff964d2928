#!/usr/bin/python3
"""One handler on both JavaScript engines, through the real server: it answers alike, draws fresh
random numbers in every execution, and has exactly what sdk/docs/javascript-compatibility.md says.

The extension is tests/guests/engines, built with `alga build --engine`; the fixture of failures,
tests/guests/failures, shows that errors name the author's line on QuickJS too.
"""

import json
import re
import sys
import time

from harness.author import ROOT, SDK, Workshop, release_only, scratch
from harness.platform import Platform, loopback_rules
from harness.tap import expect, expect_equal, expect_in, main, test
from harness.upstream import Upstream

GUESTS = ROOT / "tests" / "guests"
PAGE = SDK / "docs" / "javascript-compatibility.md"
ENGINES = ("starlingmonkey", "quickjs")
SECRET = "canary-90ab17-secret-of-the-engines"
# What the fixture of failures throws on QuickJS: route, message, token at the column.
THROWN = {
    "throw": ("OutOfLuckError: no luck", "new OutOfLuckError", None),
    "reject": ("Error: the queue is closed", "new Error(why)", None),
    "json": ("SyntaxError:", "parse(text)", None),
    "body": ("RequestBodyError: The request body is not JSON", "json())", "{nope"),
    "denied": ("StorageError: storage.put notes/one: denied", "put(", None),
    "secret": ("SecretError: secrets.get nobody_set_this: missing", "get(", None),
    "egress": ("HttpError: http.fetch GET https://example.org/tickets: not-allowed", "fetch(", None),
    "global-fetch": ("HttpError: http.fetch GET https://example.org/: not-allowed", "fetch(", None),
}


class World:
    def __init__(self, platform, upstream):
        self.platform, self.upstream = platform, upstream
        self.shop = Workshop(platform)
        self.author = self.shop.author
        self.built, self.installs = {}, {}
        for engine in ENGINES:
            folder = self.project("engines", engine)
            self.built[engine] = self.author.json("build", "--engine", engine, cwd=folder)
            extension = self.publish(folder, engine)
            self.installs[engine] = self.shop.install(extension, egress=loopback_rules(upstream))["id"]
            self.author.run("secrets", "set", self.installs[engine], "alga_api_key", feed=SECRET)
            self.author.run("config", "set", self.installs[engine], f"api_url={upstream.origin}")
        failures = self.project("failures", "quickjs")
        self.failing = self.publish(failures, "quickjs")
        platform.install(
            self.shop.TENANT,
            self.failing,
            ("cap:config.read", "cap:secrets.get", "cap:http.fetch"),  # storage is withheld
            egress=loopback_rules(upstream),
            config={"api_url": upstream.origin},
        )

    def project(self, guest, engine):
        """A copy whose name and package.json say the engine, so that `publish` builds for it."""
        folder = self.author.copy(GUESTS / guest, f"{guest}-{engine}")
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["name"] = f"{guest}-{engine}"
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=2))
        package = {"name": guest, "private": True, "type": "module", "alga": {"engine": engine}}
        (folder / "package.json").write_text(json.dumps(package))
        return folder

    def publish(self, folder, engine):
        published = self.shop.publish(folder)
        size = (folder / "dist" / "main.wasm").stat().st_size
        expect((size < 4 << 20) == (engine == "quickjs"), f"{engine} makes {size} bytes")
        return published["extension"]["id"]

    def call(self, engine, path, **more):
        answer = self.shop.call(self.installs[engine], path, **more)
        expect_equal(answer.status, 200, f"{engine} {path} ({answer.text()})")
        return answer.json()


def on_both(title, check):
    for engine in ENGINES:
        test(f"{engine}: {title}")(lambda world, engine=engine: check(world, engine))


def fresh_numbers(world, engine):
    draws = [world.call(engine, "/draws") for _ in range(3)]
    for what in ("random", "kept", "uuid", "values"):
        seen = {json.dumps(draw[what]) for draw in draws}
        expect_equal(len(seen), 3, f"different {what} of three executions")
    for draw in draws:
        expect_equal(len(set(draw["random"])), 3, "different numbers in one execution")
        expect(all(0 <= number < 1 for number in draw["random"]), f"out of range: {draw['random']}")
        expect(abs(draw["now"] / 1000 - time.time()) < 30, f"the clock shows {draw['date']}")
    expect(draws[2]["now"] > draws[0]["now"], "the clock stands")


def live_clock(world, engine):
    found = world.call(engine, "/clock")
    expect(found["before"] >= 0, f"performance.now() began at {found['before']}")
    expect(55 <= found["waited"] < 5000, f"60 ms took {found['waited']} ms")
    expect(55 <= found["wall"] < 5000, f"60 ms took {found['wall']} ms of Date.now()")


def asynchronous(world, engine):
    found = world.call(engine, "/async")
    wanted = {"settled": ["rejected", "fulfilled"], "race": "early", "sum": 10}
    expect_equal({name: found[name] for name in wanted}, wanted, "answer")
    expect_equal(found["order"], ["microtask", "then", "finally"], "order")


def web_platform(world, engine):
    found = world.call(engine, "/echo/a%20b?q=1%202&z=%C3%A4")
    wanted = {"name": "a b", "query": {"q": "1 2", "z": "ä"}, "text": "Ärger 😀", "words": True, "base64": "abc"}
    expect_equal(found, wanted, "answer")
    got = world.call(engine, "/body", method="POST", body={"deep": [1, "ü"]})
    expect_equal(got, {"got": {"deep": [1, "ü"]}}, "body")
    plain = world.shop.call(world.installs[engine], "/response")
    expect_equal((plain.status, plain.text()), (201, "plain"), "standard response")


def calls_an_api(world, engine):
    found = world.call(engine, "/api")
    expect_equal((found["status"], found["ok"]), (200, True), "answer of the API")
    method, path, headers, body = world.upstream.seen()[-1]
    expect_equal((method, path, headers.get("x-api-key")), ("POST", "/tickets?q=a%20b", SECRET), "what the API saw")
    expect_equal(json.loads(body), {"n": 1}, "body that the API saw")


def stores(world, engine):
    wanted = {"grew": True, "type": "bigint", "conflict": "conflict", "keys": ["k"], "value": "v2", "gone": [True, False]}
    expect_equal(world.call(engine, "/store"), wanted, "answer")


def table_of_the_page():
    """`name: (there on StarlingMonkey, there on QuickJS)` of the page's table of engines."""
    rows = re.findall(r"^\| `([\w.]+)` +\| +(yes|no|partly) +\| +(yes|no|partly) +\|", PAGE.read_text(), re.M)
    expect(len(rows) > 30, f"the page has {len(rows)} rows")
    return {name: {"starlingmonkey": first != "no", "quickjs": second != "no"} for name, first, second in rows}


def as_documented(world, engine):
    table = table_of_the_page()
    found = world.call(engine, f"/features?names={','.join(table)}")
    wrong = {name: kind for name, kind in found.items() if (kind != "undefined") != table[name][engine]}
    expect_equal(wrong, {}, "what is there although the page denies it, or missing although it promises")


on_both("every execution draws its own random numbers and reads a live clock", fresh_numbers)
on_both("timers wait, on a clock that begins with the execution", live_clock)
on_both("promises, async generators and timers keep their order", asynchronous)
on_both("text, queries, routes and responses are those of the web", web_platform)
on_both("a secret reaches the API that it is for", calls_an_api)
on_both("storage with conditions, revisions and pages", stores)
on_both("has what the page on JavaScript compatibility says", as_documented)


@test("quickjs: a handler that waits for nothing ends at once, and its author reads why")
def stuck(world):
    answer = world.shop.call(world.installs["quickjs"], "/stuck")
    expect_equal(answer.status, 500, "status; the limit of time would be 504")
    said = world.author.json("invoke", world.installs["quickjs"], "/stuck", expect=1)
    expect_in("waits for a promise that nothing is left to settle", said["error"]["message"], "message")


def marked(name, token):
    for file in sorted((GUESTS / "failures" / "src").glob("*.ts")):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if line.endswith(f"// fails: {name}"):
                return {"file": f"src/{file.name}", "line": number, "column": line.index(token) + 1}
    raise RuntimeError(f"no line of the fixture is marked {name}")


def register_thrown(name, message, token, body):
    @test(f"quickjs: the author of /{name} reads what was thrown, at the line")
    def thrown(world):
        where = marked(name, token)
        data = () if body is None else ("--data", body)
        error = world.author.json("invoke", world.failing, f"/{name}", *data, expect=1)["error"]
        expect(error["message"].startswith(message), f"message {error['message']!r}")
        expect_equal(error["code"], "invoke.uncaught", "code")
        place = error["location"]
        expect_equal((place["file"], place["line"]), (where["file"], where["line"]), "place")
        expect_in(f"  > {where['line']} |", error["frame"], "code frame")
        expect("main.js:" not in error["stack"], f"a position of the bundle is left: {error['stack']}")


for _name, _expected in THROWN.items():
    register_thrown(_name, *_expected)


@test("a component of QuickJS is a fifth of the size, and both say their size and times")
def sizes(world):
    starling, quick = world.built["starlingmonkey"], world.built["quickjs"]
    expect(quick["component_bytes"] * 4 < starling["component_bytes"], f"{quick['component_bytes']} bytes")
    for engine, built in world.built.items():
        expect_equal(built["engine"]["engine"], engine, "engine")
        expect(built["bundle_bytes"] > 1000 and built["timings"]["bundle"] > 0, f"{built}")


def run():
    release_only("JavaScript engines")
    with scratch() as folder, Upstream() as upstream, Platform(folder) as platform:
        return main(World(platform, upstream))


sys.exit(run())
