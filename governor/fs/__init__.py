"""The control filesystem: every hierarchy as a tree of directories, through FUSE.

``places`` and ``texts`` say what a path and what bytes mean, ``tree`` what each request does,
``operations`` is that in FUSE's terms, ``lanes`` gives every request a deadline, and ``mount``
alone knows of libfuse.
"""
