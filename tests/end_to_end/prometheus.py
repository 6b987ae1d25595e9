"""A real Prometheus that scrapes one port of ours, with the rules that are shipped."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import pytest

from tests.capabilities import need
from tests.process.helpers import DEADLINE, ROOT

MONITORING = ROOT / "examples" / "monitoring"
INTERVAL = "300ms"
_LEAST_PORT = 10_000
_PAUSE = 0.1
"""Between two looks at a server that tells nobody when it has scraped."""


class Series(NamedTuple):
    """The labels of a series, and its points: time and value."""

    labels: dict[str, str]
    points: list[tuple[float, float]]


class Prometheus:
    """A server on 127.0.0.1; what shall be scraped has to listen at ``target``."""

    def __init__(self, directory: Path) -> None:
        self.target = free_port()
        self._base = f"http://127.0.0.1:{free_port()}"
        for file in MONITORING.glob("*.yml"):
            (directory / file.name).write_text(hurried(file.read_text(), self.target))
        command = [
            program("prometheus"),
            f"--config.file={directory}/prometheus.yml",
            f"--storage.tsdb.path={directory}/data",
            f"--web.listen-address={self._base.removeprefix('http://')}",
            # Otherwise five seconds pass before a target is scraped for the first time.
            "--scrape.discovery-reload-interval=100ms",
            "--log.level=warn",
        ]
        self._log = directory / "log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, text=True)
        try:
            self.eventually(self._is_scraping, "it scrapes")
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(DEADLINE)
        finally:
            self._process.kill()
            self._process.wait()

    def get(self, path: str, **parameters: object) -> Any:
        """The data that the HTTP API answers with. Raises AssertionError with its message."""
        asked = f"{self._base}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(asked, timeout=DEADLINE) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{parameters}: {error.read().decode()}") from None

    def query(self, expr: str, at: float | None = None) -> list[Series]:
        """What an expression gives now, or at that time."""
        when = {} if at is None else {"time": at}
        found = self.get("query", query=expr, **when)["result"]
        return [Series(each["metric"], [number(each["value"])]) for each in found]

    def course(self, expr: str, start: float, end: float, step: float = 0.2) -> list[Series]:
        """What an expression gives at these times: an end to come makes sure of what is now."""
        asked = {"query": expr, "start": start, "end": end, "step": step}
        found = self.get("query_range", **asked)["result"]
        return [Series(each["metric"], list(map(number, each["values"]))) for each in found]

    def value(self, expr: str) -> float:
        """The one value that an expression gives."""
        (series,) = self.query(expr)
        return series.points[0][1]

    def scraped(self) -> None:
        """Wait until what is true now has been scraped."""
        # Time stamps of scrapes are moved by up to two milliseconds.
        now = time.time() + 0.01
        asked = f"timestamp(up) > {now} and up == 1"
        self.eventually(lambda: bool(self.query(asked)), "it has scraped")

    def eventually(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something that only asking it shows."""
        end = time.monotonic() + DEADLINE
        while not condition():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < end, f"waited in vain until {what}: {self._log.read_text()}"
            time.sleep(_PAUSE)

    def _is_scraping(self) -> bool:
        try:
            return bool(self.query("up"))
        except (OSError, AssertionError):  # it does not listen, or is not ready
            return False


def number(point: list[Any]) -> tuple[float, float]:
    """A point of the HTTP API, which writes numbers as texts."""
    return float(point[0]), float(point[1])


def hurried(config: str, port: int) -> str:
    """A file of the example, for one governor at that port and for somebody in a hurry."""
    return config.replace(": 15s", f": {INTERVAL}").replace(":9464", f":{port}")


def program(name: str) -> str:
    """The path of a program of Debian's package prometheus."""
    path = shutil.which(name)
    need(path is not None, f"{name}, of Debian's package prometheus, is not there")
    assert path is not None
    return path


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens at, nor gets who does not ask for this one.

    Those of the kernel's choice are handed out meanwhile: to a listener, or to a client as its
    own, even to one that tries to connect to this very port (ip(7), ip_local_port_range).
    """
    chosen_by_kernel = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
    end = max(int(chosen_by_kernel.split()[0]), 2 * _LEAST_PORT)
    while True:
        port = random.SystemRandom().randrange(_LEAST_PORT, end)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """One for all tests, since it takes five seconds until its first scrape."""
    with Prometheus(tmp_path_factory.mktemp("prometheus")) as server:
        yield server
