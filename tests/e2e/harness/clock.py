"""A clock of the calendar that a test moves, while clocks that measure go on: for one process and its children."""

import shutil
import subprocess
from pathlib import Path

from .tap import Skip

#: Moves the clock of the calendar, as every program of the process sees it, by the seconds that a file holds.
CLOCK = r"""
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long moved(void) {
  long by = 0;
  FILE *file = fopen(getenv("MOVED_CLOCK"), "re");
  if (file != NULL) {
    if (fscanf(file, "%ld", &by) != 1) by = 0;
    fclose(file);
  }
  return by;
}
int clock_gettime(clockid_t which, struct timespec *at) {
  // The kernel's own: looking the library's up would allocate, and a sanitizer's allocator looks at the clock.
  int status = (int)syscall(SYS_clock_gettime, which, at);
  if (status == 0 && which == CLOCK_REALTIME) at->tv_sec += moved();
  return status;
}
time_t time(time_t *out) {
  struct timespec at;
  clock_gettime(CLOCK_REALTIME, &at);
  if (out != NULL) *out = at.tv_sec;
  return at.tv_sec;
}
"""


class MovedClock:
    """Start a process with `environment` and its clock is off by what was last given to move()."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._moved = self.folder / "moved"
        self._library = self.folder / "clock.so"
        compiler = next(filter(None, map(shutil.which, ("clang-19", "cc"))), None)
        if compiler is None:
            raise Skip("no C compiler")
        source = self.folder / "clock.c"
        source.write_text(CLOCK)
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", self._library, source], check=True)
        self.move(0)

    @property
    def environment(self):
        return {"LD_PRELOAD": str(self._library), "MOVED_CLOCK": str(self._moved)}

    def move(self, seconds):
        """Takes effect at once. The file is never read half written."""
        fresh = self.folder / "moved.new"
        fresh.write_text(str(seconds))
        fresh.rename(self._moved)
