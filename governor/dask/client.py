"""What a user of Dask calls."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, NamedTuple

from governor.dask.ledger import Ledger, Report
from governor.dask.plugin import NAME, GovernorPlugin
from governor.errors import GovernorError

if TYPE_CHECKING:
    from distributed import Client, Future, Worker

    from governor.serving import Serving


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
    try:
        row = await scheduler.governor_report(key=key)
    except (AttributeError, ValueError) as error:
        if "governor_report" not in str(error):
            raise
        raise GovernorError(
            errno.ENOENT, "the scheduler knows of no governor; call governor.dask.install(client)"
        ) from None
    return None if row is None else Report.read(row)


def nodes(client: Client) -> dict[str, Node]:
    """The governor of each worker, by the worker's address."""
    return client.run(_describe)


def _describe(dask_worker: Worker) -> Node:
    plugin = dask_worker.plugins.get(NAME)
    if not isinstance(plugin, GovernorPlugin) or plugin.station is None:
        raise GovernorError(errno.ENOENT, "no governor here; call governor.dask.install(client)")
    governor, _ = plugin.station.find()
    serving = plugin.station.serving
    host = dask_worker.address.rpartition(":")[0].partition("//")[2]
    return Node(host, governor.pid, governor.directory, serving and serving.url)
