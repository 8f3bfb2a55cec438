"""Arithmetic on sixty-four lanes as functions of compiled code, in the processor's own vectors.

A step is a Python function of one line of numbers a state row and one an item:

    def found(state, weights, values): total, seen = state; ...; return total, seen

`stepping` turns it into a function that compiled code calls for one place of a ranking. Left to
itself the compiler vectorises such loops too, but asks before each run of one whether its arrays
overlap, which takes as long as the step.

numba's cache knows when `loops` was changed, not this module: change both, or clear `__pycache__`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba import intp, void
from numba.core.cgutils import alloca_once_value, for_range
from numba.extending import intrinsic

from bench.score.fallback import LANES

GROUP_BYTES = 4  # one item
ABREAST = 8  # float64 in the widest registers; narrower machines take several of theirs
FUSED = ("contract",)  # a product and its sum in one instruction, rounded once, where there is one
COUNT, GROUP, DOUBLE, ADDRESS = ir.IntType(8), ir.IntType(32), ir.DoubleType(), ir.IntType(64)


@dataclass(frozen=True)
class Lanes:
    """The float64 of some lanes while a step is being compiled: sums become instructions."""

    builder: Any
    value: Any

    def __add__(self, other: Lanes) -> Lanes:
        return Lanes(self.builder, self.builder.fadd(self.value, other.value, flags=FUSED))

    def __mul__(self, other: Lanes) -> Lanes:
        return Lanes(self.builder, self.builder.fmul(self.value, other.value, flags=FUSED))


Step = Callable[[Sequence[Lanes], Sequence[Lanes], Sequence[Sequence[Lanes]]], Sequence[Lanes]]


def stepping(step: Step, items: int, state: int, values: int = 0) -> Any:
    """A step as a function of four addresses: weights, items, values and state.

    The step is given the state's rows (S, 64) float64, the weights of the next `items` items (their
    group numbers are int32, weights (G, 64) uint8), and each item's `values` (float64); what it
    returns is written to the state's first rows.
    """

    def build(_context: Any, builder: Any, _signature: Any, given: Sequence[Any]) -> None:
        weights, places, numbers, rows = given
        lines = [_line(builder, weights, places, item) for item in range(items)]
        known = [
            [_spread(builder, numbers, item * values + k) for k in range(values)]
            for item in range(items)
        ]
        for lane in range(0, LANES, ABREAST):
            held = [_row(builder, rows, k * LANES + lane) for k in range(state)]
            drawn = [_counts(builder, line, lane) for line in lines]
            for k, new in enumerate(step(held, drawn, known)):
                _store(builder, new.value, rows, (k * LANES + lane) * 8)

    def typed(_typing: Any, _weights: Any, _items: Any, _values: Any, _state: Any) -> Any:
        return void(intp, intp, intp, intp), build

    return intrinsic(typed)


def summing() -> Any:
    """A function of weights, items, how many of them, and a sum (64,) uint8 that it writes."""

    def build(_context: Any, builder: Any, _signature: Any, given: Sequence[Any]) -> None:
        weights, places, count, into = given
        kind = ir.VectorType(COUNT, LANES)
        zeros = ir.Constant(kind, None)
        total = alloca_once_value(builder, zeros)  # type: ignore[no-untyped-call]
        with for_range(builder, count) as loop:
            place = builder.add(places, builder.mul(loop.index, ADDRESS(GROUP_BYTES)))
            line = _load(builder, kind, _line(builder, weights, place))
            builder.store(builder.add(builder.load(total), line), total)
        _store(builder, builder.load(total), into)

    def typed(_typing: Any, _weights: Any, _items: Any, _count: Any, _total: Any) -> Any:
        return void(intp, intp, intp, intp), build

    return intrinsic(typed)


def _load(builder: Any, kind: Any, address: Any, shift: int = 0) -> Any:
    place = builder.add(address, ADDRESS(shift))
    return builder.load(builder.inttoptr(place, kind.as_pointer()), align=1)


def _store(builder: Any, value: Any, address: Any, shift: int = 0) -> None:
    place = builder.add(address, ADDRESS(shift))
    builder.store(value, builder.inttoptr(place, value.type.as_pointer()), align=1)


def _line(builder: Any, weights: Any, places: Any, item: int = 0) -> Any:
    """The address of an item's weights."""
    group = builder.zext(_load(builder, GROUP, places, GROUP_BYTES * item), ADDRESS)
    return builder.add(weights, builder.mul(group, ADDRESS(LANES)))


def _counts(builder: Any, line: Any, lane: int) -> Lanes:
    counts = _load(builder, ir.VectorType(COUNT, ABREAST), line, lane)
    return Lanes(builder, builder.uitofp(counts, ir.VectorType(DOUBLE, ABREAST)))


def _row(builder: Any, rows: Any, at: int) -> Lanes:
    return Lanes(builder, _load(builder, ir.VectorType(DOUBLE, ABREAST), rows, 8 * at))


def _spread(builder: Any, numbers: Any, at: int) -> Lanes:
    """One number in every lane."""
    kind = ir.VectorType(DOUBLE, ABREAST)
    alone = builder.insert_element(
        ir.Constant(kind, ir.Undefined), _load(builder, DOUBLE, numbers, 8 * at), GROUP(0)
    )
    order = ir.Constant(ir.VectorType(GROUP, ABREAST), None)
    return Lanes(builder, builder.shuffle_vector(alone, alone, order))
