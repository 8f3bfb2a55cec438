"""How the numbers of a comparison were made."""

# ruff: noqa: RUF001 - people read these strings: they get real apostrophes and dashes

from __future__ import annotations

from bench.contrast import Contrast
from bench.report.numbers import count, counted
from bench.report.words import plural

INTERVALS = (
    "{level:g}% from {resamples} resamples of whole {unit}; of differences paired (both rows on "
    "the same resample, percentile). Conditional on the trained models: other trainings are not in "
    "them. So many metrics and classes stand here that one in twenty of their intervals excludes "
    "zero by chance; the verdict is of one metric only."
)
TEST = (
    "Corrected resampled t test over the folds (Nadeau & Bengio 2003) with the roles’ ratio of "
    "test to train, p values adjusted by Holm over the pairs of all ranked rows and those compared "
    "here. Better: where interval and test both say so."
)
SEEN = (
    "The true difference that this comparison’s noise would let be found with 80% power; it says "
    "nothing of the difference observed. The verdict needs both the interval and the adjusted "
    "test, so it names the larger one; that by the test is of the worst case of Holm, in which p "
    "is multiplied by the number of pairs."
)
MCNEMAR = (
    "Exact, on images that one row alone gets right. It takes images for independent, which those "
    "of one group are not. The p beside it flips the signs of whole {unit} (exact randomisation "
    "test): where each image is its own group, the two are equal."
)
CORRELATION = (
    "How alike the two rows’ difference (right or wrong) is on two images of one group; the design "
    "effect is by how much that inflated the variance."
)
BAYES = (
    "Correlated t test (Corani & Benavoli 2015, by baycomp) with the roles’ ratio of test to "
    "train: shares of the posterior of the mean difference over folds."
)
SPREAD = (
    "Standard deviations of one fold’s value. {Unit}: other ones in the test part, by bootstrap "
    "within the folds. Training: what the folds differ by beyond that, never below 0.{seeds} With "
    "{folds} these are rough."
)
ONE_SEED = " One seed of each row is compared, so training holds the seed’s part, too."


def how_made(found: Contrast) -> tuple[tuple[str, str], ...]:
    """How the numbers were made, as terms with their explanation."""
    made, unit = found.interval, plural(found.interval.unit)
    several = any(spread.seeds > 1 for spread in found.spreads.values())
    words = {
        "level": made.level * 100,
        "resamples": count(made.resamples),
        "unit": unit,
        "Unit": unit.capitalize(),
        "seeds": "" if several else ONE_SEED,
        "folds": counted(found.folds, "fold"),
    }
    every = (
        ("Intervals", INTERVALS),
        ("Test", TEST),
        ("Could have been seen", SEEN),
        ("McNemar", MCNEMAR),
        ("Intra-class correlation", CORRELATION),
        ("Bayesian test", BAYES),
        ("Spread", SPREAD),
    )
    return tuple((term, text.format(**words)) for term, text in every)
