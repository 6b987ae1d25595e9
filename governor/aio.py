"""governor for asyncio: jobs that are awaited, many at once without a thread for each.

::

    async with governor.aio.Governor() as gov:
        await gov.run(["make"], check=True)
"""

from __future__ import annotations

from governor.api.awaited import Governor as Governor
