"""How metrics are served."""

from __future__ import annotations

from typing import Final, NamedTuple

HOST: Final = "127.0.0.1"
KEEP: Final = 60.0


class Serving(NamedTuple):
    """Where metrics are served, to whom, and for how long those of what is gone.

    ``port``: 0 for any free one. ``tls_cert``, ``tls_key``: files in PEM, the key by default in
    that of the certificate; without a certificate there is no TLS. ``auth``: a file with a line
    ``user:password`` for everybody who may ask, which only its owner can read; without one
    everybody may who can connect. ``keep``: seconds for which a removed container and a finished
    job keep their last figures.
    """

    port: int = 0
    host: str = HOST
    tls_cert: str | None = None
    tls_key: str | None = None
    auth: str | None = None
    keep: float = KEEP

    @property
    def url(self) -> str:
        """Where they are."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.tls_cert else ''}://{host}:{self.port}/metrics"
