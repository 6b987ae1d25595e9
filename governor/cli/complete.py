"""What can come next on a command line: from the parsers, and from the governor that runs."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from governor.cli import COMMANDS, build_parser
from governor.cli.parsers import parser_of
from governor.errors import GovernorError

if TYPE_CHECKING:
    from governor.api import Governor

PATIENCE = 0.5
"""Seconds a governor has for its answer; somebody is typing."""


def complete(words: Sequence[str]) -> list[str]:
    """What may stand in the place of the last word, after the others (without ``governor``)."""
    *before, current = words or [""]
    if not before:
        return _fitting([*COMMANDS, "--help", "--version"], current, options=current[:1] == "-")
    if before[0] not in COMMANDS:
        return []
    line = _Line(parser_of(build_parser(before[:1]), before[0]))
    for word in before[1:]:
        line.take(word)
    return line.offers(current)


def _fitting(words: Iterable[str], current: str, options: bool = False) -> list[str]:
    return [word for word in words if word.startswith(current) and (options or word[:1] != "-")]


class _Line:
    """A command's words so far, and what the parser expects after them."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._options = parser._option_string_actions
        self._places = [action for action in parser._actions if not action.option_strings]
        self._pending: argparse.Action | None = None
        self._taken = 0
        self._only_places = False
        self._directory: str | None = None

    def take(self, word: str) -> None:
        """Go on by one whole word."""
        if self._pending is not None and not self._is_option(word):
            self._keep(self._pending, word)
            self._pending = None
        elif word == "--" and not self._only_places:
            self._only_places = True
        elif self._is_option(word):
            name, equals, value = word.partition("=")
            action = self._options.get(name)
            self._pending = action if action and action.nargs != 0 and not equals else None
            if action and equals:
                self._keep(action, value)
        else:
            self._taken += 1

    def _is_option(self, word: str) -> bool:
        return word[:1] == "-" and len(word) > 1 and not self._only_places

    def _keep(self, action: argparse.Action, value: str) -> None:
        if action.dest in ("dir", "at"):
            self._directory = value

    def offers(self, current: str) -> list[str]:
        """What may come here and begins so."""
        if self._pending is not None and not self._is_option(current):
            return self._values(self._pending, current)
        if self._is_option(current) or current == "-":
            name, equals, value = current.partition("=")
            action = self._options.get(name)
            if equals and action is not None:
                return [f"{name}={offer}" for offer in self._values(action, value)]
            return _fitting(self._options, current, options=True)
        action = self._place()
        return self._values(action, current) if action is not None else []

    def _place(self) -> argparse.Action | None:
        """The positional argument that the next word is."""
        if self._taken < len(self._places):
            return self._places[self._taken]
        last = self._places[-1] if self._places else None
        return last if last is not None and last.nargs in ("*", "+") else None

    def _values(self, action: argparse.Action, current: str) -> list[str]:
        if action.choices is not None:
            return _fitting(action.choices, current)
        offer = getattr(Offers, getattr(action, "offers", ""), None)
        return offer(Offers(self._directory), current) if offer else []


class Offers:
    """Words of the kinds that `governor.cli.verb.completes` names; none when no governor runs."""

    def __init__(self, directory: str | None) -> None:
        self._directory = directory

    def shells(self, current: str) -> list[str]:
        """Shells there is a script for."""
        from governor.cli.completion import SCRIPTS

        return _fitting(SCRIPTS, current)

    def signals(self, current: str) -> list[str]:
        """Signals, as kill(1) writes them."""
        from governor.cli.target import signal_names

        return _fitting(signal_names(), current)

    def events(self, current: str) -> list[str]:
        """Kinds of governor's own events."""
        from governor.cli.events import KINDS

        return _fitting(KINDS, current)

    def subsystems(self, current: str) -> list[str]:
        """Installed subsystems, after a comma as well."""
        from governor import registry

        before, comma, last = current.rpartition(",")
        names = registry.names() if comma else ["all", *registry.names()]
        return [f"{before}{comma}{name}" for name in _fitting(names, last)]

    def properties(self, current: str) -> list[str]:
        """``NAME=``, or with a value where there is a usual one."""
        from governor.cli import properties

        name, equals, value = current.partition("=")
        if not equals:
            names = [*properties.PROPERTIES, *(properties.files() if name else ())]
            return [f"{offer}=" for offer in _fitting(names, name)]
        values = properties.usual_values(name)
        return [f"{name}={offer}" for offer in _fitting(values, value)]

    def groups(self, current: str) -> list[str]:
        """``SUBSYS,...:/PATH``."""
        names, colon, path = current.partition(":")
        if not colon:
            before, comma, last = current.rpartition(",")
            bound = self._ask(_bound)
            return [f"{before}{comma}{name}" for name in _fitting([*bound], last)]
        hierarchies = self._ask(lambda governor: _having(governor, names.split(",")[0]))
        places = [offer for one in hierarchies for offer in self.containers(f"{one}:{path}")]
        return [f"{names}:{offer.partition(':')[2]}" for offer in places]

    def hierarchies(self, current: str) -> list[str]:
        """Names of hierarchies."""
        return self._ask(lambda governor: _fitting(_hierarchies(governor), current))

    def containers(self, current: str) -> list[str]:
        """``HIER:/PATH``."""
        if ":" in current:
            return self._ask(lambda governor: _children(governor, current))
        return self._ask(
            lambda governor: _fitting([f"{name}:/" for name in _hierarchies(governor)], current)
        )

    branches = containers

    def files(self, current: str) -> list[str]:
        """``HIER:/PATH`` and, after another colon, control files."""
        place, _, file = current.rpartition(":")
        if ":" not in place:
            offers = self.containers(current)
            # The container itself is there: what is missing is its file.
            return [f"{offer}:" for offer in offers] if offers == [current] else offers
        return self._files(place, file, writable=False)

    def assignments(self, current: str) -> list[str]:
        """``HIER:/PATH:FILE=``."""
        place, _, file = current.rpartition(":")
        if ":" not in place:
            return self.files(current)
        return [f"{offer}=" for offer in self._files(place, file, writable=True)]

    def pids(self, current: str) -> list[str]:
        """Processes of one's own."""
        pids = [entry.name for entry in os.scandir("/proc") if entry.name.isdigit()]
        own = [pid for pid in _fitting(pids, current) if _is_own(pid)]
        return sorted(own, key=int)

    def movers(self, current: str) -> list[str]:
        """Processes of one's own, or containers with everybody in them."""
        return [*self.pids(current), *self.containers(current)]

    def _files(self, place: str, file: str, writable: bool) -> list[str]:
        return self._ask(lambda governor: _files(governor, place, file, writable))

    def _ask(self, question: Callable[[Governor], list[str]]) -> list[str]:
        from governor.api import Governor

        with contextlib.suppress(GovernorError), Governor.connect(self._directory) as governor:
            return question(governor)
        return []


def _hierarchies(governor: Governor) -> list[str]:
    from governor.wire.client import Hierarchies

    _unbound, *mounted = governor.client.ask(Hierarchies, PATIENCE)
    return [row[0] for row in mounted]


def _bound(governor: Governor) -> list[str]:
    return [name for report in governor.hierarchies()[1:] for name in report.subsystems]


def _having(governor: Governor, subsystem: str) -> list[str]:
    mounted = governor.hierarchies()[1:]
    return [report.name for report in mounted if subsystem in report.subsystems]


def _children(governor: Governor, current: str) -> list[str]:
    """Containers whose path begins so; one that is complete is offered with those below it."""
    from governor.wire.client import List

    hierarchy, _, path = current.partition(":")
    parent, _, last = path.rpartition("/")
    names, _ = governor.client.ask(lambda n: List(n, hierarchy, parent or "/"), PATIENCE)
    return [f"{hierarchy}:{parent}/{name}" for name in _fitting(names, last)]


def _files(governor: Governor, place: str, file: str, writable: bool) -> list[str]:
    from governor.wire.client import List

    hierarchy, _, path = place.partition(":")
    _, files = governor.client.ask(lambda n: List(n, hierarchy, path), PATIENCE)
    names = [name for name, can_write in files if can_write or not writable]
    return [f"{place}:{name}" for name in _fitting(names, file)]


def _is_own(pid: str) -> bool:
    try:
        return os.stat(f"/proc/{pid}").st_uid == os.geteuid()
    except OSError:
        return False
