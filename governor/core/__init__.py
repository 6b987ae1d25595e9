"""The pure core: trees, container groups, counters, plans and the CPU ledger.

Nothing in here does I/O, reads a clock or knows a subsystem by name, so all of it is
tested with Hypothesis against naive models.
"""
