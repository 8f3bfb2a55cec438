"""Counter-based random streams: a draw depends on its seed, stream and place, and on nothing else.

SplitMix64 (Steele, Lea & Flood 2014) run from a counter: stream `s` of seed `n` starts at a hash of
both, its draw `j` is the hash of start + (j + 1) x golden gamma. So a resample is the same in
whichever chunk, thread or order it is made, with numba or without, and with any library version.
"""

from __future__ import annotations

import numpy as np

GAMMA = np.uint64(0x9E3779B97F4A7C15)
FIRST = np.uint64(0xBF58476D1CE4E5B9)
SECOND = np.uint64(0x94D049BB133111EB)
LOW = np.uint64(0xFFFFFFFF)


def mix(state: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser of every uint64."""
    once: np.ndarray = (state ^ (state >> np.uint64(30))) * FIRST
    twice: np.ndarray = (once ^ (once >> np.uint64(27))) * SECOND
    thrice: np.ndarray = twice ^ (twice >> np.uint64(31))
    return thrice


def starts(seed: int, first: int, count: int) -> np.ndarray:
    """Start states (count,) uint64 of the streams `first`, `first + 1`, ... of a seed."""
    salt = mix(np.array([seed % 2**64], dtype=np.uint64))
    streams = np.arange(first, first + count, dtype=np.uint64)
    return mix(salt + (streams + np.uint64(1)) * SECOND)


def picks(start: np.uint64, choices: int, count: int) -> np.ndarray:
    """`count` uniform draws (int64) from range(choices), choices below 2**32.

    Each hash gives two draws, from its upper and its lower half, by multiplication and shift.
    """
    steps = np.arange(1, (count + 1) // 2 + 1, dtype=np.uint64)
    state = mix(np.asarray(start, dtype=np.uint64) + steps * GAMMA)
    halves = np.stack([state >> np.uint64(32), state & LOW], axis=1).ravel()[:count]
    return ((halves * np.uint64(choices)) >> np.uint64(32)).astype(np.int64)
