"""Runs a command under a seccomp filter: forbid.py VERDICT NUMBER[,NUMBER...] COMMAND [ARG...].

Of the system calls with these numbers, each gets the verdict (SECCOMP_RET_*, in hexadecimal).
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_MODE_FILTER = 2
_ALLOW = 0x7FFF0000


def forbid(verdict: int, numbers: list[int]) -> None:
    """Install the filter, by the call that came before seccomp(2)."""
    program = [struct.pack("HBBI", 0x20, 0, 0, 0)]
    for number in numbers:
        program.append(struct.pack("HBBI", 0x15, 0, 1, number))
        program.append(struct.pack("HBBI", 0x06, 0, 0, verdict))
    program.append(struct.pack("HBBI", 0x06, 0, 0, _ALLOW))
    instructions = ctypes.create_string_buffer(b"".join(program))
    header = struct.pack("@HP", len(program), ctypes.addressof(instructions))
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero)
    pointer = ctypes.create_string_buffer(header)
    if libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), pointer, zero, zero):
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    forbid(int(sys.argv[1], 16), [int(number) for number in sys.argv[2].split(",")])
    os.execvp(sys.argv[3], sys.argv[3:])
