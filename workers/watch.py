"""Waiting in one listener alone, without being deaf to everything else.

Asking epoll before each trapped call costs a third of its answer, and more where the kernel wakes
whoever waits in epoll on another CPU, as it likes to. While only one listener has traps, the
agent therefore waits in that one's RECV, and a thread here watches the rest. Nothing wakes that
thread when a watch begins or ends, so that a watch pays after a few calls.
"""

from __future__ import annotations

import select
import signal
import threading

from workers.listener import Bell

RING = signal.SIGALRM
_AT_ONCE = 1e-6
_RING_AGAIN = 0.001


class Watch(Bell):
    """Rings the main thread out of a blocking call when ``epoll`` has anything for it.

    The bell is a timer's signal. One that comes just before the blocking call would be missed,
    so it comes again until it is answered.
    """

    def __init__(self, epoll: select.epoll) -> None:
        self.rang = True
        self._watching = False
        self._watched = epoll
        self._door = select.epoll()
        self._door.register(self._watched, 0)
        signal.signal(RING, self._ring)
        # For the main thread only, even where whoever started the governor had it blocked.
        signal.pthread_sigmask(signal.SIG_BLOCK, [RING])
        threading.Thread(target=self._serve, daemon=True).start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [RING])

    def begin(self, longest: float) -> None:
        """Watch from now on, and ring after ``longest`` seconds in any case."""
        self.rang = False
        self._watching = True
        signal.setitimer(signal.ITIMER_REAL, longest, _RING_AGAIN)
        # Once: what is there stays there until it is answered.
        self._door.modify(self._watched, select.EPOLLIN | select.EPOLLONESHOT)

    def end(self) -> None:
        """Answer the bell, or call the watch off."""
        self._watching = False
        self._door.modify(self._watched, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _ring(self, *_: object) -> None:
        """In the main thread: perhaps for a watch before this one, which does no harm."""
        self.rang = True
        if not self._watching:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _serve(self) -> None:
        while True:
            self._door.poll()
            if self._watching:
                signal.setitimer(signal.ITIMER_REAL, _AT_ONCE, _RING_AGAIN)
