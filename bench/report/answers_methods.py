"""What the records say of methods and results, in answer to reporting guidelines."""

# ruff: noqa: RUF001 - people read these strings: they get real apostrophes and dashes

from __future__ import annotations

from collections.abc import Callable, Mapping

from bench.recipe import Recipe
from bench.report.catalogue import metric
from bench.report.cells import method_name
from bench.report.method_words import OF_IMAGES
from bench.report.names import listed, plain, said
from bench.report.numbers import count, counted
from bench.report.rows import spelled
from bench.report.study import Study
from bench.report.words import headline, leader, plural, primary_text

SOFTWARE = ("python", "torch", "timm", "numpy", "scikit-learn")
IMBALANCE = (
    "sampler",
    "sampler_power",
    "rare_augment",
    "class_weight_power",
    "class_weight_beta",
    "class_weight_from",
    "class_loss_scale",
    "logit_adjustment",
    "loss",
)
"""Switches of a recipe that answer to rare classes."""
NO_ROWS = "No method has been run yet."


def objective(study: Study) -> str:
    """Development and evaluation, by the protocol."""
    primary = metric(study.protocol.metrics.primary).label
    return (
        "Development and internal evaluation of classifiers, compared on the same images by the "
        f"protocol {plain(study.protocol.name)}; the primary metric, {primary}, was fixed with it."
    )


def _rows(study: Study) -> str:
    trained, joined, submitted = map(len, (study.trained, study.ensembles, study.submitted))
    told = [f"{count(trained)} trained by this bench"] if trained else []
    told += [f"{counted(joined, 'ensemble')} of them, by weights chosen on val"] if joined else []
    told += [f"{count(submitted)} submitted, their training not verified"] if submitted else []
    return listed(told) if told else ""


def index_test(study: Study) -> str:
    """The methods, and where each is told in full."""
    rows = _rows(study)
    if not rows:
        return NO_ROWS
    return (
        f"Methods: {rows}. Each row’s page has its recipe with every switch, the command that "
        "gives it again and the hashes to compare. The class with the highest probability is "
        "called, ties going to the first."
    )


def development(study: Study) -> str:
    """What train, val and test parts were used for."""
    rows = _rows(study)
    return (
        "Weights are learnt on the training part of each fold; early stopping, the choice of the "
        "epoch, temperature and thresholds use its validation part; the test part is predicted "
        f"once. {f'Rows: {rows}.' if rows else NO_ROWS}"
    )


def software(study: Study) -> str:
    """Versions and devices of the trained rows."""
    if not study.trained:
        return NO_ROWS
    told = []
    for key in (*SOFTWARE, "device"):
        found = {plain(row.facts.environment.get(key, "")) for row in study.trained} - {""}
        if found:
            told.append(f"{key} {' or '.join(sorted(found))}")
    return f"Trained with {', '.join(told)}; each row’s page lists all." if told else ""


def preprocessing(study: Study) -> str:
    """What happens to an image, by recipe."""
    found: dict[str, list[str]] = {}
    for row in study.trained:
        steps = ", ".join(
            f"{key} {spelled(row.facts.recipe[key])}"
            for key in OF_IMAGES
            if row.facts.recipe.get(key) not in (None, False)
        )
        found.setdefault(steps, []).append(said(row.name))
    told = "; ".join(f"{listed(rows)}: {steps}" for steps, rows in found.items() if steps)
    return (
        "As far as a method reads images, they are decoded as their orientation tag says, resized "
        "to a square and normalised, the same way in every part and for everyone. "
        + (f"By recipe: {told}." if told else "No trained row yet.")
    )


def thresholds(_study: Study) -> str:
    """Outputs, the call and the thresholds."""
    return (
        "A probability a class; the highest is called. Operating points use thresholds chosen on "
        "the validation part for a specificity or sensitivity fixed beforehand."
    )


def blinding(_study: Study) -> str:
    """What a method sees of a test image."""
    return (
        "Methods get a test image with age, sex and site, never its label, group, source or kind "
        "of confirmation; each job reads a store of pixels without labels."
    )


def predictors(_study: Study) -> str:
    """The image; what else a method may read."""
    return (
        "The image. A method may also read age, sex and site; source and kind of confirmation are "
        "kept from it, since they give classes away."
    )


def statistics(study: Study) -> str:
    """Intervals, tests, corrections."""
    made = study.board.interval
    return (
        f"{made.level:.0%} intervals by the cluster bootstrap over {plural(made.unit)} "
        f"({count(made.resamples)} resamples, {method_name(made.method)}); differences paired on "
        "the same resamples; corrected resampled t test over folds (Nadeau & Bengio), Holm over "
        "the pairs. Discrimination, calibration and decision curves are drawn on each row’s page."
    )


def indeterminate(_study: Study) -> str:
    """There are none."""
    return "None: every tested image gets a call. A metric that is undefined is shown as n/a."


def variability(study: Study) -> str:
    """Spread over folds and seeds."""
    seeds = max((len(row.seeds) for row in study.board.rows), default=1)
    over = f" and {counted(seeds, 'seed')}" if seeds > 1 else ""
    return (
        f"Every metric by fold ({counted(study.board.folds * study.board.repeats, 'fold')}){over} "
        "on the leaderboard; subgroups on each row’s page."
    )


def fairness(study: Study) -> str:
    """Subgroups that the metadata allow."""
    table = study.manifest.table
    known = [key for key in ("age", "sex", "localization", "source") if table[key].notna().any()]
    if not known:
        return "The metadata have no attribute to tell subgroups by."
    return (
        f"Each row’s page scores it by {listed(known)}, with the largest gap of each and an "
        "interval that holds for all pairs looked at; below 50 groups nothing is said."
    )


def imbalance(study: Study) -> str:
    """What each recipe does about rare classes."""
    usual = Recipe().model_dump()
    told = []
    for row in study.trained:
        recipe = row.facts.recipe
        used = {
            key: recipe[key] for key in IMBALANCE if key in recipe and recipe[key] != usual[key]
        }
        told.append(f"{said(row.name)}: {spelled(used) or 'nothing'}")
    if not told:
        return NO_ROWS
    return f"{'; '.join(told)}. A temperature is fitted on the validation part and recorded."


def confusion(_study: Study) -> str:
    """Where the counts stand."""
    return "The leaderboard has the counts of every row under “Confusion”."


def estimates(study: Study) -> str:
    """The headline, and where all estimates stand."""
    first = leader(study.board)
    begin = headline(study.board)
    value = primary_text(study.board, first) if first else ""
    told = f" First: {said(first.name)}, {value}." if first and value not in begin else ""
    return f"{begin}{told} All metrics with intervals: the leaderboard."


def benchmark(study: Study) -> str:
    """Reference rows and rivals."""
    rows = _rows(study)
    best = said(study.board.best_reference) if study.board.best_reference else ""
    against = f" The best row that has learnt nothing is {best}." if best else ""
    return (
        f"{f'Methods: {rows}.' if rows else NO_ROWS} All on the same folds, beside reference rows "
        f"that have learnt nothing.{against}"
    )


def availability(study: Study) -> str:
    """Data, roles, predictions."""
    licence = plain(study.manifest.licence) or "not stated"
    return (
        f"The data at their own source (licence: {licence}); roles, records and predictions of "
        "every row lie beside the leaderboard, which the bench works out again from them."
    )


def code(study: Study) -> str:
    """Commands and commits."""
    commits = {row.facts.environment.get("commit", "") for row in study.trained} - {""}
    told = listed([plain(one)[:12] for one in sorted(commits)]) if commits else ""
    return "Each row’s page has the command that gives it again" + (
        f"; the code was at commit {told}." if told else "."
    )


def audit(_study: Study) -> str:
    """Predictions are kept with their hashes."""
    return (
        "The probabilities for every tested image are kept as files whose sha256 stands in the "
        "record; `verify-results` checks them."
    )


def no_patient(_study: Study) -> str:
    """Nobody was examined."""
    return "None possible: recorded images were classified by a program, and nobody acted on it."


def no_reader(_study: Study) -> str:
    """No predictor is read by eye."""
    return "No predictor is read by eye; models read pixels."


def no_update(_study: Study) -> str:
    """No model is updated."""
    return "No model is updated after its test."


ANSWERS: Mapping[str, Callable[[Study], str]] = {
    one.__name__: one
    for one in (
        objective,
        index_test,
        development,
        software,
        preprocessing,
        thresholds,
        blinding,
        predictors,
        statistics,
        indeterminate,
        variability,
        fairness,
        imbalance,
        confusion,
        estimates,
        benchmark,
        availability,
        code,
        audit,
        no_patient,
        no_reader,
        no_update,
    )
}
