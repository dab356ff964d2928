"""The API that extensions call in tests and in the demo: a server on loopback that remembers."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Upstream:
    """Answers every request with what it saw; `/slow/MS`, `/status/N`, `/big/N` and `/redirect?URL`
    behave as their names say. `requests` holds (method, path, headers, body) in order.
    """

    def __init__(self):
        self.requests = []
        self._lock = threading.Lock()
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_any(self):
                upstream._serve(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_any

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_):
                pass  # a connection that the other side reset; what matters is in `requests`

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.origin = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def seen(self):
        with self._lock:
            return list(self.requests)

    def _serve(self, handler):
        length = int(handler.headers.get("content-length") or 0)
        body = handler.rfile.read(length)
        headers = {key.lower(): value for key, value in handler.headers.items()}
        with self._lock:
            self.requests.append((handler.command, handler.path, headers, body))
        status, extra, answer = self._answer(handler, headers, body)
        handler.send_response(status)
        for key, value in {"content-type": "application/json", **extra}.items():
            handler.send_header(key, value)
        handler.send_header("content-length", str(len(answer)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(answer)

    def _answer(self, handler, headers, body):
        kind, _, argument = handler.path.strip("/").partition("/")
        if kind == "slow":
            time.sleep(int(argument) / 1000)
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
