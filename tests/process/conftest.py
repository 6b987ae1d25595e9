"""Fixtures of all tests that run jobs."""

from __future__ import annotations

from tests.process.helpers import gov as gov
from tests.process.helpers import runtime as runtime
