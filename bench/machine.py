"""What the machine is, and what a process used of it."""

import os
import platform
import re
import time
from pathlib import Path


def describe():
    """One line for the head of every result."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    name = re.sub(r"\s+", " ", model.group(1)) if model else platform.processor()
    return f"{os.cpu_count()} × {name}, {int(memory.group(1)) >> 20} GiB, Linux {platform.release()}"


def load_average():
    return os.getloadavg()[0]


def cpu_seconds(pid):
    """User and system time of a process, threads that have ended included, to the nanosecond."""
    clock = (~pid << 3) | 2  # MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED) of Linux
    return time.clock_gettime(clock)


def status(pid, name):
    """A number of /proc/PID/status: `VmRSS` in KiB, `Threads` as it is."""
    found = re.search(rf"^{name}:\s*(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found.group(1))


def pin(pid, processors):
    """Keeps every thread of a process on these processors."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), processors)


def everywhere():
    return set(range(os.cpu_count()))


def quantile(values, part):
    """The value below which `part` of the values lie; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0


def median(values):
    return quantile(values, 0.5)
