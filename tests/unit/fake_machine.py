"""A machine of paper: directories that read as /sys/devices/system and /proc/self/status do."""

from __future__ import annotations

from pathlib import Path

from governor.subsystem.machine import Machine


class FakeMachine(Machine):
    """``usable`` never changes; ``online`` says what is there now."""

    def __init__(self, cpus: str = "0-3", mems: str = "0-2") -> None:
        from governor.units import parse_cpus

        self._usable = {"cpus": parse_cpus(cpus), "mems": parse_cpus(mems)}
        self.online = dict(self._usable)

    def usable(self, resource: str) -> frozenset[int]:
        return self._usable[resource]

    def present(self, resource: str) -> frozenset[int]:
        return self.online[resource]


def write_machine(path: Path, cpus: str, mems: str, allowed: str | None = None) -> Machine:
    """The files of a machine with these online; ``allowed`` are the nodes we may use."""
    for name, text in (("cpu/online", cpus), ("node/has_memory", mems)):
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(f"{text}\n")
    lines = ["Name:\tx\n"] + ([f"Mems_allowed_list:\t{allowed}\n"] if allowed else [])
    (path / "status").write_text("".join(lines))
    return Machine(str(path), str(path / "status"))
