"""Count the primes below a thousand million with a pool of processes.

A sieve of Eratosthenes in segments of a million numbers; the count is known.
"""

from __future__ import annotations

from math import isqrt
from multiprocessing import Pool

LIMIT = 1_000_000_000
PRIMES_BELOW_LIMIT = 50_847_534
SEGMENT = 1_000_000
PROCESSES = 6


def primes_upto(last: int) -> list[int]:
    """Return the primes up to and including ``last``."""
    sieve = bytearray([1]) * (last + 1)
    sieve[:2] = bytes(2)
    for number in range(2, isqrt(last) + 1):
        if sieve[number]:
            multiples = range(number * number, last + 1, number)
            sieve[multiples.start :: number] = bytes(len(multiples))
    return [number for number in range(last + 1) if sieve[number]]


def count_segment(start: int) -> int:
    """Return how many primes are in [start, start + SEGMENT)."""
    sieve = bytearray([1]) * SEGMENT
    if start == 0:
        sieve[:2] = bytes(2)
    for prime in BASE:
        first = max(prime * prime, -(-start // prime) * prime) - start
        if first < SEGMENT:
            sieve[first::prime] = bytes(len(range(first, SEGMENT, prime)))
    return sieve.count(1)


# Computed before the pool forks, so that every process inherits it.
BASE = primes_upto(isqrt(LIMIT))


def main() -> int:
    """Count; return 0 when the count is the known one."""
    with Pool(PROCESSES) as pool:
        found = sum(pool.imap_unordered(count_segment, range(0, LIMIT, SEGMENT)))
    print(f"{found} primes below {LIMIT} found by {PROCESSES} processes")
    return 0 if found == PRIMES_BELOW_LIMIT else 1


if __name__ == "__main__":
    raise SystemExit(main())
