"""Metrics: every container's control files, jobs and the agent's work, for Prometheus.

Figures are read at each scrape. Imported only when metrics are asked for: prometheus_client
takes longer than starting a job.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from governor.metrics.exposition import Format, chosen, gzipped, plain
from governor.metrics.model import Model
from governor.metrics.server import Server
from governor.serving import Serving

Ask = Callable[[dict[str, int], float], dict[str, Any]]
"""Asks as `governor.wire.client.Scrape` does: the shapes that are known, and ``keep``."""


class Exporter:
    """Serves what ``ask`` gives until `close`.

    ``self.port`` is the port it became. ``ask`` is called at each scrape, always by the same
    thread. Raises GovernorError: EADDRINUSE for a port that is taken, EACCES for one that is not
    for this user or a file of passwords that others can read, EINVAL for one that is none and for
    files that say something else, EADDRNOTAVAIL for another machine's address, ENOENT.
    """

    def __init__(self, ask: Ask, serving: Serving) -> None:
        self._ask = ask
        self._keep = serving.keep
        self._model = Model()
        self._formats: dict[str, Format] = {}
        # One thread does all: a connection to the supervisor is kept for every thread, and the
        # model is for one at a time.
        self._working = ThreadPoolExecutor(1, thread_name_prefix="governor-metrics")
        self._server = Server(serving, self._answer)
        self.port = self._server.port
        self._thread = threading.Thread(target=self._server.serve, name="governor-metrics")
        _start_without_signals(self._thread)

    def _answer(self, accept: str, packed: bool) -> tuple[Sequence[bytes], str]:
        return self._working.submit(self._scrape, accept, packed).result()

    def _scrape(self, accept: str, packed: bool) -> tuple[Sequence[bytes], str]:
        answer = self._ask(self._model.shapes, self._keep)
        self._model.update(answer)
        encode, kind = chosen(accept)
        if kind not in self._formats:
            self._formats = {kind: Format(encode, kind)}
        pieces = self._formats[kind].pieces(answer, self._model)
        return (gzipped if packed else plain)(pieces), kind

    def close(self) -> None:
        """Serve nothing any more and free the port."""
        self._server.stop()
        self._thread.join()
        self._server.server_close()
        self._working.shutdown(cancel_futures=True)


def _start_without_signals(thread: threading.Thread) -> None:
    """Start a thread that leaves all signals to the others: one of them may wait for some."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        thread.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
