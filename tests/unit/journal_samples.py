"""One record of every kind, for the golden bytes and as seeds for broken ones."""

from __future__ import annotations

from governor.journal.records import (
    Began,
    Combination,
    Figures,
    Gone,
    Member,
    Meters,
    Node,
    Numbers,
    Orphan,
    Past,
    Record,
    Refused,
    Spent,
    Tree,
    Work,
)

SAMPLES: list[Record] = [
    Began(0, 1, "0.1.0", "6e9f3a3e-0b6f-4f0e-9b0e-0123456789ab", 77, "/run/governor"),
    Numbers(0, 12, 3, 9),
    Tree(1, "load", True, False, ["numtasks", "numfiles@x"], "/bin/true"),
    Node(2, 1, 1, "bob", True, False, True, {"numtasks": {"id": 7, "files": {"a.limit": 64}}}),
    Meters(2, [["cpuacct", 1500, 1000]]),
    Figures(7, 0, 64, 3, 1000),
    Combination(3, [1, 2], False, ["tasks"], ["files"], False, True),
    Past(2, ["tasks"], ["files"], True, False),
    Work(9, "make", 3, 4711, 99, ["tasks"], 2.0, None, None, 1.5, 2.5, True, False, True, 12, "",
         None, []),
    Work(10, "late", 3, 4712, 98, [], 2.0, 60.0, 62.5, 1.5, 2.5, True, True, False, 12, "why",
         "gone", [124, None, 60.0, 0.5, True, None, None]),
    Member(4711, 99, 1, 3, [5, 2], [5, 2], True, False),
    Orphan(4712, 98, 1, 3, [5, 2], [6, 2], False, True),
    Spent(3, [100, 50], [90, 45]),
    Gone(3, "Combination"),
    Refused(7, [[2, "load:/builds", "tasks", 64, 64, 12]]),
]  # fmt: skip
