"""Named faults: the steps of every protocol, and what can go wrong at each of them.

`protocols` lists the steps, `kinds` the faults, `matrix` what is expected of each combination;
`story` is what a governor is used for meanwhile, in a process of its own (`run`), and `judge`
looks at what is left afterwards. ``python -m tests.faults`` runs them all.
"""
