"""Waiting in one listener alone, without being deaf to everything else.

Asking epoll before each trapped call costs a third of its answer. While only one listener
has traps, the agent therefore waits in that one's RECV, and a thread here watches the rest.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading

from workers.listener import Bell

RING = signal.SIGUSR1
_RING_AGAIN = 0.001


class Watch(Bell):
    """Rings the main thread out of a blocking call when ``epoll`` has anything for it.

    A signal that comes just before the blocking call would be missed, so the bell rings
    until it is answered.
    """

    def __init__(self, epoll: select.epoll) -> None:
        self._epoll = epoll
        self._poke = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        epoll.register(self._poke, select.EPOLLIN)
        self._begin = threading.Semaphore(0)
        self._answered = threading.Semaphore(0)
        self._main = threading.get_ident()
        self._longest = 0.0
        signal.signal(RING, lambda *_: None)
        threading.Thread(target=self._serve, daemon=True).start()

    def begin(self, longest: float) -> None:
        """Watch from now on, and ring after ``longest`` seconds in any case."""
        self.rang = False
        self._longest = longest
        self._begin.release()

    def end(self) -> None:
        """Answer the bell, or call the watch off."""
        if not self.rang:
            os.eventfd_write(self._poke, 1)
        self._answered.release()

    def _serve(self) -> None:
        while True:
            self._begin.acquire()
            self._epoll.poll(self._longest)
            self.rang = True
            signal.pthread_kill(self._main, RING)
            while not self._answered.acquire(timeout=_RING_AGAIN):
                signal.pthread_kill(self._main, RING)
            self._calm()

    def _calm(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it may not have been poked
            os.eventfd_read(self._poke)
