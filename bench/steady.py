"""What must not grow, fail or starve: many executions, many that wait, a tenant that hogs."""

import asyncio
import json
import threading
import time

import machine
from server import Server

TENANTS = 20


class SlowUpstream:
    """An HTTP server on loopback that answers every request after `seconds`; thousands at once."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.waiting = self.most = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self):
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=4096))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()

    async def _serve(self, reader, writer):
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.waiting += 1
                self.most = max(self.most, self.waiting)
                await asyncio.sleep(self.seconds)
                self.waiting -= 1
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\nslow")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def _post(port, request):
    """One `POST /v1/execute` on a connection of its own; the `status` of the answer, 0 when it broke."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return 0
    try:
        lines = [f"{name}: {value}" for name, value in request["headers"].items()]
        body = request["body"].encode()
        head = "\r\n".join(["POST /v1/execute HTTP/1.1", "host: bench", "connection: close", f"content-length: {len(body)}", *lines])
        writer.write(head.encode() + b"\r\n\r\n" + body)
        answer = await reader.read()
        return json.loads(answer.partition(b"\r\n\r\n")[2])["status"]
    except (OSError, ValueError, KeyError):
        return 0
    finally:
        writer.close()


def post_all(port, requests, at_once=None):
    """All of them, at most `at_once` at a time; their statuses."""

    async def gather():
        places = asyncio.Semaphore(at_once or len(requests))

        async def one(request):
            async with places:
                return await _post(port, request)

        return await asyncio.gather(*(one(request) for request in requests))

    return asyncio.run(gather())


def endurance(folder, components, count, steps=20, path="/"):
    """`count` executions of twenty tenants: memory after each step, and its slope.

    The slope is that of anonymous memory at rest: what guests leave mapped of their images comes and goes with
    the slots, and so does, with pages kept, the memory of a slot that is used for the first time.
    """
    with Server(folder, keep_pages="off") as server:
        installs = [(f"tenant-{i}", server.add(components[i % len(components)], f"tenant-{i}")) for i in range(TENANTS)]
        for tenant, content_hash in installs[: len(components)]:
            server.warm(content_hash, tenant, path, 1)
        failed, points, resident = 0, [], []

        def run(number):
            calls = [server.request(content_hash, tenant, path) for tenant, content_hash in installs]
            return sum(status != 200 for status in post_all(server.algad.port, (calls * (number // TENANTS + 1))[:number], 8))

        failed += run(max(10 * TENANTS, count // 3))  # caches, pools and the allocator fill first
        for step in range(steps):
            failed += run(count // steps)
            server.rest()
            points.append(((step + 1) * (count // steps), machine.status(server.pid, "RssAnon")))
            resident.append(machine.status(server.pid, "VmRSS") >> 10)
        return {
            "what": "endurance", "executions": count, "tenants": TENANTS, "rss_mib": resident,
            "anonymous_kib": [kib for _, kib in points], "kib_per_1000": slope(points) * 1000, "threads": machine.status(server.pid, "Threads"), "failed": failed,
        }  # fmt: skip


def slope(points):
    """Least squares: y per x."""
    if len(points) < 2:
        return 0.0
    middle_x = sum(x for x, _ in points) / len(points)
    middle_y = sum(y for _, y in points) / len(points)
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread if spread else 0.0


def waiting(folder, component, count, seconds=8):
    """`count` guests that wait for a slow API at once."""
    more = f"[limits]\nexecutions = {count + 8}\nexecutions_per_tenant = {count + 8}\nexecutions_per_install = {count + 8}\nqueue_wait = \"30s\"\n"
    more += f"[egress]\nmax_in_flight = {count + 8}\nconnections_per_partition = {count + 8}\n"
    # As shipped: so many slots keep their pages only on a machine with memory for all of them.
    with SlowUpstream(seconds) as upstream, Server(folder, more, keep_pages="auto") as server:
        origin = f"http://127.0.0.1:{upstream.port}"
        egress = [origin, f"cidr:127.0.0.1/32:{upstream.port}"]
        content_hash = server.add(component, "tenant")
        path = f"/fetch?url={origin}/slow"
        server.warm(content_hash, path=path, times=2, egress=egress)
        request = server.request(content_hash, "tenant", path, egress)
        before = machine.status(server.pid, "VmRSS")
        seen = {"threads": machine.status(server.pid, "Threads"), "rss": before}
        threads = seen["threads"]
        over = threading.Event()

        def watch():
            while not over.wait(0.2):
                for name, field in (("threads", "Threads"), ("rss", "VmRSS")):
                    seen[name] = max(seen[name], machine.status(server.pid, field))

        watcher = threading.Thread(target=watch)
        watcher.start()
        statuses = post_all(server.algad.port, [request] * count)
        over.set()
        watcher.join()
        return {
            "what": "waiting", "guests": count, "most_at_once": upstream.most, "threads": (threads, seen["threads"]),
            "failed": sum(status != 200 for status in statuses), "rss_mib": (before >> 10, seen["rss"] >> 10),
            "kib_per_guest": (seen["rss"] - before) / max(1, upstream.most),
        }  # fmt: skip


# What the quiet tenant asks for: as much as it gets, which without hogs is the whole machine, and what
# is well within its share, two callers that rest between requests.
DEMANDS = {"saturating": 0, "within its share": 10}


def hogs(folder, victim, hog, count=200, seconds=4, rounds=5):
    """p99 of another tenant, alone and beside a tenant with `count` endless loops, by turns: the median of the rounds' ratios."""
    with Server(folder, '[limits]\nexecutions_per_install = 64\ncpu_time = "1s"\nqueue_wait = "1s"\n') as server:
        quiet, greedy = server.add(victim, "quiet"), server.add(hog, "greedy")
        server.warm(quiet, "quiet")
        server.warm(greedy, "greedy", "/echo", 1)
        pairs = {demand: [] for demand in DEMANDS}
        for _ in range(rounds):
            for demand, pause_ms in DEMANDS.items():
                request, busy = server.request(quiet, "quiet"), server.request(greedy, "greedy", "/loop")  # their grants last a minute
                alone = server.load([request], 2, seconds, pause_ms=pause_ms)
                over = threading.Event()
                thread = threading.Thread(target=post_until, args=(server.algad.port, busy, count, over))
                thread.start()
                time.sleep(1)
                pairs[demand].append((alone, server.load([request], 2, seconds, pause_ms=pause_ms)))
                over.set()
                thread.join()
                server.rest()
        return {"what": "hogs", "hogs": count, "demands": {demand: _compared(found) for demand, found in pairs.items()}}


def _compared(pairs):
    """What of `alone` and `beside` says how much a neighbour notices."""
    ratio = lambda name: machine.median([beside[name] / max(1, alone[name]) for alone, beside in pairs])  # noqa: E731
    return {
        "rounds": [(alone["p99_us"], beside["p99_us"]) for alone, beside in pairs], "alone": pairs[len(pairs) // 2][0],
        "beside": pairs[len(pairs) // 2][1], "failed": sum(beside["failed"] for _, beside in pairs),
        "p50_ratio": ratio("p50_us"), "p99_ratio": ratio("p99_us"), "rate_ratio": ratio("per_second"),
    }  # fmt: skip


def post_until(port, request, count, over):
    """Posts `request` from `count` callers, again and again, until `over` is set; what runs then is left by its caller, and so ended."""

    async def one():
        while True:
            await _post(port, request)

    async def all_of_them():
        callers = [asyncio.create_task(one()) for _ in range(count)]
        await asyncio.to_thread(over.wait)
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)

    asyncio.run(all_of_them())
