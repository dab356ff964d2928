"""Ports for servers that cannot choose one themselves and say which."""

import random
import socket
from pathlib import Path

_given = set()


def free_port():
    """A loopback port that nobody listens on, another one at each call. It is none of those that the kernel gives to
    outgoing connections and to port 0, so nobody takes it by chance before its server does, or while that restarts."""
    ephemeral, _ = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    highest = ephemeral - 1 if ephemeral > 12_000 else 65_535
    for _ in range(1000):
        port = random.randint(max(highest - 20_000, 2_000), highest)
        if port in _given:
            continue
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        _given.add(port)
        return port
    raise RuntimeError("no port is free")
