"""The hierarchies and containers that a ``governor run`` command line asks for."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

from governor.cli.arguments import checked, completes
from governor.errors import GovernorError

if TYPE_CHECKING:
    import argparse

    from governor.api import Container, Governor

JOB_PATH = "/job"
"""The container of the job where the command line names none."""

DEFAULTS = {"numtasks": "load", "numfiles": "load", "cpuset": "cpu", "cpuacct": "cpu"}
"""Which hierarchy a shortcut's subsystem is bound to, unless --hierarchy says otherwise."""

OTHERS = "load"
"""The same for the other subsystems that properties can name."""

ALL = "all"


class Setting(NamedTuple):
    """A control file to write. ``place`` is (hierarchy, path), None for the job's own container."""

    place: tuple[str, str] | None
    file: str
    value: int | str


class Layout(NamedTuple):
    """Hierarchies by name, the containers the job goes into, and the settings, all checked."""

    hierarchies: dict[str, list[str]]
    places: dict[str, str]
    settings: list[tuple[tuple[str, str], str, int | str]]

    @classmethod
    def of(
        cls,
        hierarchies: list[tuple[str, list[str]]],
        places: list[tuple[str, str]],
        settings: list[Setting],
    ) -> Layout:
        """Work out what to mount and where the job goes; EINVAL, ENOENT for contradictions."""
        mounts = _mounts(hierarchies, settings)
        chosen = _places(places, mounts)
        for name, path in {DEFAULTS["cpuacct"]: JOB_PATH, DEFAULTS["numtasks"]: JOB_PATH}.items():
            if name in mounts and name not in dict(hierarchies):
                chosen.setdefault(name, path)
        return cls(mounts, chosen, [_resolve(setting, mounts, chosen) for setting in settings])

    @classmethod
    def exactly(cls, hierarchies: list[tuple[str, list[str]]], settings: list[Setting]) -> Layout:
        """What is given and nothing else; EINVAL, ENOENT for contradictions."""
        mounts = _given(hierarchies)
        return cls(mounts, {}, [_resolve(setting, mounts, {}) for setting in settings])

    def labels(self) -> list[str]:
        """The job's containers, as messages name them."""
        return [f"{name}:{path}" for name, path in self.places.items()]

    def build(self, governor: Governor, again: bool = False) -> list[Container]:
        """Mount, make containers and write settings; the containers the job goes into.

        ``again``: what is there as it is asked for stays. EEXIST for what is there otherwise.
        """
        if again:
            from governor.cli.relayout import check_same, find

            check_same(governor, self.hierarchies, self.settings)
        mounted = {
            name: governor.mount(name, subsystems) for name, subsystems in self.hierarchies.items()
        }
        made: dict[tuple[str, str], Container] = {}

        def make(name: str, path: str) -> Container:
            if (name, path) not in made:
                if path == "/":
                    made[name, path] = mounted[name].root
                else:
                    make(name, path.rpartition("/")[0] or "/")
                    there = find(mounted[name], path) if again else None
                    made[name, path] = there or mounted[name].mkdir(path)
            return made[name, path]

        # Parents first: a sub-container starts from what its parent has by then.
        for place, file, value in sorted(self.settings, key=lambda setting: len(setting[0][1])):
            make(*place)[file] = value
        return [make(name, path) for name, path in self.places.items()]


def add_layout(parser: argparse._ActionsContainer) -> None:
    """Add ``--hierarchy`` and ``--set``."""
    parser.add_argument(
        "--hierarchy",
        type=checked(parse_hierarchy),
        action="append",
        default=[],
        metavar="NAME=SUBSYS,...",
        help="mount a hierarchy with these subsystems",
    )
    action = parser.add_argument(
        "--set",
        dest="settings",
        type=checked(parse_setting),
        action="append",
        default=[],
        metavar="NAME:/PATH:FILE=VALUE",
        help="write a control file of a container, made as needed",
    )
    completes(action, "assignments")


def parse_hierarchy(text: str) -> tuple[str, list[str]]:
    """``NAME=SUBSYS,...``."""
    name, equals, subsystems = text.partition("=")
    if not name or not equals or not all(subsystems.split(",")):
        raise ValueError(f"{text!r} is not NAME=SUBSYS,..., such as load=numtasks,numfiles")
    return name, subsystems.split(",")


def parse_place(text: str) -> tuple[str, str]:
    """``NAME:/PATH``."""
    name, colon, path = text.partition(":")
    if not name or not colon or not path.startswith("/"):
        raise ValueError(f"{text!r} is not NAME:/PATH, such as load:/builds")
    return name, "/" + "/".join(part for part in path.split("/") if part)


def parse_setting(text: str) -> Setting:
    """``NAME:/PATH:FILE=VALUE``."""
    target, equals, value = text.partition("=")
    place, colon, file = target.rpartition(":")
    if not colon or not equals or not file:
        raise ValueError(
            f"{text!r} is not NAME:/PATH:FILE=VALUE, such as load:/builds:numtasks.limit=64"
        )
    return Setting(parse_place(place), file, value)


def _given(hierarchies: list[tuple[str, list[str]]]) -> dict[str, list[str]]:
    """The hierarchies of a command line, each named once and sharing no subsystem."""
    mounts: dict[str, list[str]] = {}
    owners: dict[str, str] = {}
    for name, subsystems in hierarchies:
        if name in mounts:
            raise GovernorError(errno.EINVAL, f"hierarchy {name!r} is given twice")
        mounts[name] = list(subsystems)
        for subsystem in subsystems:
            owner = owners.setdefault(subsystem, name)
            if owner != name:
                raise GovernorError(
                    errno.EBUSY,
                    f"{subsystem} is given to two hierarchies, {owner} and {name}; choose one",
                )
    return mounts


def _mounts(
    hierarchies: list[tuple[str, list[str]]], settings: list[Setting]
) -> dict[str, list[str]]:
    """The hierarchies of a command line and those that its shortcuts are in otherwise."""
    mounts = _given(hierarchies)
    wanted = [setting.file.partition(".")[0] for setting in settings if setting.place is None]
    for subsystem in [*wanted, "cpuacct"]:
        if not any(_binds(bound, subsystem) for bound in mounts.values()):
            mounts.setdefault(DEFAULTS.get(subsystem, OTHERS), []).append(subsystem)
    return mounts


def _binds(bound: list[str], subsystem: str) -> bool:
    """Whether a hierarchy of these subsystems has this one; `all` stands for every subsystem."""
    return subsystem in bound or ALL in bound


def _places(places: list[tuple[str, str]], mounts: dict[str, list[str]]) -> dict[str, str]:
    chosen: dict[str, str] = {}
    for name, path in places:
        _check_mounted(name, mounts)
        if chosen.setdefault(name, path) != path:
            raise GovernorError(
                errno.EINVAL,
                f"{name}:{chosen[name]} and {name}:{path} are in one hierarchy; give one of them",
            )
    return chosen


def _resolve(
    setting: Setting, mounts: dict[str, list[str]], places: dict[str, str]
) -> tuple[tuple[str, str], str, int | str]:
    if setting.place is not None:
        _check_mounted(setting.place[0], mounts)
        return setting.place, setting.file, setting.value
    subsystem = setting.file.partition(".")[0]
    name = next(name for name, bound in mounts.items() if _binds(bound, subsystem))
    return (name, places.setdefault(name, JOB_PATH)), setting.file, setting.value


def _check_mounted(name: str, mounts: dict[str, list[str]]) -> None:
    if name not in mounts:
        there = f"there are {', '.join(mounts)}" if mounts else "there is none"
        raise GovernorError(errno.ENOENT, f"no hierarchy {name!r} is asked for; {there}")
