"""Which column of a table each field, or key of a series, gets."""

from __future__ import annotations

from collections.abc import Mapping

from mltraq_prefect.storage.sql.dialects import Dialect
from mltraq_prefect.storage.values.kinds import KEY, Kind
from mltraq_prefect.storage.values.layout import Column, Layout, Space
from mltraq_prefect.storage.values.projection import Projected

OF_RUNS: dict[str, Kind] = {"id_run": KEY}
"""What each table of runs has beside its fields."""


def layout_for(
    fields: Mapping[str, Projected],
    base: Layout,
    dialect: Dialect,
    columns_left: int | None,
    fixed: Mapping[str, Kind] = OF_RUNS,
) -> Layout:
    """Return the layout of a table that has room for fields.

    Args:
        fields: The fields by key.
        base: The layout that it has.
        dialect: The backend.
        columns_left: How many columns more it can get; as many as a new one has if None.
        fixed: The kinds of its columns that are no fields, by name.
    """
    layout = dict(base)
    most = dialect.max_columns
    if columns_left is not None:  # some were dropped, and count nevertheless
        has = len(fixed) + sum(column.name is not None for column in base.values())
        most = min(most, has + columns_left)
    widths = {kind: type_.width for kind, type_ in dialect.types.items()}
    space = Space(fixed, base, most, dialect.max_row, widths, fields)
    for key, projected in fields.items():
        known = base.get(key)
        name = space.reserve(key, projected.kind) if known is None else known.name
        layout[key] = Column(name, projected.kind, projected.type)
    return layout
