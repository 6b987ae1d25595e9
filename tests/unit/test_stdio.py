"""The desk where clients leave streams, at a pace that the test sets."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from governor.supervisor.stdio import LEFT_MAX, SILENT_MAX, StdioDesk
from governor.wire.client import Stdio
from workers import channel


def test_who_is_let_in_before_it_speaks_is_heard(tmp_path: Path) -> None:
    path = str(tmp_path / "stdio")
    desk = StdioDesk(path)
    clients = range(SILENT_MAX + 36)
    assert len(clients) < LEFT_MAX
    for number in clients:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.connect(path)
            desk.tend()  # nobody has said anything yet
            channel.send(connection, Stdio(f"t{number}"), [0, 1, 2])
    for number in clients:
        with desk.collect(f"t{number}") as streams:
            assert all(
                os.path.sameopenfile(theirs, ours)
                for theirs, ours in zip(streams, range(3), strict=True)
            )
    desk.close()
