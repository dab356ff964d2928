"""Real servers that a platform on several hosts stands on: PostgreSQL and an S3 server."""

import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from .ports import free_port
from .tap import Skip

PLACES = ("/usr/lib/postgresql/17/bin", "/usr/lib/postgresql/16/bin", "/usr/lib/postgresql/15/bin", "/usr/local/bin", "/usr/bin")


class Postgres:
    """A cluster of its own in a temporary folder, on a Unix socket there and nowhere else, with a database `alga`.

    With a `password` it is as a provider hands it over: on loopback, where everybody needs a password, with the
    superuser `postgres` and no database of ours. PostgreSQL refuses to run as root, so root hands it to the user
    `postgres` or `nobody`.
    """

    def __init__(self, password=None):
        self.password = password
        self.superuser = "postgres" if password else "alga"
        self.port = free_port() if password else 5432
        places = (os.environ["ALGA_POSTGRES_BIN"],) if os.environ.get("ALGA_POSTGRES_BIN") else PLACES
        self.bin = next((Path(place) for place in places if Path(place, "initdb").exists() and Path(place, "postgres").exists()), None)
        if self.bin is None:
            raise Skip("PostgreSQL (initdb, postgres) is not on this machine")
        self.folder = Path(tempfile.mkdtemp(prefix="alga-pg.", dir=_place()))
        self._as = {}
        if os.geteuid() == 0:
            user = next(entry for entry in map(_user, ("postgres", "nobody")) if entry)
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self.process = None

    def __enter__(self):
        cluster = ["-D", self.folder / "data", "-U", self.superuser, "-N", "--no-locale", "-E", "UTF8"]
        cluster += ["--auth-local=trust", "--auth-host=scram-sha-256"]
        try:
            self._run("initdb", *cluster)
            self.start()
            if self.password:
                self.sql(f"ALTER ROLE postgres PASSWORD '{self.password}'", database="postgres")
            else:
                self.sql("CREATE DATABASE alga", database="postgres")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def url(self):
        return self.url_of("alga")

    def url_of(self, user):
        return f"postgresql:///alga?host={self.folder}&user={user}"

    @property
    def admin_url(self):
        """For whoever may make roles and databases."""
        return f"postgres://postgres:{self.password}@127.0.0.1:{self.port}/postgres"

    def start(self):
        listened = "127.0.0.1" if self.password else ""
        command = [self.bin / "postgres", "-D", self.folder / "data", "-k", self.folder]
        command += ["-p", str(self.port), "-c", f"listen_addresses={listened}"]
        command += ["-c", "max_connections=100", "-c", "fsync=off"]
        with open(self.folder / "server.log", "ab") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.folder, **self._as)
        deadline = time.monotonic() + 30
        while self._run("psql", *self._client("postgres"), "-c", "SELECT 1", check=False).returncode:
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError("PostgreSQL did not start:\n" + (self.folder / "server.log").read_text()[-2000:])
            time.sleep(0.05)

    def stop(self, sign=signal.SIGINT):
        if self.process and self.process.poll() is None:
            self.process.send_signal(sign)
            self.process.wait(30)

    def sql(self, text, database="alga"):
        """What psql prints, one row a line, columns with `|` between them."""
        return self._run("psql", *self._client(database), "-c", text).stdout

    def refusal(self, text, user):
        """What PostgreSQL says to a statement of `user` that it refuses; empty when it does not."""
        done = self._run("psql", *self._client("alga", user), "-c", text, check=False)
        return done.stderr.strip() if done.returncode else ""

    def run_file(self, path, **variables):
        """Has psql run a file, which whoever it runs as need not be able to read, with variables."""
        given = [part for name, value in variables.items() for part in ("--set", f"{name}={value}")]
        self._run("psql", *self._client("alga"), *given, "-q", "-f", "-", said=path.read_text())

    def dump(self):
        return self._run("pg_dump", "-h", self.folder, "-U", "alga", "alga").stdout

    def _client(self, database, user=None):
        return ["-h", self.folder, "-p", str(self.port), "-U", user or self.superuser, "-d", database, "-At", "-v", "ON_ERROR_STOP=1"]

    def _run(self, program, *arguments, check=True, said=""):
        command = [str(self.bin / program), *map(str, arguments)]
        done = subprocess.run(command, input=said, capture_output=True, text=True, cwd=self.folder, **self._as)
        if check and done.returncode:
            raise RuntimeError(f"{program} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done


class ObjectStore:
    """versitygw: S3 in front of a folder, with one bucket. With `accounts` it knows further keys: see add_key(). With an
    `identity`, files of certificate and key, it speaks TLS."""

    access_key, secret_key, bucket = "alga-test", "canary-s3-secret-1f0e", "bundles"
    region = "us-east-1"

    def __init__(self, folder, accounts=False, identity=None):
        program = os.environ.get("ALGA_VERSITYGW") or shutil.which("versitygw")
        if not program:
            raise Skip("no S3 server: versitygw is neither on the PATH nor in ALGA_VERSITYGW")
        self.program = program
        self.folder = Path(folder)
        (self.folder / "s3" / self.bucket).mkdir(parents=True)
        self._accounts = ["--iam-dir", str(self.folder / "s3-accounts")] if accounts else []
        if accounts:
            (self.folder / "s3-accounts").mkdir()
        self._tls = ["--cert", str(identity[0]), "--key", str(identity[1])] if identity else []
        self.process = None
        self.port = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def add_key(self, access, secret):
        """A further key that may do what the first may."""
        command = ["create-user", "--access", access, "--secret", secret, "--role", "admin"]
        subprocess.run([*self._administer(), *command], check=True, capture_output=True, timeout=60)

    @property
    def delete_key(self):
        """A command for a shell that deletes the access key that follows it, at once."""
        return shlex.join([*self._administer(), "delete-user", "--access"])

    def _administer(self):
        return [self.program, "admin", "--access", self.access_key, "--secret", self.secret_key, "--endpoint-url", self.origin]

    @property
    def origin(self):
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def start(self):
        self.port = self.port or free_port()
        command = [self.program, "--port", f"127.0.0.1:{self.port}", "--access", self.access_key, "--secret", self.secret_key]
        command += ["--quiet", *self._tls, *self._accounts, "posix", "--nometa", str(self.folder / "s3")]
        with open(self.folder / "s3.log", "ab") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        deadline = time.monotonic() + 30
        while True:
            # Somebody else on its port would answer, too.
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError("versitygw did not start:\n" + (self.folder / "s3.log").read_text()[-2000:])
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)


def _place():
    """Memory where there is enough: a slow disk takes seconds to make and remove a cluster."""
    try:
        return "/dev/shm" if shutil.disk_usage("/dev/shm").free > 2 << 30 else None
    except OSError:
        return None


def _user(name):
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None
