"""The handler of the extension. `wit_world` is generated from the manifest's capabilities."""

import json

import wit_world
from wit_world.imports import config, logging
from wit_world.imports.logging import LogLevel
from wit_world.imports.types import ExecuteRequest, ExecuteResponse, HttpHeader


class WitWorld(wit_world.WitWorld):
    def handler(self, request: ExecuteRequest) -> ExecuteResponse:
        path, _, _query = request.http.url.partition("?")
        logging.log(LogLevel.INFO, f"{request.http.method} {path}")
        if path != "/hello":
            return answer(404, {"error": "not found"})
        return answer(200, {"hello": config.get("name") or "world", "from": "Python"})


def answer(status: int, value: object) -> ExecuteResponse:
    headers = [HttpHeader("content-type", "application/json")]
    return ExecuteResponse(status, headers, json.dumps(value).encode())
