"""Grants as a control plane signs them: docs/contracts/grant.md."""

import base64
import hashlib
import json
import subprocess
import tempfile
import time
from pathlib import Path


class Signer:
    """An Ed25519 key and the tokens it makes."""

    def __init__(self, folder):
        self._key = Path(folder) / "grants.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", self._key], check=True, capture_output=True)
        der = ["openssl", "pkey", "-in", self._key, "-pubout", "-outform", "DER"]
        raw = subprocess.run(der, check=True, capture_output=True).stdout[-32:]
        self.public_key = base64.b64encode(raw).decode()
        self._id = hashlib.sha256(raw).hexdigest()[:16]

    def grant(self, tenant, extension, content_hash, capabilities=(), egress=()):
        """A token for a minute."""
        now = int(time.time())
        payload = {
            "v": 1, "kid": self._id, "iat": now, "exp": now + 60,
            "tenant": tenant, "install": f"install-{tenant}", "extension": extension, "version": "1.0.0",
            "hash": content_hash, "caps": ["cap:context.read", "cap:log.emit", "cap:user.read", *capabilities],
            "egress": list(egress), "limits": {}, "config_version": "1", "secrets_version": "1",
            "envelope_sha256": None, "envelope_expires": None,
        }  # fmt: skip
        head = _base64url(json.dumps(payload, separators=(",", ":")).encode())
        with tempfile.NamedTemporaryFile() as message:
            message.write(f"alga-grant:v1.{head}".encode())
            message.flush()
            sign = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", self._key, "-in", message.name]
            signature = subprocess.run(sign, check=True, capture_output=True).stdout
        return f"{head}.{_base64url(signature)}"


def _base64url(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
