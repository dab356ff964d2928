"""An HTTP proxy in front of one server that can be made slow, wrong or silent."""

import http.client
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Flaky:
    """Passes requests on to `port`. Set `status` to answer with it instead, `delay` to wait before each
    answer, `broken` to close the connection without one. `calls` holds method and path of each request."""

    def __init__(self, port):
        self.target = port
        self.status = None
        self.delay = 0.0
        self.broken = False
        self.calls = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do(self):
                outer._serve(self)

            do_GET = do_POST = do_PUT = do_LIST = do_DELETE = do

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

        self._server = Server(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def well(self):
        self.status, self.delay, self.broken = None, 0.0, False

    def count(self, part):
        return sum(part in path for _, path in list(self.calls))

    def _serve(self, handler):
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        self.calls.append((handler.command, handler.path))
        if self.delay:
            time.sleep(self.delay)
        if self.broken:
            handler.close_connection = True
            return
        status, answer = (self.status, b'{"errors":[]}') if self.status else self._forward(handler, body)
        try:
            handler.send_response(status)
            handler.send_header("content-type", "application/json")
            handler.send_header("content-length", str(len(answer)))
            handler.end_headers()
            handler.wfile.write(answer)
        except OSError:
            handler.close_connection = True  # whoever asked has given up

    def _forward(self, handler, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.target, timeout=30)
        try:
            headers = {key: value for key, value in handler.headers.items() if key.lower() not in ("host", "connection")}
            connection.request(handler.command, handler.path, body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except OSError:
            handler.close_connection = True
            return 502, b'{"errors":["the server is away"]}'
        finally:
            connection.close()
