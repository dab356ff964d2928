"""Work that goes on beside a test, as users' does."""

import threading


class Repeated:
    """Within its `with` block calls each function again and again, on a thread of its own. A function that raises ends its
    thread; the block ends when every call has returned."""

    def __init__(self, *functions):
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._repeat, args=(function,)) for function in functions]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def end(self):
        """No call begins afterwards; some may still return."""
        self._over.set()

    def __exit__(self, *_):
        self.end()
        for thread in self._threads:
            thread.join()

    def _repeat(self, function):
        while not self._over.is_set():
            function()
