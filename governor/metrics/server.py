"""The small HTTP server: a thread per connection, with TLS and passwords where they are wanted."""

from __future__ import annotations

import base64
import binascii
import contextlib
import errno
import hmac
import os
import socket
import socketserver
import stat
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, Final

from governor import __version__
from governor.errors import GovernorError
from governor.serving import Serving

if TYPE_CHECKING:
    import ssl

PATH: Final = "/metrics"
PATIENCE: Final = 10.0
"""Seconds a peer may be silent before its connection is closed."""
CONNECTIONS_MAX: Final = 64
"""Connections at once; another one ends the oldest."""

_PAUSE: Final = 0.1
_BACKLOG: Final = 64

Answer = Callable[[str, bool], "tuple[Sequence[bytes], str]"]
"""Called with what the peer accepts and whether compressed; gives the body and its type."""


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A thread per connection, so that a silent peer is in nobody's way."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = _BACKLOG

    def __init__(self, serving: Serving, answer: Answer) -> None:
        """Raises the GovernorError of `governor.metrics.Exporter`."""
        self._stopping = threading.Event()
        self._context = _context(serving)
        self.passwords = None if serving.auth is None else _passwords(serving.auth)
        self.answer = answer
        # Connections, the oldest first, and the sockets that have their descriptors now.
        self._open: dict[socket.socket, socket.socket] = {}
        self._lock = threading.Lock()
        if ":" in serving.host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((serving.host, serving.port), _Handler)
        except OverflowError:
            raise GovernorError(
                errno.EINVAL, f"{serving.port} is not a port for metrics: allowed are 0 to 65535"
            ) from None
        except OSError as error:
            raise _unserved(serving, error) from None
        self.port: int = self.server_address[1]

    def serve(self) -> None:
        """Accept connections until `stop`; unlike `serve_forever`, without waking in between."""
        while not self._stopping.is_set():
            try:
                request, address = self.get_request()
            except OSError:  # stopped; or out of descriptors, or the peer has gone already
                self._stopping.wait(_PAUSE)
                continue
            self._admit(request)
            try:
                self.process_request(request, address)
            except RuntimeError:  # no thread to be had
                self.shutdown_request(request)

    def _admit(self, connection: socket.socket) -> None:
        """End the oldest connection when there are many: it has had its time."""
        with self._lock:
            if len(self._open) >= CONNECTIONS_MAX:
                oldest = self._open.pop(next(iter(self._open)))
                with contextlib.suppress(OSError):  # it has gone by itself
                    # Not an SSLSocket's own, which its thread is about to use.
                    socket.socket.shutdown(oldest, socket.SHUT_RDWR)
            self._open[connection] = connection

    def shutdown_request(self, request: Any) -> None:
        """A connection is over."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection, in a thread of its own: whoever is slow to shake hands is alone."""
        request.settimeout(PATIENCE)
        if self._context is None:
            super().finish_request(request, client_address)
            return
        with self._context.wrap_socket(
            request, server_side=True, do_handshake_on_connect=False
        ) as wrapped:
            with self._lock:
                if request not in self._open:
                    return
                self._open[request] = wrapped  # which has taken over the descriptor
            wrapped.do_handshake()
            super().finish_request(wrapped, client_address)

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
    server: Server

    def do_GET(self) -> None:
        """Send the metrics.

        404 for any other path, 401 for whoever has no password, 503 when there are no figures.
        """
        if not self._may_ask():
            words = [b"metrics are for those who have a password\n"]
            self._send(
                HTTPStatus.UNAUTHORIZED, words, ("WWW-Authenticate", 'Basic realm="metrics"')
            )
            return
        if self.path.partition("?")[0] != PATH:
            self._send(HTTPStatus.NOT_FOUND, [f"metrics are at {PATH}\n".encode()])
            return
        packed = _takes_gzip(self.headers.get("Accept-Encoding", ""))
        try:
            body, kind = self.server.answer(self.headers.get("Accept", ""), packed)
        except GovernorError as error:
            self._send(HTTPStatus.SERVICE_UNAVAILABLE, [f"{error.message}\n".encode()])
        except (CancelledError, RuntimeError):
            self._send(HTTPStatus.SERVICE_UNAVAILABLE, [b"governor is ending\n"])
        else:
            encoding = [("Content-Encoding", "gzip")] if packed else []
            self._send(HTTPStatus.OK, body, *encoding, kind=kind)

    do_HEAD = do_GET

    def _may_ask(self) -> bool:
        passwords = self.server.passwords
        if passwords is None:
            return True
        scheme, _, given = self.headers.get("Authorization", "").partition(" ")
        try:
            decoded = base64.b64decode(given, validate=True)
        except (binascii.Error, ValueError):
            return False
        # All are compared, in the same time each.
        same = [hmac.compare_digest(decoded, known) for known in passwords]
        return scheme.lower() == "basic" and any(same)

    def _send(
        self,
        status: HTTPStatus,
        body: Sequence[bytes],
        *headers: tuple[str, str],
        kind: str = "text/plain",
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(sum(map(len, body))))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            for part in body:
                self.wfile.write(part)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing: standard error is the job's."""


def _takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding has gzip, and not with a weight of 0."""
    for offer in accepted.lower().split(","):
        name, _, weight = offer.partition(";")
        if name.strip() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _context(serving: Serving) -> ssl.SSLContext | None:
    """What TLS needs. EINVAL, or the errno of a file that cannot be read, names the file."""
    if serving.tls_cert is None:
        if serving.tls_key is not None:
            raise GovernorError(
                errno.EINVAL, "a key for the metrics is of no use without --metrics-tls-cert"
            )
        return None
    import ssl

    for file in filter(None, (serving.tls_cert, serving.tls_key)):
        _read(file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # An empty password, so that nobody is asked for one at a terminal.
        context.load_cert_chain(serving.tls_cert, serving.tls_key, password="")
    except ssl.SSLError as error:
        files = " and ".join(filter(None, (serving.tls_cert, serving.tls_key)))
        raise GovernorError(
            errno.EINVAL,
            f"{files}: not a certificate and its key in PEM ({error.reason or error})",
        ) from None
    return context


def _passwords(path: str) -> list[bytes]:
    """The ``user:password`` of everybody who may ask.

    EACCES: others can read the file. EINVAL: it says something else, or nothing.
    """
    text = _read(path)
    if os.stat(path).st_mode & (stat.S_IRGRP | stat.S_IROTH):
        raise GovernorError(errno.EACCES, f"{path}: others can read these passwords; chmod 600")
    lines = [line for line in text.splitlines() if line.strip()]
    for number, line in enumerate(lines, 1):
        user, colon, password = line.partition(b":")
        if not (user and colon and password):
            raise GovernorError(errno.EINVAL, f"{path}: line {number} is not user:password")
    if not lines:
        raise GovernorError(errno.EINVAL, f"{path}: nobody may ask; write a line user:password")
    return lines


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        number = error.errno or errno.EIO
        raise GovernorError(
            number, f"cannot serve metrics: {path}: {os.strerror(number)}"
        ) from None


def _unserved(serving: Serving, error: OSError) -> GovernorError:
    number = error.errno or errno.EIO
    if isinstance(error, socket.gaierror):
        return GovernorError(
            errno.EINVAL, f"cannot serve metrics: {serving.host} is no address of this machine"
        )
    if number == errno.EADDRNOTAVAIL:
        reason = "is no address of this machine"
        return GovernorError(number, f"cannot serve metrics: {serving.host} {reason}")
    reason = "is in use" if number == errno.EADDRINUSE else os.strerror(number)
    message = (
        f"cannot serve metrics: port {serving.port} of {serving.host} {reason}; choose another"
    )
    return GovernorError(number, message)
