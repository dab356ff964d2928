"""The API that extensions call in tests: a server on loopback that remembers."""

import json
import threading
import time

from .loopback import LoopbackServer


class Upstream(LoopbackServer):
    """Answers every request with what it saw; `/slow/MS`, `/status/N`, `/big/N` and `/redirect?URL`
    behave as their names say, `/held` answers once the test calls `let_go` (afterwards at once, until `hold`).
    `requests` holds (method, path, headers, body) in order.
    """

    def __init__(self):
        super().__init__()
        self.requests = []
        self._lock = threading.Lock()
        self._free = threading.Event()

    def __exit__(self, *about):
        self.let_go()
        super().__exit__(*about)

    def hold(self):
        self._free.clear()

    def let_go(self):
        self._free.set()

    def seen(self):
        with self._lock:
            return list(self.requests)

    def serve(self, handler, body):
        headers = {key.lower(): value for key, value in handler.headers.items()}
        with self._lock:
            self.requests.append((handler.command, handler.path, headers, body))
        status, extra, answer = self._answer(handler, headers, body)
        self.reply(handler, status, answer, extra)

    def _answer(self, handler, headers, body):
        kind, _, argument = handler.path.strip("/").partition("/")
        if kind == "slow":
            time.sleep(int(argument) / 1000)
        elif kind == "held":
            self._free.wait()
        elif kind == "status":
            return int(argument), {}, b"{}"
        elif kind == "big":
            return 200, {"content-type": "application/octet-stream"}, b"x" * int(argument)
        elif handler.path.startswith("/redirect?"):
            return 302, {"location": handler.path.removeprefix("/redirect?")}, b""
        seen = {
            "method": handler.command,
            "path": handler.path,
            "authorized": bool(headers.get("authorization") or headers.get("x-api-key")),
            "body": body.decode("utf-8", "replace"),
        }
        return 200, {}, json.dumps(seen).encode()
