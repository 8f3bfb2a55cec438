"""The methods paragraph of a paper, generated from what was done."""

from __future__ import annotations

from collections.abc import Iterator

from bench.report.catalogue import metric
from bench.report.cells import method_name
from bench.report.citations import DATASET
from bench.report.latex import Tex, escape
from bench.report.names import listed, name
from bench.report.numbers import count, counted
from bench.report.study import Study
from bench.report.study_page import open_pairs
from bench.report.words import plural, unseen

SHOWN = 12
CITED = {"torch": "paszke2019pytorch", "timm": "wightman2019timm"}


def cite(*keys: str) -> Tex:
    """A citation, with the space before it that never breaks."""
    return Tex(f"~\\cite{{{','.join(keys)}}}")


def paragraphs(study: Study) -> tuple[Tex, ...]:
    """Data, folds, methods, statistics: what was done, a paragraph each."""
    made = (_data(study), _folds(study), _methods(study), _statistics(study), _reporting(study))
    return tuple(Tex(" ".join(one)) for one in map(list, made) if one)


def _data(study: Study) -> Iterator[str]:
    manifest = study.manifest
    where = f"{count(len(manifest))} images of {count(study.groups)} groups"
    yield (
        escape(f"We used {name(manifest.title, 80).short}") + cite(DATASET) + escape(f": {where}.")
    )
    if manifest.synthetic:
        yield escape("All images are synthetic: no result says anything about skin.")
    if manifest.unit != "patient":
        yield escape(
            f"The data carry no patient identifiers; a group is a {manifest.unit}, so two of them "
            "may be of one patient, and the results are not patient-level."
        )
    joined = study.native_groups - study.groups
    if joined:
        pairs = counted(len(study.pairs.frozen), "pair")
        yield escape(
            f"Known duplicates ({pairs} of images) joined {count(study.native_groups)} "
            f"{plural(manifest.unit)} into {count(study.groups)} groups."
        )
    if manifest.ungrouped:
        lone = counted(manifest.ungrouped, "image")
        yield escape(f"{lone} carry no group identifier and count as groups of their own.")
    if study.left_out:
        told = "; ".join(f"{title.lower()}: {count(n)}" for title, n in study.left_out.items())
        yield escape(f"Left out while reading the metadata: {told}.")


def _folds(study: Study) -> Iterator[str]:
    protocol, split = study.protocol, study.protocol.split
    repeats = f", drawn {split.repeats} times" if split.repeats > 1 else ""
    arms = f" in each of the arms {listed(list(split.arms))}" if split.arms else ""
    stratify = listed(["class" if key == "label" else key for key in split.stratify])
    text = escape(
        f"The protocol {protocol.name} has {counted(split.folds, 'fold')}{arms}"
        f"{repeats}, frozen before any training and balanced by {stratify}"
    )
    yield text + (cite("sechidis2011stratification") if split.dealer == "iterative" else "") + "."
    if split.control:
        yield escape("Groups are divided on purpose: it is a control, and no method is ranked.")
    else:
        yield escape("All images of a group stand in one part of a fold.")
    yield escape(
        "Models learnt on the training part; early stopping, model choice and thresholds used the "
        f"validation part ({split.val:.0%} of the images); every test image was predicted by a "
        f"model that had learnt without {unseen('image' if split.control else 'group')}."
    )
    if study.submitted:
        yield escape("Of submitted predictions that is not verified.")
    for sentence in open_pairs(study):
        yield escape(sentence)


def _methods(study: Study) -> Iterator[str]:
    board = study.board
    rows = [row for row in board.rows if row.kind != "reference"]
    named = [name(row.name, 40).short for row in rows[:SHOWN]]
    more = [f"{len(rows) - SHOWN} more"] if len(rows) > SHOWN else []
    if rows:
        who = counted(len(rows), "method was", "methods were")
        yield escape(f"{who} compared: {listed([*named, *more])}.")
    joined = [name(row.name, 40).short for row in study.ensembles]
    if joined:
        yield escape(
            f"Of these, {listed(joined)} trained nothing, but "
            f"{'pools' if len(joined) == 1 else 'pool'} predictions of others by weights chosen, "
            "fold by fold, on the validation part."
        )
    submitted = [name(row.name, 40).short for row in study.submitted]
    if submitted:
        yield escape(f"Submitted as predictions, their training not verified: {listed(submitted)}.")
    unranked = [row for row in rows if row.facts.unranked or not row.complete]
    if unranked and not board.control:
        told = [name(row.name, 40).short for row in unranked]
        yield escape(f"Not ranked, being incomplete or of undeclared origin: {listed(told)}.")
    yield from _seeds(study)
    yield from _software(study)
    refs = [name(row.name).short for row in board.rows if row.kind == "reference"]
    if refs:
        yield escape(
            f"Reference rows that have learnt nothing from images ({listed(refs)}) stand beside "
            "them."
        )


def _seeds(study: Study) -> Iterator[str]:
    """Which seeds the numbers are of, and what the others are for."""
    rows, wanted = study.trained, sorted(set(study.protocol.run.seeds))
    if not rows:
        return
    named = listed(list(map(str, wanted)))
    over = f"of random seed {named}" if len(wanted) == 1 else f"means over random seeds {named}"
    whole = all(row.complete for row in rows)
    part = "" if whole else ", those of incomplete rows of what is there"
    yield escape(f"All numbers are {over}{part}.")
    further = {
        name(row.name, 40).short: listed(list(map(str, beyond)))
        for row in rows
        if (beyond := sorted(set(row.seeds) - set(wanted)))
    }
    if further:
        told = "; ".join(f"{row}: {seeds}" for row, seeds in further.items())
        yield escape(f"Further seeds ({told}) enter the spread over seeds only.")


def _software(study: Study) -> Iterator[str]:
    told: list[str] = []
    for key in ("python", "torch", "timm"):
        found = {row.facts.environment.get(key, "") for row in study.trained} - {""}
        if found:
            versions = escape(f"{key} {' or '.join(sorted(found))}")
            told.append(versions + (cite(CITED[key]) if key in CITED else ""))
    commits = {row.facts.environment.get("commit", "") for row in study.trained} - {""}
    at = ""
    if commits:
        at = escape(f", the bench's code at commit {listed(sorted(c[:12] for c in commits))}")
    if told:
        yield escape("Trained with ") + ", ".join(told) + at + "."


def _statistics(study: Study) -> Iterator[str]:
    board, made = study.board, study.board.interval
    primary = metric(board.primary).label
    yield (
        escape(
            f"The primary metric, fixed with the protocol, is {primary}. Counts and metrics made "
            "of them are worked out over the test predictions of all folds together; AUC and "
            "average precision are means over the folds in which they are defined"
        )
        + cite("forman2010apples")
        + "."
    )
    bca = cite("efron1987better") if made.method == "bca" else ""
    yield (
        escape(
            f"Intervals are {made.level:.0%} intervals from {count(made.resamples)} bootstrap "
            f"resamples of whole {plural(made.unit)}"
        )
        + cite("field2007bootstrapping")
        + escape(f" ({method_name(made.method)}")
        + bca
        + escape("; where all resamples agree, exact")
        + cite("clopper1934use")
        + escape("); they are conditional on the trained models")
        + cite("bates2024cross")
        + "."
    )
    tested = [one for one in board.comparisons if one.p_adjusted == one.p_adjusted]
    if board.comparisons:
        yield escape(
            "Differences are paired: both methods on the same resampled groups (percentile "
            "intervals)."
        )
    if tested:
        yield (
            escape("They were tested by the corrected resampled t test over the folds")
            + cite("nadeau2003inference")
            + escape(", adjusted by Holm's procedure over the pairs of ranked methods")
            + cite("holm1979simple")
            + escape(
                "; a method is called better only where interval and adjusted test both say so."
            )
        )
    if any(row.rank.best is not None for row in board.rows):
        yield (
            escape("Intervals of ranks come from ranking the methods anew in each resample")
            + cite("wiesenfarth2021methods")
            + "."
        )


def _reporting(study: Study) -> Iterator[str]:
    yield (
        escape("The items of STARD-AI, TRIPOD+AI and CLEAR Derm")
        + cite("stardai2025", "tripodai2024", "clearderm2022")
        + escape(
            " are answered, as far as the records go, in the supplementary table "
            f"(roster sha256 {study.manifest.roster_sha256[:16]}, roles sha256 "
            f"{study.protocol.roles[study.manifest.name].sha256[:16]})."
        )
    )
