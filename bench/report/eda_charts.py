"""Drawings of the EDA page."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bench.report.names import name
from bench.report.vega import ACCENT, SOFT, WIDTH, Drawing, class_colours, drawing

QUANTILES = {"low": 0.05, "q1": 0.25, "middle": 0.5, "q3": 0.75, "high": 0.95}


def boxes(
    values: pd.Series, by: pd.Series, order: Sequence[str], label: str, *, coloured: bool = True
) -> Drawing:
    """Quartiles as a box, the 5th and 95th percentile as a line, for every category."""
    import altair as alt

    named = {one: name(str(one), 20).short for one in order}
    colours = class_colours(order) if coloured else [ACCENT] * len(order)
    frame = pd.DataFrame({"value": values.to_numpy(), "by": by.to_numpy()}).dropna()
    records = [
        {"by": named[one], "colour": colour}
        | {key: float(own.quantile(share)) for key, share in QUANTILES.items()}
        for one, colour in zip(order, colours, strict=True)
        if len(own := frame.loc[frame["by"] == one, "value"])
    ]
    base = alt.Chart(
        alt.InlineData(values=records), width=WIDTH, height=40 + 22 * len(records)
    ).encode(y=alt.Y("by", type="nominal", sort=list(named.values()), title=None))
    plain = alt.Color("colour", type="nominal", scale=None)
    whiskers = base.mark_rule(color=SOFT).encode(
        x=alt.X("low", type="quantitative", title=None, scale=alt.Scale(zero=False)),
        x2="high",
    )
    box = base.mark_bar(height=11).encode(x=alt.X("q1", type="quantitative"), x2="q3", color=plain)
    middle = base.mark_tick(color="var(--paper)", thickness=2, height=11).encode(
        x=alt.X("middle", type="quantitative")
    )
    return drawing(alt.layer(whiskers, box, middle), label)
