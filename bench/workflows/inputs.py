"""Check labels, probabilities and groups that a user gives as arrays."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from bench.errors import PredictionError, listing
from bench.io import class_fault
from bench.predictions import sum_to_one

FEWEST_CLASSES = 2
ROUNDED = 0.02
"""Row sums this near to 1 come from rounding."""


@dataclass(frozen=True)
class Inputs:
    """Checked inputs of N images and C classes.

    classes  C names in the order of the columns; labels  N class names
    probs    (N, C) float64 by name, rows sum to 1; groups  N group names, None: each image alone
    """

    classes: tuple[str, ...]
    labels: list[str]
    probs: dict[str, np.ndarray]
    groups: list[str] | None


def read_inputs(
    y_true: object,
    probs: Mapping[str, object],
    groups: object,
    classes: Sequence[Hashable] | None,
) -> Inputs:
    """Read lists, arrays, Series, DataFrames or torch tensors.

    probs    by the name that messages use; a DataFrame with named columns is brought into the order
             of the classes
    classes  names in the order of unnamed columns; None: the first DataFrame's columns, 0 to C-1
             for integer labels, else the sorted labels

    Integer labels are class names where every class name is an integer, else positions. Raises
    PredictionError that names what is wrong and where.
    """
    _refuse_other_index({"y_true": y_true, "groups": groups, **probs})
    truth = _vector(y_true, "y_true")
    tables = {name: _matrix(value, name) for name, value in probs.items()}
    columns = {name: _column_names(value, name) for name, value in probs.items()}
    counts = {name: len(table) for name, table in tables.items()}
    given_groups = None if groups is None else _groups(groups)
    _refuse_lengths({"y_true": len(truth), **counts}, given_groups)
    first = next(iter(tables.values()))
    named = next((names for names in columns.values() if names is not None), None)
    names = _class_names(classes, named, truth, first.shape[1])
    ordered = {
        name: _checked(_in_order(table, columns[name], names, name), names, name)
        for name, table in tables.items()
    }
    return Inputs(names, _labels(truth, names), ordered, given_groups)


def _refuse_other_index(given: Mapping[str, object]) -> None:
    """Raise PredictionError where pandas objects have different indexes: rows would be mixed up."""
    known = [(n, v.index) for n, v in given.items() if isinstance(v, pd.Series | pd.DataFrame)]
    for (a, first), (b, other) in pairwise(known):
        if len(first) == len(other) and not first.equals(other):
            raise PredictionError(
                f"{a} and {b} have different indexes; bring them into one order, for example "
                "with .loc, or pass .to_numpy()"
            )


def _refuse_lengths(lengths: Mapping[str, int], groups: list[str] | None) -> None:
    every = {**lengths, **({} if groups is None else {"groups": len(groups)})}
    if len(set(every.values())) > 1:
        counts = ", ".join(f"{name} has {count} rows" for name, count in every.items())
        raise PredictionError(f"{counts}; give one row for each image")


def _array(value: object, name: str) -> np.ndarray:
    """A numpy array of a list, array, Series, DataFrame or torch tensor."""
    if hasattr(value, "detach"):  # a torch tensor, without importing torch
        tensor = value.detach().cpu()
        value = (tensor.float() if "bfloat16" in str(tensor.dtype) else tensor).numpy()
    if isinstance(value, np.ma.MaskedArray) and np.ma.getmaskarray(value).any():
        raise PredictionError(f"{name}: has masked values; drop these images")
    if isinstance(value, Iterator):
        value = list(value)
    try:
        return np.asarray(value)
    except ValueError as error:
        raise PredictionError(f"{name}: not an array of equal rows ({error})") from None


def _vector(value: object, name: str) -> np.ndarray:
    array = _array(value, name)
    if array.ndim == 2 and array.shape[1] == 1:  # noqa: PLR2004 - a column
        array = array[:, 0]
    if array.ndim != 1:
        raise PredictionError(f"{name} has the shape {array.shape}, expected one value an image")
    if not len(array):
        raise PredictionError(f"{name} is empty")
    missing = np.flatnonzero(pd.isna(array))
    if len(missing):
        raise PredictionError(
            f"{name}: {len(missing)} missing values, the first in row {missing[0]}"
        )
    return array


def _matrix(value: object, name: str) -> np.ndarray:
    """Probabilities (N, C) float64; one column is the probability of the second of two classes."""
    if isinstance(value, pd.DataFrame):
        text = [c for c in value.columns if not pd.api.types.is_numeric_dtype(value[c])]
        if text:
            raise PredictionError(f"{name}: columns that are not numbers: {listing(text)}")
    array = _array(value, name)
    try:
        array = array.astype(np.float64)
    except (TypeError, ValueError):
        raise PredictionError(f"{name}: holds values that are not numbers") from None
    if array.ndim == 1:
        array = np.stack([1 - array, array], axis=1)
    if array.ndim != 2 or array.shape[1] < FEWEST_CLASSES:  # noqa: PLR2004 - a matrix
        raise PredictionError(
            f"{name} has the shape {array.shape}, expected (images, classes) with 2 classes or more"
        )
    return array


def _column_names(probs: object, name: str) -> tuple[str, ...] | None:
    """Class names of a DataFrame's columns; None for columns without names."""
    if not isinstance(probs, pd.DataFrame) or probs.columns.equals(pd.RangeIndex(probs.shape[1])):
        return None
    names = [str(column) for column in probs.columns]
    if any(each.startswith("p_") for each in names):
        others = [each for each in names if not each.startswith("p_")]
        if others:
            raise PredictionError(
                f"{name}: columns that are not probabilities: {listing(others)}; drop them"
            )
        names = [each.removeprefix("p_") for each in names]
    return tuple(names)


def _class_names(
    classes: Sequence[Hashable] | None,
    columns: tuple[str, ...] | None,
    truth: np.ndarray,
    count: int,
) -> tuple[str, ...]:
    """Class names: given, of named columns, 0 to C-1 for integer labels, or the sorted labels."""
    if classes is not None:
        names = tuple(str(name) for name in classes)
    elif columns is not None:
        names = columns
    elif _is_integer(truth):
        names = tuple(map(str, range(count)))
    else:
        names = tuple(sorted({str(label) for label in truth.tolist()}))
        if len(names) != count:
            raise PredictionError(
                f"y_true has {len(names)} labels ({listing(names)}) and probs {count} columns; "
                "name the columns in their order with classes=[...]"
            )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PredictionError(f"classes: {listing(twice)} given twice")
    for name in names:
        if fault := class_fault(name):
            raise PredictionError(f"classes: {name!r} {fault}; rename it")
    return names


def _in_order(
    probs: np.ndarray, columns: tuple[str, ...] | None, names: tuple[str, ...], what: str
) -> np.ndarray:
    """Columns in the order of the classes, by name where they have names."""
    if probs.shape[1] != len(names):
        raise PredictionError(
            f"{what} has {probs.shape[1]} columns for {len(names)} classes ({listing(names)})"
        )
    if columns is None:
        return probs
    if set(columns) != set(names):
        raise PredictionError(
            f"{what}: its columns are {listing(columns)}, the classes {listing(names)}"
        )
    return probs[:, [columns.index(name) for name in names]]


def _checked(probs: np.ndarray, names: tuple[str, ...], what: str) -> np.ndarray:
    """The same probabilities. Raises PredictionError that names the first wrong row."""
    for wrong, fault in (
        (~np.isfinite(probs).all(axis=1), "values that are not finite"),
        ((probs < 0).any(axis=1), "negative values"),
    ):
        if wrong.any():
            rows = np.flatnonzero(wrong)
            raise PredictionError(
                f"{what}: {fault} in {len(rows)} rows, the first is row {rows[0]}"
            )
    sums = probs.sum(axis=1)
    rows = np.flatnonzero(~sum_to_one(sums))
    if len(rows):
        near = np.abs(sums - 1).max() < ROUNDED or np.abs(sums - 100).max() < 100 * ROUNDED
        cure = "divide each row by its sum" if near else "give probabilities, such as a softmax"
        raise PredictionError(
            f"{what}: {len(rows)} rows do not sum to 1, the first is row {rows[0]} "
            f"(sum {sums[rows[0]]:.4g} over {listing(names)}); {cure}"
        )
    return probs


def _is_integer(truth: np.ndarray) -> bool:
    if truth.dtype == bool or np.issubdtype(truth.dtype, np.integer):
        return True
    if np.issubdtype(truth.dtype, np.floating):
        return bool((truth == np.rint(truth)).all())
    return truth.dtype == object and all(
        isinstance(each, int | np.integer) for each in truth.tolist()
    )


def _labels(truth: np.ndarray, names: tuple[str, ...]) -> list[str]:
    """Class name of every image."""
    if _is_integer(truth):
        codes = [int(each) for each in truth.tolist()]
        by_value = all(name.removeprefix("-").isdigit() for name in names)
        known = {int(name): name for name in names} if by_value else dict(enumerate(names))
        wrong = sorted({code for code in codes if code not in known})
        if wrong:
            expected = listing(list(names)) if by_value else f"0 to {len(names) - 1}"
            raise PredictionError(f"y_true: unknown labels {listing(wrong)}; expected {expected}")
        return [known[code] for code in codes]
    labels = [str(each) for each in truth.tolist()]
    unknown = sorted(set(labels) - set(names))
    if unknown:
        raise PredictionError(
            f"y_true: unknown labels {listing(unknown)}; classes are {listing(names)}"
        )
    return labels


def _groups(groups: object) -> list[str]:
    values = [str(each) for each in _vector(groups, "groups").tolist()]
    empty = [row for row, value in enumerate(values) if not value.strip()]
    if empty:
        raise PredictionError(f"groups: {len(empty)} empty values, the first in row {empty[0]}")
    return [f"g{value}" for value in values]
