"""What a user of Dask calls."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from governor.dask.ledger import Ledger, Report
from governor.dask.plugin import NAME, GovernorPlugin
from governor.errors import GovernorError

if TYPE_CHECKING:
    from distributed import Client, Future, Worker

    from governor.serving import Serving


EVERYWHERE: Final = ("", "0.0.0.0", "::")
"""What is served here is served at every address of a machine."""


class Node(NamedTuple):
    """The governor of a worker: ``directory`` for ``governor ps --dir``, on the worker's host.

    ``metrics``: where they are served, None where they are not.
    """

    host: str
    pid: int
    directory: str
    metrics: str | None


def install(client: Client, *, metrics: int | Serving | None = None) -> None:
    """Give every worker of a cluster a governor, those that come later as well.

    ``metrics``: see `GovernorPlugin`. Raises the GovernorError of a worker that cannot have one.
    With an asynchronous client, to be awaited.
    """
    return client.sync(_install, client, GovernorPlugin(metrics))


async def _install(client: Client, plugin: GovernorPlugin) -> None:
    for each in (Ledger(), plugin):
        await client._register_plugin(each, each.name, each.idempotent)


def report(future: Future[Any]) -> Report | None:
    """What a governed task was given and has used; None before it has ended, or when it was none.

    To be asked while the future, or one that depends on it, is there. ENOENT: `install` was not
    called. With an asynchronous client, to be awaited.
    """
    return future.client.sync(_report, future.client, future.key)


async def _report(client: Client, key: Any) -> Report | None:
    scheduler: Any = client.scheduler
    rows = await scheduler.governor_report(key=key)
    if rows is None:
        raise GovernorError(
            errno.ENOENT, "the scheduler knows of no governor; call governor.dask.install(client)"
        )
    return Report.read(rows[0]) if rows else None


def nodes(client: Client) -> dict[str, Node]:
    """The governor of each worker, by the worker's address."""
    return client.run(_describe)


def _describe(dask_worker: Worker) -> Node:
    plugin = dask_worker.plugins.get(NAME)
    if not isinstance(plugin, GovernorPlugin) or plugin.station is None:
        raise GovernorError(errno.ENOENT, "no governor here; call governor.dask.install(client)")
    governor, _ = plugin.station.find()
    host = dask_worker.address.partition("//")[2].rpartition(":")[0].strip("[]")
    serving = plugin.station.serving
    if serving is not None and serving.host in EVERYWHERE:
        serving = serving._replace(host=host)
    return Node(host, governor.pid, governor.directory, serving and serving.url)
