"""``python -m governor``."""

from __future__ import annotations

from governor.cli import entry

if __name__ == "__main__":
    entry()
