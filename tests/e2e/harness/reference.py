"""An installation of the earlier system as a lone runner meets it: the internal storage API, the registry's
look-ups, a bundle store over plain HTTP, and the host application behind ui-proxy. Shapes, statuses and quirks
are those of its contracts; nothing here is ours."""

import base64
import json
import threading
import time
from urllib.parse import parse_qs, urlsplit

from .loopback import LoopbackServer

BYTES = {"content-type": "application/octet-stream"}
STAMPS = {"ttlExpiresAt": None, "createdAt": "2026-01-01T00:00:00.000Z", "updatedAt": "2026-01-01T00:00:00.000Z"}


class Refused(Exception):
    def __init__(self, status, code):
        super().__init__(code)
        self.status, self.code = status, code


class ReferenceInstallation(LoopbackServer):
    """`runner_token` opens the storage, `auth_key` the registry. `bundles` maps object keys to files,
    `hosts` host names to (tenant, extension, hash), `installed` holds such triples. `requests` remembers
    (method, path, headers, body). `host_answer` is what the host application says: (status, body)."""

    def __init__(self, runner_token, auth_key):
        super().__init__()
        self.runner_token, self.auth_key = runner_token, auth_key
        self.bundles, self.hosts, self.installed = {}, {}, set()
        self.records, self.requests = {}, []
        self.host_answer = (200, b'{"from":"host"}')
        self._lock = threading.Lock()
        self.up = True

    def seen(self, prefix):
        with self._lock:
            return [request for request in self.requests if request[1].startswith(prefix)]

    def serve(self, handler, body):
        headers = {key.lower(): value for key, value in handler.headers.items()}
        with self._lock:
            self.requests.append((handler.command, handler.path, headers, body))
        extra = {}
        try:
            status, answer, extra = self._answer(handler.path, headers, body)
        except Refused as refused:
            status, answer = refused.status, {"error": refused.code.lower(), "code": refused.code, "details": None}
        self.reply(handler, status, answer if isinstance(answer, bytes) else json.dumps(answer).encode(), extra)

    def _answer(self, path, headers, body):
        parts, query = urlsplit(path).path, parse_qs(urlsplit(path).query)
        if not self.up:
            return 503, b"upstream connect error", {"content-type": "text/plain"}
        if parts.startswith("/store/"):
            file = self.bundles.get(parts.removeprefix("/store/"))
            return (200, file, BYTES) if file else (404, b"NoSuchKey", BYTES)
        if parts == "/api/installs/lookup-by-host":
            self._key(headers)
            found = self.hosts.get(query["host"][0])
            if not found:
                return 404, {"error": "not_found"}, {"cache-control": "no-store"}
            return 200, dict(zip(("tenant_id", "extension_id", "content_hash"), found, strict=True)), {"cache-control": "no-store"}
        if parts == "/api/installs/validate":
            self._key(headers)
            digest = query["hash"][0].removeprefix("sha256:")
            return 200, {"valid": (query["tenant"][0], query["extension"][0], f"sha256:{digest}") in self.installed}, {}
        if parts.startswith("/api/internal/ext-storage/install/"):
            if headers.get("x-runner-auth") != self.runner_token:
                raise Refused(401, "UNAUTHORIZED")
            with self._lock:
                return 200, self._storage(parts.rsplit("/", 1)[1], json.loads(body)), {}
        if parts.startswith("/host/"):
            return *self.host_answer, {}
        return 404, {"error": "not_found"}, {}

    def _key(self, headers):
        if headers.get("x-api-key") != self.auth_key:
            raise Refused(401, "UNAUTHORIZED")

    def _storage(self, install, asked):
        """One operation on the records of an install, as `SV` of the earlier system answers it."""
        operation, ns = asked["operation"], asked.get("namespace", "")
        if not 1 <= len(ns) <= 128:
            raise Refused(400, "VALIDATION_FAILED")
        if operation == "list":
            return self._list(install, ns, asked)
        if operation == "bulkPut":
            return self._bulk_put(install, ns, asked["items"])
        key = self._checked_key(asked["key"])
        there = self._record(install, ns, key)
        # Fault of the original (1.12, "Revisions start at 1 …"): a record that is not there has no revision, 0 neither,
        # so that a condition on it always fails and nothing can be created only when it is missing.
        if "ifRevision" in asked and (there is None or there["revision"] != asked["ifRevision"]):
            raise Refused(409, "REVISION_MISMATCH")
        if operation == "put":
            return self._put(install, ns, key, asked)
        if operation == "delete":
            # Deleting nothing is no error of the API (1.12, "delete"): the old runner made `conflict` of it.
            return {"success": self.records.pop((install, ns, key), None) is not None}
        if there is None:
            raise Refused(404, "NOT_FOUND")
        return {"namespace": ns, "key": key, **self._shown(there)}

    @staticmethod
    def _checked_key(key):
        if not 1 <= len(key) <= 256 or "/" in key:
            raise Refused(400, "VALIDATION_FAILED")
        return key

    def _record(self, install, ns, key):
        """What has expired goes at the next call (1.12)."""
        record = self.records.get((install, ns, key))
        if record and record.get("expires", float("inf")) <= time.time():
            return self.records.pop((install, ns, key)) and None
        return record

    @staticmethod
    def _shown(record):
        return {"value": record["value"], "metadata": record["metadata"], "revision": record["revision"], **STAMPS}

    def _put(self, install, ns, key, asked):
        if len(json.dumps(asked["value"])) > 65536 or len(json.dumps(asked.get("metadata") or {})) > 4096:
            raise Refused(400, "LIMIT_EXCEEDED")
        if not 60 <= asked.get("ttlSeconds", 60) <= 2592000:
            raise Refused(400, "VALIDATION_FAILED")
        there = self._record(install, ns, key)
        revision = there["revision"] + 1 if there else 1
        record = {"value": asked["value"], "metadata": asked.get("metadata") or {}, "revision": revision}
        if "ttlSeconds" in asked:
            record["expires"] = time.time() + asked["ttlSeconds"]
        self.records[(install, ns, key)] = record
        return {"namespace": ns, "key": key, "revision": revision, **STAMPS}

    def _bulk_put(self, install, ns, items):
        if not 1 <= len(items) <= 20 or len(json.dumps(items)) > 512 * 1024:
            raise Refused(400, "LIMIT_EXCEEDED")
        done = [self._put(install, ns, self._checked_key(item["key"]), item) for item in items]
        return {"namespace": ns, "items": [{name: one[name] for name in ("key", "revision", "ttlExpiresAt")} for one in done]}

    def _list(self, install, ns, asked):
        after, prefix, limit = self._position(asked.get("cursor")), asked.get("keyPrefix", ""), asked.get("limit", 25)
        if not 1 <= limit <= 100:
            raise Refused(400, "VALIDATION_FAILED")
        own = sorted(key for (where, space, key) in list(self.records) if (where, space) == (install, ns) and self._record(install, ns, key))
        keys = [key for key in own if key.startswith(prefix) and key > after]
        items = []
        for key in keys[:limit]:
            item = {"tenantId": "acme", "extensionInstallId": install, "namespace": ns, "key": key, **STAMPS}
            record = self.records[(install, ns, key)]
            item["revision"] = record["revision"]
            if asked.get("includeValues"):
                item["value"] = record["value"]
            if asked.get("includeMetadata"):
                item["metadata"] = record["metadata"]
            items.append(item)
        # Fault of the original (1.12, "Bug"; R9): the cursor names the first row that was not returned, and the next page
        # begins behind it, so that one record is lost at each border.
        cursor = base64.urlsafe_b64encode(json.dumps({"key": keys[limit]}).encode()).decode().rstrip("=") if len(keys) > limit else None
        return {"items": items, "nextCursor": cursor}

    @staticmethod
    def _position(cursor):
        """The key that a cursor names: base64url of `{"key": …}`, and nothing else will do (1.12)."""
        if not cursor:
            return ""
        try:
            return json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))["key"]
        except (ValueError, KeyError, TypeError):
            raise Refused(400, "VALIDATION_FAILED") from None
