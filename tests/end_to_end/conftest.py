"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from tests.end_to_end.batches import bench as bench
from tests.end_to_end.prometheus import prometheus as prometheus
from tests.end_to_end.runner import runner as runner
from tests.end_to_end.running import shell as shell
