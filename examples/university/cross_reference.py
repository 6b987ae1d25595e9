"""Load a cross-reference of the C headers into SQLite and check what it answers.

Which header uses which identifier how often: a few hundred thousand rows, an index,
an integrity check, and aggregates that must agree with a count made in Python.
"""

from __future__ import annotations

import os
import re
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/usr/include")
BYTES = 40_000_000
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]+")


def headers() -> Iterator[tuple[str, Counter[str]]]:
    """Yield each header's path and its identifiers, until about BYTES have been read."""
    left = BYTES
    for path in sorted(ROOT.rglob("*.h")):
        if left > 0 and path.is_file() and os.access(path, os.R_OK):
            text = path.read_text(encoding="latin-1")
            left -= len(text)
            yield str(path), Counter(IDENTIFIER.findall(text))


def load(database: sqlite3.Connection) -> Counter[str]:
    """Fill the database, one transaction per header; return the uses of each identifier."""
    totals: Counter[str] = Counter()
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE TABLE use (identifier TEXT, header TEXT, times INTEGER)")
    for header, identifiers in headers():
        totals.update(identifiers)
        with database:
            rows = ((identifier, header, times) for identifier, times in identifiers.items())
            database.executemany("INSERT INTO use VALUES (?, ?, ?)", rows)
    database.execute("CREATE INDEX use_by_identifier ON use (identifier, times)")
    return totals


def mistakes(database: sqlite3.Connection, totals: Counter[str]) -> list[str]:
    """Return the names of the questions that the database does not answer correctly."""
    sums = "SELECT identifier, sum(times) AS total FROM use GROUP BY identifier"
    by_use = sorted(totals.items(), key=lambda item: (-item[1], item[0]))
    expected = {
        "PRAGMA integrity_check": [("ok",)],
        "SELECT sum(times), count(DISTINCT identifier) FROM use": [(totals.total(), len(totals))],
        f"{sums} ORDER BY total DESC, identifier LIMIT 100": by_use[:100],
        f"{sums} HAVING total = 1 ORDER BY identifier": [i for i in by_use if i[1] == 1],
    }
    return [query for query, rows in expected.items() if database.execute(query).fetchall() != rows]


def main() -> int:
    """Load and question the database; return 0 when every answer is right."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("GOVERNOR_JOB_DIR")) as scratch:
        database = sqlite3.connect(os.path.join(scratch, "cross-reference.db"))
        totals = load(database)
        wrong = mistakes(database, totals)
        database.close()
    print(f"{totals.total()} uses of {len(totals)} identifiers loaded; wrong answers: {wrong}")
    return 0 if totals and not wrong else 1


if __name__ == "__main__":
    raise SystemExit(main())
