"""Browse a web site with several clients at once and check every page.

The site is the C headers of this machine, served on the loopback interface by a server
that starts one thread for each request.
"""

from __future__ import annotations

import http.client
import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import quote

SITE = Path("/usr/include")
VISITS = 4000
CLIENTS = 8


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files and keeps no log."""

    def log_message(self, format: str, *args: object) -> None:
        """Drop the message."""


class Server(ThreadingHTTPServer):
    """A server that lets every client queue, so that none waits for a repeated SYN."""

    request_queue_size = 4 * CLIENTS


def tour() -> list[Path]:
    """Return the pages to visit: all of the site in order of name, again and again."""
    pages = [p for p in sorted(SITE.rglob("*")) if p.is_file() and os.access(p, os.R_OK)]
    return list(itertools.islice(itertools.cycle(pages), VISITS))


def visit(page: Path, port: int) -> bool:
    """Fetch one page over a connection of its own; tell whether it is the file, byte for byte."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        connection.request("GET", quote(f"/{page.relative_to(SITE)}"))
        response = connection.getresponse()
        return response.status == 200 and response.read() == page.read_bytes()
    finally:
        connection.close()


def main() -> int:
    """Visit every page; return 0 when all came back whole."""
    wanted = tour()
    with Server(("127.0.0.1", 0), partial(QuietHandler, directory=str(SITE))) as server:
        Thread(target=server.serve_forever).start()
        try:
            with ThreadPoolExecutor(CLIENTS) as clients:
                good = sum(clients.map(partial(visit, port=server.server_port), wanted))
        finally:
            server.shutdown()
    print(f"{good} of {len(wanted)} pages came back whole to {CLIENTS} clients")
    return 0 if wanted and good == len(wanted) else 1


if __name__ == "__main__":
    raise SystemExit(main())
