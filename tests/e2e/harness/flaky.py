"""An HTTP proxy in front of one server that can be made slow, wrong or silent."""

import http.client
import time

from .loopback import LoopbackServer


class Flaky(LoopbackServer):
    """Passes requests on to `port`. Set `status` to answer with it instead, `delay` to wait before each
    answer, `broken` to close the connection without one. `calls` holds method and path of each request."""

    def __init__(self, port):
        super().__init__()
        self.target = port
        self.calls = []
        self.well()

    @property
    def address(self):
        return self.origin

    def well(self):
        self.status, self.delay, self.broken = None, 0.0, False

    def count(self, part):
        return sum(part in path for _, path in list(self.calls))

    def serve(self, handler, body):
        self.calls.append((handler.command, handler.path))
        if self.delay:
            time.sleep(self.delay)
        if self.broken:
            handler.close_connection = True
            return
        status, answer = (self.status, b'{"errors":[]}') if self.status else self._forward(handler, body)
        try:
            self.reply(handler, status, answer)
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
