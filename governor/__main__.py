"""``python -m governor``."""

from __future__ import annotations

import sys

from governor.cli import main

if __name__ == "__main__":
    sys.exit(main())
