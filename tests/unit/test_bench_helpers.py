"""The benchmark's programs, where they cannot be compiled."""

from __future__ import annotations

from pathlib import Path

import pytest

from governor.bench.helpers import compiled_helpers
from governor.errors import GovernorError


def test_a_program_that_cannot_be_written_is_said_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho 'ld: No space left on device' >&2; exit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(GovernorError) as refused, compiled_helpers():
        pass
    assert refused.value.message == (
        f"{compiler} cannot compile loop.c into {tmp_path}/cache/governor/bench "
        "(where that is, XDG_CACHE_HOME says): ld: No space left on device"
    )
