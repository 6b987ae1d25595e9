"""Waiting for descriptors and for ZeroMQ at once."""

from __future__ import annotations

import os

from governor.transport import Poller


def test_input_ends_and_who_is_no_longer_watched() -> None:
    poller = Poller()
    (here, there), (deaf, silent) = os.pipe(), os.pipe()
    poller.add(here)
    poller.add_hangup(deaf)
    assert poller.poll(0) == set()
    os.write(there, b"1")
    os.write(silent, b"1")
    assert poller.poll(None) == {here}, "of the other one only the end is of interest"
    os.close(silent)
    assert poller.poll(None) == {here, deaf}
    poller.remove(here)
    poller.remove(here)
    assert poller.poll(None) == {deaf}
    for descriptor in (here, there, deaf):
        os.close(descriptor)


def test_a_number_is_watched_whatever_is_open_there() -> None:
    poller = Poller()
    (here, there), (later, input) = os.pipe(), os.pipe()
    poller.add_number(here)
    os.dup2(later, here)
    os.write(input, b"1")
    assert poller.poll(None) == {here}
    for descriptor in (here, there, later, input):
        os.close(descriptor)
