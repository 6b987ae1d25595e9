"""The governor of a Dask worker."""

from __future__ import annotations

import errno
import threading

from governor.api.governor import Governor
from governor.api.leaf import Leaves
from governor.errors import GovernorError
from governor.serving import Serving

PORTS = 64
"""So many ports are tried for metrics, one for each worker of a machine."""


class Station:
    """A worker's governor, and another one when that has died; from any thread.

    ``serving``: where its metrics are, None where they are not.
    """

    serving: Serving | None = None

    def __init__(self, metrics: int | Serving | None) -> None:
        """Start it. Raises GovernorError."""
        self._metrics = Serving(metrics) if isinstance(metrics, int) else metrics
        self._lock = threading.Lock()
        self._closed = False
        self._start()

    def _start(self) -> None:
        self.governor = Governor()
        try:
            self._leaves = Leaves(self.governor)
            if self._metrics is not None:
                self.serving = serve(self.governor, self._metrics)
        except BaseException:
            self.governor.close()
            raise

    def find(self) -> tuple[Governor, Leaves]:
        """The governor there is, and what makes containers there. GovernorError: none any more."""
        with self._lock:
            if self._closed:
                raise GovernorError(errno.ESHUTDOWN, "this worker's governor has been ended")
            if self.governor.client.is_gone:
                self.governor.close()
                self._start()
            return self.governor, self._leaves

    def close(self) -> None:
        """End it and all its jobs."""
        with self._lock:
            self._closed = True
            self.governor.close()


def serve(governor: Governor, metrics: Serving) -> Serving:
    """Serve metrics on a port, or on one of the next ones: a machine has several workers.

    Where they are served then. EADDRINUSE: all are in use.
    """
    last = metrics.port + PORTS - 1 if metrics.port else 0
    for port in range(metrics.port, last + 1):
        try:
            governor.serve_metrics(metrics._replace(port=port))
            return metrics._replace(port=governor.metrics_port or port)
        except GovernorError as error:
            if error.errno != errno.EADDRINUSE or port == last:
                raise
    raise AssertionError("there is a port to try")
