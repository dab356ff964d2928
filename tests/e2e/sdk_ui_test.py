#!/usr/bin/python3
"""An extension's page, served by the real server, in a host page, in Chromium."""

import os
import re
import sys
from pathlib import Path

from harness.author import SDK, Author, release_only, scratch
from harness.client import Client
from harness.server import program
from harness.tap import Skip, expect, expect_equal, expect_in, main, test

BUILD_SECONDS = 900
CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
BROWSE = Path(__file__).resolve().parent / "harness" / "browse.mjs"


class World:
    def __init__(self, folder):
        self.author = Author(folder)
        self.author.run("new", "clicks", "--template", "handler-ui")
        project = self.author.link(Path(folder) / "clicks")
        self.dev = self.author.start("dev", "--algad", program(), "--port", "0", cwd=project)
        self.ready = self.dev.next(lambda event: event.get("event") == "ready", BUILD_SECONDS, "the first build")

    def server_origin(self):
        """Where algad listens: the host page names it as the origin of the frame."""
        host = Client(self.ready["url"]).get("/__alga/host").text()
        return re.search(r'"page":"(http://127\.0\.0\.1:\d+)/', host).group(1)

    def page(self):
        install = self.ready["install"]
        return f"/ext-ui/{install['extension_id']}/{install['content_hash']}/index.html"


@test("the page talks to its handler through the host page and the gateway, follows the theme and fits its frame")
def in_chromium(world):
    if not CHROMIUM.exists():
        raise Skip(f"there is no {CHROMIUM} (package chromium)")
    screenshot = [os.environ["ALGA_SCREENSHOTS"]] if os.environ.get("ALGA_SCREENSHOTS") else []
    said = world.author.program(["node", BROWSE, SDK, f"{world.ready['url']}/__alga/host", *screenshot], seconds=600)
    expect_equal(said.status, 0, f"the browser ({said.err[-3000:]})")
    seen = said.json()
    expect_equal((seen["before"], seen["after"]), ("0", "1"), "counter before and after a click")
    expect_equal(seen["status"], "the extension is ready", "status of the host page")
    expect(seen["light"] != seen["dark"], f"the theme did not change: {seen['light']}")
    expect(100 <= seen["height"] < 400, f"height of the frame: {seen['height']}")
    expect_equal(seen["problems"], [], "errors in the browser's console")
    expect_in("embedded by", " ".join(seen["refused"]), "what the page says in a host that lies about its origin")


@test("alga dev shows the calls that the page made")
def calls(world):
    if not CHROMIUM.exists():
        raise Skip(f"there is no {CHROMIUM} (package chromium)")
    for method in ("GET", "POST"):
        call = world.dev.next(lambda event: event.get("event") == "call" and event["method"] == method, 30, f"{method} of the page")
        expect_equal((call["path"], call["status"]), ("/counter", 200), method)


@test("pages may be framed by the development host only, and hold no script but their own")
def policy(world):
    server = world.server_origin()
    answer = Client(server).get(f"{world.page()}?tenant=dev")
    expect_equal(answer.status, 200, f"the page ({answer.text()[:200]})")
    rules = answer.header("content-security-policy") or ""
    expect_in("frame-ancestors http://127.0.0.1:* http://localhost:*", rules, "policy of the page")
    expect("unsafe-eval" not in rules, f"policy of the page: {rules}")
    expect_equal(Client(server).get(f"{world.page()}?tenant=nobody").status, 404, "the page for a tenant without the install")


def run():
    release_only("pages in Chromium")
    with scratch() as folder:
        world = World(folder)
        with world.dev:
            return main(world)


sys.exit(run())
