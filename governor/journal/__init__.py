"""The journal: what a governor has decided, so that a successor can go on with it.

A journal is a table of records, each with a kind and a number. It is kept as a file of frames,
each of which puts or removes some records, all of them or none. ``frames`` is the format,
``records`` is what there is to record, ``place`` the directory, ``file`` the file in it.
"""
