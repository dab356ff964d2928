"""A restart with many published extensions: nothing is compiled, and the first answers come soon."""

import re
import time

import machine
from server import Server


def variant(component, number):
    """Another component of the same behaviour: a custom section tells it from the others."""
    payload = bytes([4]) + b"nth." + str(number).encode()
    return component.read_bytes() + bytes([0, len(payload)]) + payload


def many(folder, large, small, count):
    """One large component and `count` - 1 small ones, called once each, then a restart."""
    folder.mkdir(parents=True)
    files = [large]
    for number in range(1, count):
        files.append(folder / f"variant-{number}.wasm")
        files[-1].write_bytes(variant(small, number))
    with Server(folder / "server") as server:
        hashes = [server.add(file, "tenant", name=f"nr{number}") for number, file in enumerate(files)]
        for content_hash in hashes:
            server.warm(content_hash, times=1)
        compiled = compiles(server)
        warm = [machine.median([server.call(server.request(content_hash, "tenant")) for _ in range(5)]) for content_hash in hashes]
        server.algad.stop()
        begun = time.perf_counter()
        server.algad.start()
        ready = time.perf_counter() - begun
        first = [server.call(server.request(content_hash, "tenant")) for content_hash in hashes]
        again = compiles(server)
    more = sorted(1000 * (one - usual) for one, usual in zip(first, warm))
    return {"extensions": count, "compiled_before": compiled, "compiled_after": again, "ready_s": ready,
            "first_more_ms": {"median": machine.median(more), "most": more[-1]}}  # fmt: skip


def compiles(server):
    """How many components this process has compiled."""
    found = re.search(r"^alga_compile_seconds_count(?:\{[^}]*\})? (\d+)", server.algad.client().get("/metrics").text(), re.M)
    return int(found.group(1)) if found else 0
