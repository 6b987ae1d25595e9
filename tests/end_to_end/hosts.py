"""Network namespaces as separate hosts, on a bridge of their own."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import uuid
from typing import Any, Self

from tests.capabilities import need
from tests.process.helpers import DEADLINE, PYTHONPATH


class Hosts:
    """So many hosts; this process reaches them over a bridge, at ``address(number)``.

    Skips where it is not allowed to make them. Everything is removed at exit.
    """

    def __init__(self, number: int) -> None:
        name = uuid.uuid4().hex[:6]
        # 198.18.0.0/15 is for tests between networks (RFC 2544); nobody is reached there.
        self._network = f"198.18.{os.getpid() % 250}"
        self._bridge = f"gov{name}"
        self._names = [f"governor-test-{name}-{host}" for host in range(number)]
        self._undo = contextlib.ExitStack()

    def address(self, host: int) -> str:
        """Where a host is."""
        return f"{self._network}.{host + 2}"

    def __enter__(self) -> Self:
        need(os.geteuid() == 0, "only root makes network namespaces", root=True)
        need(shutil.which("ip") is not None, "no ip(8): install iproute2")
        with self._undo:  # unless everything succeeds
            try:
                self._make_bridge()
            except subprocess.CalledProcessError as error:
                need(False, f"this host has no bridge for network namespaces: {error.stderr}")
            for host, name in enumerate(self._names):
                self._make_host(host, name)
            self._undo = self._undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def _make_bridge(self) -> None:
        ip("link", "add", self._bridge, "type", "bridge")
        self._undo.callback(ip, "link", "del", self._bridge)
        ip("address", "add", f"{self._network}.1/24", "dev", self._bridge)
        ip("link", "set", self._bridge, "up")

    def _make_host(self, host: int, name: str) -> None:
        cable = f"{self._bridge}v{host}"
        ip("netns", "add", name)
        self._undo.callback(ip, "netns", "del", name)
        ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
        self._undo.callback(ip, "link", "del", cable)
        ip("link", "set", cable, "master", self._bridge, "up")
        ip("-n", name, "address", "add", f"{self.address(host)}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", name, "link", "set", "lo", "up")

    def start(self, host: int, *command: str, **environment: str) -> subprocess.Popen[Any]:
        """Start a program on a host, in a directory of its own; it is ended at exit."""
        directory = self._undo.enter_context(tempfile.TemporaryDirectory())
        log = os.open(f"{directory}/log", os.O_WRONLY | os.O_CREAT)
        self._undo.callback(os.close, log)
        process = subprocess.Popen(
            ["ip", "netns", "exec", self._names[host], *command],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": PYTHONPATH, **environment},
            stdout=log,
            stderr=log,
        )
        self._undo.callback(_end, process)
        return process


def ip(*arguments: str) -> None:
    """ip(8). Raises CalledProcessError."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def _end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    try:
        process.wait(DEADLINE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
