#!/usr/bin/python3
"""Errors name the author's own line: from a component that `alga` built, through the real server.

The extension is tests/guests/failures. A comment `fails: NAME` in its source marks the line that the
error of route /NAME must be reported at; the column is where the named token begins.
"""

import json
import re
import sys

from harness.author import ROOT, Author, Workshop, release_only, scratch
from harness.platform import Platform, loopback_rules
from harness.tap import eventually, expect, expect_equal, expect_in, main, test
from harness.upstream import Upstream

FIXTURE = ROOT / "tests" / "guests" / "failures"
EXTENSION = "example.failures"
# A request has time for this many milliseconds, so that the tests need not wait for the default.
WALL_MS = 1500
# So little that it is used up long before that time, on a busy machine as well.
MEMORY_MB = 64

# route: (what the author reads, the token that the column points to, request body)
THROWN = {
    "throw": ("OutOfLuckError: no luck", "new OutOfLuckError", None),
    "reject": ("Error: the queue is closed", "new Error(why)", None),
    "json": ("SyntaxError: JSON.parse: unexpected end of data", "parse(text)", None),
    "body": ("RequestBodyError: The request body is not JSON", "json())", "{nope"),
    "denied": ("StorageError: storage.put notes/one: denied", "put(", None),
    "secret": ("SecretError: secrets.get nobody_set_this: missing", "get(", None),
    "egress": ("HttpError: http.fetch GET https://example.org/tickets: not-allowed", "fetch(", None),
    "global-fetch": ("HttpError: http.fetch GET https://example.org/: not-allowed", "fetch(", None),
    "overflow": ("InternalError: too much recursion", "deepen(depth + 1)", None),
}

# route: (how it ended, last log line, last host call, the token of that call, a word of the advice)
ENDED = {
    "loop": ("wall_limit", "counting begins", "config.get api_url", "get(", "bound the outgoing calls"),
    "wait": ("wall_limit", "asking a slow API", "http.fetch GET {api}/slow/60000", "fetch(", "bound the outgoing calls"),
    "sleep": ("wall_limit", "sleeping", "config.get api_url", "get(", "bound the outgoing calls"),
    "memory": ("memory_limit", "collecting", "secrets.list", "list(", "in pages"),
}


def marked(name, token):
    """File, line and column of the token on the line that is marked `fails: NAME`."""
    for file in sorted((FIXTURE / "src").glob("*.ts")):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if line.endswith(f"// fails: {name}"):
                return {"file": f"src/{file.name}", "line": number, "column": line.index(token) + 1}
    raise RuntimeError(f"no line of the fixture is marked {name}")


class World:
    def __init__(self, platform, upstream):
        self.platform, self.upstream = platform, upstream
        self.shop = Workshop(platform)
        self.author = self.shop.author
        self.project = self.author.copy(FIXTURE, "failures")
        self.published = self.shop.publish(self.project)
        self.install = self.installed(EXTENSION)
        small = self.author.copy(FIXTURE, "failures-quickjs")
        manifest = json.loads((small / "manifest.json").read_text())
        (small / "manifest.json").write_text(json.dumps({**manifest, "name": "failures-quickjs"}))
        (small / "package.json").write_text(json.dumps({"alga": {"engine": "quickjs"}}))
        self.shop.publish(small)
        self.installed(f"{EXTENSION}-quickjs")

    def installed(self, extension):
        granted = ("cap:config.read", "cap:secrets.get", "cap:http.fetch")  # storage is withheld
        return self.platform.install(
            self.shop.TENANT,
            extension,
            granted,
            egress=loopback_rules(self.upstream),
            config={"api_url": self.upstream.origin},
            limits={"timeout_ms": WALL_MS, "memory_mb": MEMORY_MB},
        )

    def key(self, **account):
        """The API key of a new account."""
        return self.platform.operator.post("/api/v1/api-keys", {"label": "admin of a test", **account}).json()["key"]

    def administrator(self, name):
        """Somebody at `alga` with the token of the tenant's administrator."""
        token = self.key(role="tenant_admin", tenant=self.shop.TENANT)
        return Author(self.author.folder / name, self.platform.server.origin, token, self.shop.TENANT)

    def not_awaited(self, extension, route):
        """Calls a route that answers 200, and gives what its log says of promises that nobody awaited."""
        answer = self.author.json("invoke", extension, route)
        expect_equal(answer["status"], 200, f"status of {route}")
        path = f"/api/v1/executions?request={answer['request_id']}"

        def ended():
            rows = self.platform.operator.get(path, headers={"x-tenant-id": self.shop.TENANT}).json()["executions"]
            return any(row["end_class"] for row in rows)

        eventually(ended, 60, f"the record of {route}")  # written after all lines of the execution
        lines = self.author.json("logs", "--request", answer["request_id"], "--limit", "100")["lines"]
        expect(any("host call" in line["message"] for line in lines), f"the log of {route}: {lines}")
        return [line for line in lines if line["message"].startswith("Not awaited: ")]

    def fails(self, name, body=None):
        """Invokes a route with the command; returns the error that it reports."""
        data = () if body is None else ("--data", body)
        said = self.author.json("invoke", EXTENSION, f"/{name}", *data, expect=1)
        expect_equal(said["ok"], False, "ok")
        return said["error"]


def expect_frame(frame, where):
    """The code frame shows the line of the source, and its caret stands below the column."""
    source = (FIXTURE / where["file"]).read_text().splitlines()
    lines = frame.splitlines()
    at = next((index for index, line in enumerate(lines) if line.startswith("  > ")), None)
    expect(at is not None, f"no line is marked in\n{frame}")
    number, _, text = lines[at][4:].partition(" | ")
    expect_equal((int(number), text), (where["line"], source[where["line"] - 1]), "marked line")
    expect_equal(lines[at + 1].index("^") - lines[at].index(" | ") - 3, where["column"] - 1, "place of the caret")
    expect_equal(lines[at - 1].partition(" | ")[2], source[where["line"] - 2], "line before")


def register_thrown(name, message, token, body):
    @test(f"the author of /{name} reads what was thrown, file, line, column and code frame")
    def thrown(world):
        where = marked(name, token)
        error = world.fails(name, body)
        expect(error["message"].startswith(message), f"message {error['message']!r}")
        expect_equal(error["code"], "invoke.uncaught", "code")
        expect_equal(error["location"], where, "place")
        expect_frame(error["frame"], where)
        expect_in(f"{where['file']}:{where['line']}:{where['column']}", error["stack"], "mapped stack")
        expect("main.js:" not in error["stack"], f"a position of the bundle is left: {error['stack']}")


for _name, (_message, _token, _body) in THROWN.items():
    register_thrown(_name, _message, _token, _body)


def register_ended(name, end_class, line, call, token, advice):
    @test(f"the author of /{name} reads its route, last log line, last host call with its line, and what to change")
    def ended(world):
        where = marked(name, token)
        error = world.fails(name)
        expect_equal(error["location"], where, "place of the last host call")
        expect_frame(error["frame"], where)
        if error["code"] == "invoke.uncaught" and name == "wait":
            # The call and the execution run out of time together; the guest may have the last word.
            expect_in(call.format(api=world.upstream.origin) + ": timeout", error["message"], "message")
            return
        facts = dict(re.findall(r"^  (route|last log line|last host call) +(.*)$", error["message"], re.M))
        expect_equal(facts.get("route"), f"GET /{name}", "route")
        expect_equal(facts.get("last log line"), line, "last log line")
        expect_equal(facts.get("last host call"), call.format(api=world.upstream.origin), "last host call")
        expect_in(f"[{end_class}]", error["message"], "end class")
        expect_in(advice, error["hint"], "advice")


for _name, _expected in ENDED.items():
    register_ended(_name, *_expected)


@test("something thrown that is no error is shown as it is, and said to have no line")
def thrown_value(world):
    error = world.fails("value")
    expect_in('{"reason":"not even an error"}', error["message"], "message")
    expect_in("nothing says where", error["message"], "message")


def register_not_awaited(engine, extension, route, reported):
    what = "is reported at its line" if reported else "is not reported"
    name = route.removeprefix("/")

    @test(f"a promise of {route} that fails and that nobody awaits {what}, on {engine}")
    def not_awaited(world):
        lines = world.not_awaited(extension, route)
        expect_equal(len(lines), 1 if reported else 0, f"lines {lines}")
        for line in lines:
            expect_equal(line["level"], "error", "level")
            expect_in("StorageError: storage.put notes/", line["message"], "message")
            expect_equal(line["author_error"]["location"], marked(name, "put("), "place")
            expect_frame(line["author_error"]["frame"], marked(name, "put("))


# StarlingMonkey tells nobody of the rejections of the author's own async functions.
for _engine, _extension in (("StarlingMonkey", EXTENSION), ("QuickJS", f"{EXTENSION}-quickjs")):
    register_not_awaited(_engine, _extension, "/forgotten", True)
    register_not_awaited(_engine, _extension, "/forgotten-own", _engine == "QuickJS")
    register_not_awaited(_engine, _extension, "/caught-late", False)


@test("alga invoke without --json prints place and frame for people")
def for_people(world):
    where = marked("throw", "new OutOfLuckError")
    said = world.author.run("invoke", EXTENSION, "/throw", expect=1).err
    expect_in(f"error {where['file']}:{where['line']}:{where['column']} OutOfLuckError: no luck", said, "first line")
    expect_in(f"  > {where['line']} |   throw new OutOfLuckError(", said, "frame")


@test("alga logs shows the same errors, mapped, and traces of host calls at the author's lines")
def logs(world):
    lines = world.author.json("logs", "failures", "--limit", "500")["lines"]
    found = {}
    for line in lines:
        error = line.get("author_error")
        if error and error.get("location"):
            found.setdefault(error["message"], error["location"])
    for name, (message, token, _) in THROWN.items():
        places = [place for said, place in found.items() if said.startswith(message)]
        expect_equal(places[:1], [marked(name, token)], f"place of /{name} in the log")
    expect_equal(found.get("host call secrets.list"), marked("memory", "list("), "place of a traced host call")


@test("a misspelt secret or configuration key is set, with a warning that names what the manifest declares")
def misspelt_names(world):
    said = world.author.json("secrets", "set", EXTENSION, "knwon", feed="a value")
    expect_equal((said["ok"], said["names"]), (True, ["knwon"]), "answer")
    expect_equal(len(said["warnings"]), 1, "warnings")
    expect_in('did you mean "known"?', said["warnings"][0]["message"], "warning")
    said = world.author.run("config", "set", EXTENSION, "api_ulr=x")
    expect_in('"api_ulr" is set, but example.failures 1.0.0 does not declare it', said.err, "warning")
    expect_in('did you mean "api_url"?', said.err, "warning")
    world.author.run("secrets", "unset", EXTENSION, "knwon")
    world.author.run("config", "unset", EXTENSION, "api_ulr")
    said = world.author.json("secrets", "set", EXTENSION, "known", feed="a value")
    expect("warnings" not in said, f"warnings about a declared name: {said}")


@test("nothing of it reaches the end user: no message, no file, no line, no stack")
def end_user(world):
    key = world.platform.api_key("tenant_user", tenant=world.shop.TENANT)
    for name in (*THROWN, "value"):
        method, body = ("POST", b"{nope") if name == "body" else ("GET", None)
        answer = world.platform.call(world.shop.TENANT, EXTENSION, f"/{name}", method, body, client=key)
        expect_equal(answer.status, 400 if name == "body" else 500, f"status of /{name}")
        error = answer.json()["error"]
        expect_equal(sorted(error), ["code", "message", "request_id"], "members of the error")
        if name != "body":
            expect_equal(error["message"], "The extension failed", f"what the user of /{name} reads")
        shown = answer.text() + str(answer.headers)
        for secret in (".ts", "main.js", "luck", "queue", "nobody_set_this", "example.org", "recursion", "    at "):
            expect(secret not in shown, f"{secret!r} of /{name} in {shown}")


@test("the registry gives the source map to publisher and operator, not to the tenant, and keeps it out of the component")
def source_map(world):
    version = world.published["version"]["id"]
    path = f"/api/v1/extensions/{EXTENSION}/versions/{version}/source-map"
    publisher = world.platform.api_key("publisher", publisher="example")
    answer = publisher.get(path)
    expect_equal(answer.status, 200, f"for the publisher ({answer.text()[:200]})")
    sources = [name for name in answer.json()["sources"] if "node_modules" not in name]
    expect_in("src/failures.ts", sources, "the author's files in the map")
    leaks = [name for name in answer.json()["sources"] if name.startswith(("/", ".."))]
    expect_equal(leaks, [], "sources named by a place on the author's machine")
    tenant = world.platform.api_key("tenant_admin", tenant=world.shop.TENANT)
    expect_equal(tenant.get(path).status, 403, "for an administrator of the tenant")
    component = (world.project / "dist" / "main.wasm").read_bytes()
    for part in (b"fails: throw", b"interface Thing", b"src/failures.ts"):
        expect(part not in component, f"{part!r} is in the component")


@test("an account that may not read the source map gets the message and a hint, never a wrong line")
def without_map(world):
    admin = world.administrator("admin")
    # In the author's folder, whose own dist/main.js.map must not be taken for the published one.
    error = admin.json("invoke", EXTENSION, "/throw", cwd=world.project, expect=1)["error"]
    expect_equal(error["message"], "OutOfLuckError: no luck", "message")
    expect("location" not in error, f"a place without a map: {error.get('location')}")
    expect_in("alga login --maps", error["hint"], "hint")


@test("a tenant's administrator with a publisher's token beside it reads the author's own line, from a file and from a login")
def two_accounts(world):
    admin = world.administrator("developer")
    token = admin.folder / "publisher.key"
    token.write_text(world.key(role="publisher", publisher="example") + "\n")
    where = marked("throw", "new OutOfLuckError")
    error = admin.json("invoke", EXTENSION, "/throw", "--maps-token-file", token, expect=1)["error"]
    expect_equal(error["location"], where, "place, by the token in a file")
    expect_frame(error["frame"], where)
    expect_in("admin of a test (tenant_admin)", admin.run("login", feed=admin.env["ALGA_TOKEN"]).out, "the account")
    refused = admin.json("login", "--maps", feed=admin.env["ALGA_TOKEN"], expect=4)["error"]
    expect_equal(refused["code"], "credentials.no_maps", "a token that reads no maps")
    expect_in("(publisher)", admin.run("login", "--maps", "--token-file", token).out, "the account for source maps")
    error = admin.json("invoke", EXTENSION, "/throw", expect=1)["error"]
    expect_equal(error["location"], where, "place, by the token that is remembered")
    lines = admin.json("logs", "failures", "--level", "error", "--limit", "500")["lines"]
    places = [line["author_error"]["location"] for line in lines if "OutOfLuckError" in line["message"]]
    expect(where in places and set(map(str, places)) == {str(where)}, f"places in the log: {places}")
    # The second token opens nothing but maps: it is not the one that calls and reads logs.
    reader = Author(world.author.folder / "reader", world.platform.server.origin, token.read_text().strip(), world.shop.TENANT)
    expect_equal(reader.json("logs", "--limit", "1", expect=4)["ok"], False, "logs for a publisher")


@test("a token of another publisher is no way to the author's line")
def another_publisher(world):
    expect_equal(world.platform.operator.post("/api/v1/publishers", {"name": "elsewhere"}).status, 201, "publisher")
    admin = world.administrator("stranger")
    admin.env["ALGA_MAPS_TOKEN"] = world.key(role="publisher", publisher="elsewhere")
    error = admin.json("invoke", EXTENSION, "/throw", expect=1)["error"]
    expect("location" not in error, f"a place with the map of another publisher: {error.get('location')}")
    expect_in("is not one of that publisher", error["hint"], "hint")


def run():
    release_only("the place of an author's error")
    with scratch() as folder, Upstream() as upstream:
        with Platform(folder) as platform:
            return main(World(platform, upstream))


sys.exit(run())
