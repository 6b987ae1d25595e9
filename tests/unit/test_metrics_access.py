"""Who may ask for metrics: passwords, TLS, and peers that do nothing."""

from __future__ import annotations

import base64
import errno
import gzip
import http.client
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from governor.errors import GovernorError
from governor.metrics import Exporter
from governor.metrics import server as server_module
from governor.serving import Serving
from tests.capabilities import need

EMPTY = {
    "blocks": [],
    "hierarchies": [],
    "jobs": [],
    "work": [[], [[0] * 15, [0] * 15], 0, 0],
    "restarts": 0,
    "spawner_restarts": 0,
    "ended": [0, 0],
    "state": ("", ""),
}


@contextmanager
def exporting(serving: Serving) -> Iterator[Exporter]:
    exporter = Exporter(lambda shapes, keep: EMPTY, serving)
    try:
        yield exporter
    finally:
        exporter.close()


def ask(
    port: int, context: ssl.SSLContext | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection: http.client.HTTPConnection
    if context is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    else:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=context)
    try:
        connection.request("GET", "/metrics", headers=headers or {})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def basic(text: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


@pytest.fixture
def passwords(tmp_path: Path) -> Path:
    file = tmp_path / "passwords"
    file.write_text("prometheus:long enough\n\nme:a:b\n")
    file.chmod(0o600)
    return file


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    openssl = shutil.which("openssl")
    need(openssl is not None, "openssl, which makes a certificate, is not there")
    assert openssl is not None
    place = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        cwd=place,
        check=True,
        capture_output=True,
    )
    return place / "cert.pem", place / "key.pem"


@pytest.fixture
def tls(certificate: tuple[Path, Path]) -> Serving:
    return Serving(tls_cert=str(certificate[0]), tls_key=str(certificate[1]))


def test_only_who_has_a_password(passwords: Path) -> None:
    with exporting(Serving(auth=str(passwords))) as exporter:
        for allowed in ("prometheus:long enough", "me:a:b"):
            assert ask(exporter.port, headers=basic(allowed))[0] == 200
        for refused in (
            {},
            basic("me:a"),
            basic("me:a:b:"),
            basic(""),
            {"Authorization": "Basic é"},
        ):
            status, headers, body = ask(exporter.port, headers=refused)
            assert (status, b"governor_" in body) == (401, False)
            assert headers["WWW-Authenticate"].startswith("Basic ")
        bearer = {"Authorization": basic("me:a:b")["Authorization"].replace("Basic", "Bearer")}
        assert ask(exporter.port, headers=bearer)[0] == 401


@pytest.mark.parametrize(
    ("text", "mode", "number", "words"),
    [
        ("a:b\n", 0o644, errno.EACCES, "others can read these passwords"),
        ("a:b\nnonsense\n", 0o600, errno.EINVAL, "line 2 is not user:password"),
        (":b\n", 0o600, errno.EINVAL, "line 1 is not user:password"),
        ("\n", 0o600, errno.EINVAL, "nobody may ask"),
    ],
)
def test_a_file_of_passwords_that_will_not_do(
    tmp_path: Path, text: str, mode: int, number: int, words: str
) -> None:
    file = tmp_path / "passwords"
    file.write_text(text)
    file.chmod(mode)
    with pytest.raises(GovernorError, match=words) as caught:
        Exporter(lambda shapes, keep: EMPTY, Serving(auth=str(file)))
    assert caught.value.errno == number
    assert str(file) in caught.value.message


def test_tls(tls: Serving, certificate: tuple[Path, Path]) -> None:
    context = ssl.create_default_context(cafile=str(certificate[0]))
    with exporting(tls) as exporter:
        status, _, body = ask(exporter.port, context)
        assert (status, b"governor_build_info" in body) == (200, True)
        with pytest.raises((http.client.HTTPException, OSError)):
            ask(exporter.port)  # nothing in clear text


def test_key_and_certificate_in_one_file(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(certificate[0].read_bytes() + certificate[1].read_bytes())
    context = ssl.create_default_context(cafile=str(certificate[0]))
    with exporting(Serving(tls_cert=str(both))) as exporter:
        assert ask(exporter.port, context)[0] == 200


@pytest.mark.parametrize(
    ("cert", "key", "number", "words"),
    [
        ("absent.pem", None, errno.ENOENT, "absent.pem: No such file"),
        ("rot.pem", None, errno.EINVAL, "rot.pem: not a certificate"),
        (None, "rot.pem", errno.EINVAL, "of no use without"),
    ],
)
def test_a_certificate_that_will_not_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cert: str | None,
    key: str | None,
    number: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rot.pem").write_text("rot")
    with pytest.raises(GovernorError, match=words) as caught:
        Exporter(lambda shapes, keep: EMPTY, Serving(tls_cert=cert, tls_key=key))
    assert caught.value.errno == number


def test_who_does_not_shake_hands_is_in_nobodys_way(
    tls: Serving, certificate: tuple[Path, Path]
) -> None:
    context = ssl.create_default_context(cafile=str(certificate[0]))
    with exporting(tls) as exporter, ExitStack() as stack:
        for begun in (b"", b"\x16\x03\x01", b"GET /metrics HTTP/1.0\r\n\r\n"):
            peer = stack.enter_context(socket.create_connection(("127.0.0.1", exporter.port)))
            peer.sendall(begun)
        assert ask(exporter.port, context)[0] == 200


@pytest.mark.parametrize("by_tls", [False, True])
def test_the_oldest_has_to_go_when_there_are_many(
    monkeypatch: pytest.MonkeyPatch,
    by_tls: bool,
    tls: Serving,
    certificate: tuple[Path, Path],
) -> None:
    monkeypatch.setattr(server_module, "CONNECTIONS_MAX", 5)
    context = ssl.create_default_context(cafile=str(certificate[0])) if by_tls else None
    with exporting(tls if by_tls else Serving()) as exporter, ExitStack() as stack:
        peers = []
        for _ in range(5):
            peer = stack.enter_context(socket.create_connection(("127.0.0.1", exporter.port), 60))
            peers.append(peer)
        for _ in range(5):
            assert ask(exporter.port, context)[0] == 200
        assert peers[0].recv(1) == b""  # ended long before its time


def test_a_silent_peer_is_left_alone_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "PATIENCE", 0.1)
    monkeypatch.setattr(server_module._Handler, "timeout", 0.1)
    with (
        exporting(Serving()) as exporter,
        socket.create_connection(("127.0.0.1", exporter.port), 60) as peer,
    ):
        assert peer.recv(1) == b""


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [("gzip", True), ("br, GZIP;q=0.5", True), ("gzip;q=0", False), ("identity", False)],
)
def test_gzip_for_those_who_take_it(accepted: str, packed: bool) -> None:
    with exporting(Serving()) as exporter:
        _, headers, body = ask(exporter.port, headers={"Accept-Encoding": accepted})
        clear = ask(exporter.port)[2]
    assert (headers["Content-Encoding"] == "gzip") is packed
    assert int(headers["Content-Length"]) == len(body)
    assert (gzip.decompress(body) if packed else body) == clear


def test_another_address() -> None:
    with exporting(Serving(host="127.0.0.2")) as exporter:
        with socket.create_connection(("127.0.0.2", exporter.port), 60):
            pass
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", exporter.port), 60)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_an_address_of_another_machine(host: str) -> None:
    with pytest.raises(GovernorError, match=f"{host} is no address of this machine") as caught:
        Exporter(lambda shapes, keep: EMPTY, Serving(host=host))
    assert caught.value.errno in (errno.EADDRNOTAVAIL, errno.EINVAL)


@pytest.mark.parametrize(
    ("serving", "url"),
    [
        (Serving(9464), "http://127.0.0.1:9464/metrics"),
        (Serving(1, "::1", tls_cert="x"), "https://[::1]:1/metrics"),
    ],
)
def test_where_they_are(serving: Serving, url: str) -> None:
    assert serving.url == url


def test_arguments_say_how(tmp_path: Path) -> None:
    import argparse

    from governor.cli.arguments import add_metrics, serving

    def parsed(*arguments: str) -> Any:
        parser = argparse.ArgumentParser(exit_on_error=False)
        add_metrics(parser)
        return serving(parser.parse_args(arguments))

    assert parsed() is None
    assert parsed("--metrics", "9464") == Serving(9464)
    assert parsed("--metrics", "[::1]:9464", "--metrics-keep", "5m") == Serving(
        9464, "::1", keep=300
    )
    assert parsed("--metrics", "host:1", "--metrics-auth", "x").auth == os.path.abspath("x")
    with pytest.raises(GovernorError, match="--metrics-auth is for --metrics"):
        parsed("--metrics-auth", "x")
    for rot in (":1", "1:2:3", "host:", "0", "host:65536"):
        with pytest.raises(argparse.ArgumentError):
            parsed("--metrics", rot)
