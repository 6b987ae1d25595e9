"""Finding subsystems by name: our own, and those other packages offer.

A subsystem called ``name`` is the one `Subsystem` subclass with that name in the module
``subsystems.name``, or whatever another package's entry point of the group
``governor.subsystems`` gives. Entry points are looked at only when the first place has
nothing, since reading all installed metadata takes longer than starting a job.
"""

from __future__ import annotations

import errno
import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from governor.errors import GovernorError
from governor.subsystem import Subsystem

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINTS = "governor.subsystems"
NAME_MAX = 31
"""Longest subsystem name: the seeds' MAX_CONTAINER_TYPE_NAMELEN without its NUL."""

_registered: dict[str, type[Subsystem]] = {}


def register(subsystem: type[Subsystem]) -> type[Subsystem]:
    """Make a subsystem known to this process.

    Raises EEXIST for a name that is taken and EINVAL for a bad name or a class without
    ``create`` or ``destroy``, as the seeds' container_register_subsys does.
    """
    name = subsystem.name
    if not name or len(name) > NAME_MAX or not name.replace("_", "").isalnum():
        raise GovernorError(
            errno.EINVAL,
            f"subsystem name {name!r} must be 1 to {NAME_MAX} letters, digits or underscores",
        )
    for callback in ("create", "destroy"):
        if getattr(subsystem, callback) is getattr(Subsystem, callback):
            raise GovernorError(errno.EINVAL, f"subsystem {name!r} does not define {callback}()")
    if _registered.get(name, subsystem) is not subsystem:
        raise GovernorError(errno.EEXIST, f"a subsystem {name!r} is registered already")
    _registered[name] = subsystem
    return subsystem


def load(label: str) -> Subsystem:
    """A new subsystem, such as ``numtasks`` or the named instance ``numtasks@projects``.

    ENOENT lists the names there are; EINVAL for an instance without a proper name.
    """
    name, at, instance = label.partition("@")
    subsystem = _registered.get(name) or _import_own(name) or _import_entry_point(name)
    if subsystem is None:
        raise GovernorError(errno.ENOENT, f"no subsystem {name!r}; there are {', '.join(names())}")
    if at and not instance.replace("-", "_").replace("_", "a").isalnum():
        raise GovernorError(
            errno.EINVAL, f"the instance in {label!r} must be letters, digits, '-' or '_'"
        )
    loaded = register(subsystem)()
    loaded.instance = instance
    return loaded


def names() -> list[str]:
    """The names of all subsystems that can be loaded, sorted."""
    import pkgutil

    package = importlib.import_module("subsystems")
    modules = (module.name for module in pkgutil.iter_modules(package.__path__))
    own = {name for name in modules if not name.startswith("_")}  # others are parts of one
    return sorted(own | set(_registered) | {point.name for point in _entry_points()})


def _import_own(name: str) -> type[Subsystem] | None:
    if not name.isidentifier():
        return None
    try:
        module = importlib.import_module(f"subsystems.{name}")
    except ModuleNotFoundError as error:
        if error.name == f"subsystems.{name}":
            return None
        raise
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Subsystem) and value.name == name:
            return value
    return None


def _import_entry_point(name: str) -> type[Subsystem] | None:
    """The class another package offers as ``name``; EINVAL when what it offers is no such thing."""
    offers = {point.value: point for point in _entry_points() if point.name == name}
    if not offers:
        return None
    if len(offers) > 1:
        raise GovernorError(
            errno.EEXIST, f"subsystem {name!r} is offered more than once: {', '.join(offers)}"
        )
    ((value, point),) = offers.items()
    try:
        subsystem = point.load()
    except (ImportError, AttributeError) as error:
        raise GovernorError(
            errno.EINVAL, f"subsystem {name!r} cannot be imported from {value}: {error}"
        ) from error
    if not (isinstance(subsystem, type) and issubclass(subsystem, Subsystem)):
        raise GovernorError(errno.EINVAL, f"{value}, offered as {name!r}, is not a subsystem")
    if subsystem.name != name:
        raise GovernorError(
            errno.EINVAL, f"{value}, offered as {name!r}, calls itself {subsystem.name!r}"
        )
    return subsystem


def _entry_points() -> Iterable[EntryPoint]:
    from importlib.metadata import entry_points

    return entry_points(group=ENTRY_POINTS)
