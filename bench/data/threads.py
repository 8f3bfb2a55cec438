"""Work on many files by threads: decoding, hashing and OpenCV leave Python's lock meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
AT_ONCE = 4096
"""So many calls wait at most: a million waiting ones take a gigabyte."""


def thread_pool() -> ThreadPoolExecutor:
    """A thread a core."""
    return ThreadPoolExecutor(max_workers=os.cpu_count())


def map_on_all_cores(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """The results of `work` in the order of the items; raises what it raises."""
    waiting = iter(items)
    with thread_pool() as pool:
        while some := list(islice(waiting, AT_ONCE)):
            yield from pool.map(work, some)
