"""An HTTP server of a test: on loopback, on a free port, for as long as a `with` lasts."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class LoopbackServer:
    """A server whose subclass answers: `serve(handler, body)` gets each request with its body, on a thread
    of its own. `origin` is where it listens, `port` its port."""

    def __init__(self):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_any(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                outer.serve(self, body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_LIST = do_any

            def send_error(self, code, *about, **more):
                # Who is refused is heard to the end: it would see a reset in place of the answer.
                if code == 414:
                    while self.rfile.readline(65537)[-1:] not in (b"\n", b""):
                        pass
                    while self.rfile.readline(65537).strip():
                        pass
                super().send_error(code, *about, **more)

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_):
                pass  # a connection that the other side reset; what matters is what `serve` saw

        self._server = Server(("127.0.0.1", 0), Handler)
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

    def serve(self, handler, body):
        raise NotImplementedError

    @staticmethod
    def reply(handler, status, body, headers=None):
        """Answers with `body`, JSON unless `headers` say something else."""
        handler.send_response(status)
        for name, value in {"content-type": "application/json", **(headers or {})}.items():
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)
