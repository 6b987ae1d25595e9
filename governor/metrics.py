"""Metrics: every container's control files as Prometheus series, served on 127.0.0.1.

What a control file is called and means as a metric is in its subsystem's `Metric`; nothing
here knows a subsystem. Figures are read at each scrape, so a container's series end with it.

Imported only when metrics are asked for: prometheus_client takes longer than starting a job.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    UnknownMetricFamily,
)
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from governor import __version__, registry
from governor.errors import GovernorError
from governor.subsystem import Metric, Value, to_number

if TYPE_CHECKING:
    from governor.api import ContainerReport
    from governor.results import StatusReport

Containers = Callable[[], "list[ContainerReport]"]
Status = Callable[[], "StatusReport"]
State = Callable[[], tuple[str, str]]
"""See `governor.api.Governor.state`."""

HOST: Final = "127.0.0.1"
PATH: Final = "/metrics"
PATIENCE: Final = 10.0
"""Seconds a peer may be silent before its connection is closed."""

LEVELS: Final = ("enforced", "partial", "observed")
_WHERE: Final = ("hierarchy", "container")
_PAUSE: Final = 0.1
_BACKLOG: Final = 64
_NOT_IN_A_NAME: Final = re.compile(r"[^a-zA-Z0-9_]")


class Exporter:
    """Serves the metrics of ``containers()`` until `close`.

    ``port`` 0 is any free one; ``self.port`` is the one it became. ``containers`` is called at
    each scrape, always by the same thread. Raises GovernorError, with EADDRINUSE for a port
    that is taken, EACCES for one that is not for this user, EINVAL for one that is none.
    """

    def __init__(
        self,
        containers: Containers,
        port: int,
        status: Status | None = None,
        state: State | None = None,
    ) -> None:
        # One thread asks for all: a connection to the supervisor is kept for every thread.
        self._asking = ThreadPoolExecutor(1, thread_name_prefix="governor-metrics")
        families = CollectorRegistry(auto_describe=False)
        families.register(
            _Families(
                lambda: self._asking.submit(containers).result(),
                None if status is None else lambda: self._asking.submit(status).result(),
                None if state is None else lambda: self._asking.submit(state).result(),
            )
        )
        self._server = _bind(port, partial(_Handler, families))
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve, name="governor-metrics")
        _start_without_signals(self._thread)

    def close(self) -> None:
        """Serve nothing any more and free the port."""
        self._server.stop()
        self._thread.join()
        self._server.server_close()
        self._asking.shutdown(cancel_futures=True)


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A thread per connection, so that a silent peer is in nobody's way."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = _BACKLOG

    def __init__(self, port: int, handler: Any) -> None:
        self._stopping = threading.Event()
        super().__init__((HOST, port), handler)

    def serve(self) -> None:
        """Accept connections until `stop`; unlike `serve_forever`, without waking in between."""
        while not self._stopping.is_set():
            try:
                request, address = self.get_request()
            except OSError:  # stopped; or out of descriptors, or the peer has gone already
                self._stopping.wait(_PAUSE)
                continue
            try:
                self.process_request(request, address)
            except RuntimeError:  # no thread to be had
                self.shutdown_request(request)

    def stop(self) -> None:
        """Wake `serve` for the last time."""
        self._stopping.set()
        self.socket.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell of mistakes of ours; a peer that goes away in the middle is no news."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers one request, in the text format or in OpenMetrics as the peer prefers."""

    timeout = PATIENCE
    server_version = f"governor/{__version__}"

    def __init__(self, families: CollectorRegistry, *arguments: Any) -> None:
        self._families = families
        super().__init__(*arguments)

    def do_GET(self) -> None:
        """Send the metrics; 404 for any other path, 503 when the figures cannot be had."""
        if self.path.partition("?")[0] != PATH:
            self._send(HTTPStatus.NOT_FOUND, f"metrics are at {PATH}\n".encode())
            return
        encode, kind = _encoder(self.headers.get("Accept", ""))
        try:
            body = encode(self._families)
        except GovernorError as error:
            self._send(HTTPStatus.SERVICE_UNAVAILABLE, f"{error.message}\n".encode())
        except (CancelledError, RuntimeError):
            self._send(HTTPStatus.SERVICE_UNAVAILABLE, b"governor is ending\n")
        else:
            self._send(HTTPStatus.OK, body, kind)

    do_HEAD = do_GET

    def _send(self, status: HTTPStatus, body: bytes, kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing: standard error is the job's."""


class _Families(Collector):
    """All series, worked out anew at every scrape."""

    def __init__(
        self, containers: Containers, status: Status | None = None, state: State | None = None
    ) -> None:
        self._containers = containers
        self._status = status
        self._state = state
        self._known: dict[str, dict[str, Metric | None]] = {}

    def collect(self) -> Iterator[Family]:
        """What is exported now: the build, levels of enforcement, control files."""
        reports = self._containers()
        build = InfoMetricFamily("governor_build", "The version of governor that serves this.")
        build.add_metric([], {"version": __version__})
        yield build
        if self._status is not None:
            restarts = CounterMetricFamily(
                "governor_agent_restarts",
                "How often the process that enforces was replaced: it had died or did not answer.",
            )
            status = self._status()
            restarts.add_metric([], status.agent_restarts)
            yield restarts
            spawners = CounterMetricFamily(
                "governor_spawner_restarts",
                "How often the process that starts and reaps was replaced.",
            )
            spawners.add_metric([], status.spawner_restarts)
            yield spawners
        yield from self._recording()
        yield _levels(reports)
        families: dict[str, tuple[str, Any]] = {}
        for report in reports:
            for subsystem in report.level:
                metrics = self._metrics(subsystem)
                for file in files_of(subsystem, report.files):
                    self._add(families, subsystem, file, metrics.get(file), report)
        for _, family in families.values():
            yield family

    def _recording(self) -> Iterator[Family]:
        """Whether the state directory has everything; nothing where there is none."""
        path, failure = self._state() if self._state is not None else ("", "")
        if path:
            recording = GaugeMetricFamily(
                "governor_recording",
                "1 while everything is recorded in the state directory, 0 while it cannot be.",
            )
            recording.add_metric([], float(not failure))
            yield recording

    def _add(
        self,
        families: dict[str, tuple[str, Any]],
        subsystem: str,
        file: str,
        metric: Metric | None,
        report: ContainerReport,
    ) -> None:
        """Add a control file's value, unless it is no number or its name is another file's."""
        value = report.files[file]
        if metric is None and not isinstance(value, int) and value != "max":
            return  # text that looks like a number today may not tomorrow
        try:
            number = (metric.number if metric else to_number)(value)
        except ValueError:
            return
        name = family_name(subsystem, file, metric)
        if name not in families:
            families[name] = file, _family(name, file, metric)
        owner, family = families[name]
        if owner == file:
            family.add_metric((report.hierarchy, report.path), number)

    def _metrics(self, subsystem: str) -> dict[str, Metric | None]:
        """The metrics of a subsystem's control files; none of one that only others can load."""
        if subsystem not in self._known:
            try:
                files = registry.load(subsystem).populate()
            except GovernorError:
                files = {}
            self._known[subsystem] = {name: file.metric for name, file in files.items()}
        return self._known[subsystem]


def family_name(subsystem: str, file: str, metric: Metric | None) -> str:
    """What a control file's metric is called, without the ``_total`` of a counter."""
    own = metric.name if metric else file.removeprefix(f"{subsystem}.")
    parts = ["governor", subsystem, own, metric.unit if metric else ""]
    return _NOT_IN_A_NAME.sub("_", "_".join(filter(None, parts)))


def files_of(subsystem: str, files: dict[str, Value]) -> list[str]:
    """The control files of one subsystem among those of a container."""
    return [name for name in files if name.startswith(f"{subsystem}.")]


def _family(name: str, file: str, metric: Metric | None) -> Any:
    if metric is None:
        return UnknownMetricFamily(name, f"The control file {file}.", labels=_WHERE)
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    return kind(name, metric.help, labels=_WHERE, unit=metric.unit)


def _levels(reports: list[ContainerReport]) -> GaugeMetricFamily:
    """1 for the level that a subsystem has in a container, 0 for the other two."""
    family = GaugeMetricFamily(
        "governor_enforcement_level",
        "1 for the level at which the subsystem works in the container, 0 for the others.",
        labels=(*_WHERE, "subsystem", "level"),
    )
    for report in reports:
        for subsystem, level in report.level.items():
            for other in LEVELS:
                labels = (report.hierarchy, report.path, subsystem, other)
                family.add_metric(labels, float(other == level))
    return family


def _encoder(accept: str) -> tuple[Callable[[CollectorRegistry], bytes], str]:
    """The format the peer prefers, and what it is called; the text format where it talks rot."""
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):
        return choose_encoder("")


def _bind(port: int, handler: Any) -> _Server:
    try:
        return _Server(port, handler)
    except OverflowError:
        raise GovernorError(
            errno.EINVAL, f"{port} is not a port for metrics: allowed are 0 to 65535"
        ) from None
    except OSError as error:
        number = error.errno or errno.EIO
        reason = "is in use" if number == errno.EADDRINUSE else os.strerror(number)
        message = f"cannot serve metrics: port {port} of {HOST} {reason}; choose another"
        raise GovernorError(number, message) from None


def _start_without_signals(thread: threading.Thread) -> None:
    """Start a thread that leaves all signals to the others: one of them may wait for some."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        thread.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
