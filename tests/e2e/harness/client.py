"""A small HTTP client that keeps repeated headers and knows JSON."""

import http.client
import json
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass
class Answer:
    """What a server answered. Header names are lower case; repeated headers stay repeated."""

    status: int
    headers: list
    body: bytes

    def header(self, name):
        return next((value for key, value in self.headers if key == name), None)

    def json(self):
        return json.loads(self.body)

    def text(self):
        return self.body.decode("utf-8", "replace")


class Client:
    """Speaks to one origin. `headers` go with every request. No redirects, no proxies."""

    def __init__(self, origin, headers=None, timeout=60.0):
        self.origin = origin
        self.headers = dict(headers or {})
        self.timeout = timeout

    def request(self, method, path, body=None, headers=None):
        """`body` may be bytes, or anything else, which is sent as JSON."""
        target = urlsplit(self.origin)
        sent = {**self.headers, **(headers or {})}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent.setdefault("content-type", "application/json")
        connection = http.client.HTTPConnection(target.hostname, target.port, timeout=self.timeout)
        try:
            try:
                connection.request(method, path, body=body, headers=sent)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it has answered before it read everything
            response = connection.getresponse()
            names = [(key.lower(), value) for key, value in response.getheaders()]
            return Answer(response.status, names, response.read())
        finally:
            connection.close()

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, path, body=None, **more):
        return self.request("POST", path, body=body if body is not None else {}, **more)

    def put(self, path, body=None, **more):
        return self.request("PUT", path, body=body if body is not None else {}, **more)

    def patch(self, path, body=None, **more):
        return self.request("PATCH", path, body=body if body is not None else {}, **more)

    def delete(self, path, **more):
        return self.request("DELETE", path, **more)
