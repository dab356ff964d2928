"""A certificate authority made with openssl, for tests of mutual TLS."""

import os
import ssl
import subprocess
from pathlib import Path


class Authority:
    """`ca` is the file of its certificate; `issue` makes a certificate and key for one name. `env`: variables for
    openssl, such as a clock that is behind, so that certificates hold since yesterday."""

    def __init__(self, folder, name="the authority of a test", env=None):
        self.folder = Path(folder)
        self._env = {**os.environ, **(env or {})}
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ca = self.folder / "ca.pem"
        self._key = self.folder / "ca.key"
        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        self._openssl("req", "-x509", *new_key, "-keyout", self._key, "-out", self.ca, "-days", "2", "-subj", f"/CN={name}")

    def issue(self, name):
        """Files of (certificate, key) for the DNS name, valid for loopback as well."""
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        request, extra = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        extra.write_text(f"subjectAltName=DNS:{name},DNS:localhost,IP:127.0.0.1\n")
        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        self._openssl("req", *new_key, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        signed = ["-CA", self.ca, "-CAkey", self._key, "-CAcreateserial", "-days", "2", "-extfile", extra]
        self._openssl("x509", "-req", "-in", request, "-out", certificate, *signed)
        return certificate, key

    def context(self, identity=None):
        """For a client that believes this authority and shows `identity`, if it has one."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if identity:
            context.load_cert_chain(*map(str, identity))
        return context

    def _openssl(self, *arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, env=self._env)
