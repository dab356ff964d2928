"""A wire between two processes that a test can cut, slow down, hold at one message and mend."""

import selectors
import socket
import threading
import time


class Relay:
    """Takes connections on a loopback port and carries them to the first of `targets` (ports) that
    takes one, beginning with another one each time. `cut` ends every connection and refuses new
    ones; `stall` lets them be made and carries nothing; `delay` holds every piece back for so many
    seconds; `hold_after` stalls at one piece; `mend` makes all of it good again.
    """

    def __init__(self, *targets):
        self.targets = list(targets)
        self.delay = 0.0
        self.held = threading.Event()
        self._held_direction, self._left = None, 0
        self._state = "whole"
        self._turn = 0
        self._lock = threading.Lock()
        self._open = set()
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._closed = True
        self.cut()
        self._listener.close()

    def cut(self):
        self._state = "cut"
        with self._lock:
            sockets, self._open = self._open, set()
        for one in sockets:
            _close(one)

    def stall(self):
        self._state = "stalled"

    def hold_after(self, pieces, answers=False):
        """Carries so many more requests (pieces from who connected), or answers, and stalls at the next, with which
        `held` is set: whoever sent it waits at one certain message of its work."""
        with self._lock:
            self.held.clear()
            self._left = pieces
            self._held_direction = "answers" if answers else "requests"

    def mend(self):
        self.delay = 0.0
        with self._lock:
            self._held_direction = None
            self._state = "whole"

    def _accept(self):
        while not self._closed:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _reach(self):
        self._turn += 1
        for step in range(len(self.targets)):
            port = self.targets[(self._turn + step) % len(self.targets)]
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=2)
            except OSError:
                continue
        return None

    def _carry(self, near):
        far = None if self._state == "cut" else self._reach()
        if far is None:
            _close(near)
            return
        far.settimeout(None)
        for one in (near, far):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            cut_meanwhile = self._state == "cut"
            if not cut_meanwhile:
                self._open |= {near, far}
        if cut_meanwhile:
            _close(near)
            _close(far)
            return
        self._pump(near, far)
        with self._lock:
            self._open -= {near, far}
        _close(near)
        _close(far)

    def _pump(self, near, far):
        with selectors.DefaultSelector() as watched:
            try:
                watched.register(near, selectors.EVENT_READ, far)
                watched.register(far, selectors.EVENT_READ, near)
                while True:
                    for key, _ in watched.select():
                        piece = key.fileobj.recv(65536)
                        if not piece:
                            return
                        self._count("requests" if key.fileobj is near else "answers")
                        while self._state == "stalled":
                            time.sleep(0.01)
                        if self.delay:
                            time.sleep(self.delay)
                        key.data.sendall(piece)
            except (OSError, ValueError):
                return


    def _count(self, direction):
        with self._lock:
            if self._held_direction != direction or self._state != "whole":
                return
            self._left -= 1
            if self._left < 0:
                self._state = "stalled"
                self.held.set()


class SocketRelay(Relay):
    """A relay to a Unix socket: PostgreSQL listens there and nowhere else."""

    def __init__(self, path):
        super().__init__()
        self.path = str(path)

    def _reach(self):
        link = _UnixLink(socket.AF_UNIX)
        try:
            link.connect(self.path)
        except OSError:
            link.close()
            return None
        return link


class _UnixLink(socket.socket):
    """Has no Nagle to switch off."""

    def setsockopt(self, *_):
        pass


def _close(one):
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    one.close()
