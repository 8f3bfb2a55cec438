"""In which order jobs begin: the longest first, so that none is left to run alone at the end."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean

from bench.job import Job, JobFile, RunRecord


def longest_first(job_files: Sequence[JobFile], known: Iterable[RunRecord]) -> list[JobFile]:
    """The jobs by falling expected time, as earlier records tell it; among equals the order given.

    A record of the same row counts most; else one of the same method counts in proportion to epochs
    and pixels. A job that nobody knows begins first: it may be the longest.
    """
    by_row, by_method = defaultdict(list), defaultdict(list)
    for record in known:
        by_row[record.job.row].append(record.wall_seconds)
        by_method[record.job.method].append(record.wall_seconds / _size(record.job))

    def expected(job: Job) -> float:
        if job.row in by_row:
            return fmean(by_row[job.row])
        if job.method in by_method:
            return fmean(by_method[job.method]) * _size(job)
        return math.inf

    return sorted(job_files, key=lambda file: -expected(file.job))


def _size(job: Job) -> float:
    """What the time of a training grows with: epochs, and pixels of an image."""
    return float(job.recipe.epochs * job.recipe.image_size**2)
