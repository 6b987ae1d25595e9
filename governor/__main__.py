"""The installed command, and ``python -m governor``."""

from __future__ import annotations

# What signal itself is made of: that takes as long to import as everything before it.
import _signal as signal  # type: ignore[import-not-found]


def entry() -> None:
    """Run the command line. Ctrl-C ends us as any program until a command has begun.

    Until then there is nothing to tidy up, and Python would print where in its imports it was.
    What our caller ignores stays ignored.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from governor import cli

    cli.entry()


if __name__ == "__main__":
    entry()
