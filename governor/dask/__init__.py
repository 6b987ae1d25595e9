"""Tasks of dask.distributed in containers, on whichever machine they run.

Needs the extra: ``pip install governor[dask]``, on the scheduler and the workers as well. The
names below are loaded on first use: a job's side of this package needs no more than pickle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from governor.dask.client import Node, install, nodes, report
    from governor.dask.ledger import Report
    from governor.dask.plugin import GovernorPlugin

__all__ = ["GovernorPlugin", "Node", "Report", "install", "nodes", "report"]

_MODULES = {"GovernorPlugin": "plugin", "Report": "ledger"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'governor.dask' has no attribute {name!r}")
    from importlib import import_module

    try:
        module = import_module(f"governor.dask.{_MODULES.get(name, 'client')}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("dask", "distributed"):
            raise
        raise ModuleNotFoundError(
            f"governor.dask.{name} needs dask.distributed: pip install 'governor[dask]'",
            name=error.name,
        ) from None
    return getattr(module, name)
