"""What governor costs: the same small operations without it, under it, and under other things.

`loop.c` does and times the operations, `variants` runs it in different surroundings, `runner` takes
turns between them, `statistics` concludes or refuses to, `report` prints and stores. The whole is
described in docs/performance.md.
"""
