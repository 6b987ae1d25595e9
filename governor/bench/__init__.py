"""What governor costs: the same small operations without it, under it, and under other things.

An operation is what one does (`operations`; the loops are `loop.c`), a surrounding where one does
it (`surroundings`, `governed` with its far side `served`, `kernel`, `spawners`), a `shape` how the
containers around it are arranged. `sections` says what is measured together and which field of
the shape a sweep varies; `runner` takes turns, `statistics` concludes or refuses to. What was found
is a `result`: `report` prints it, `store` writes and reads it in the layout of `schema`, `compare`
sets two side by side, `figures` draws one. The whole is described in docs/performance.md.
"""
