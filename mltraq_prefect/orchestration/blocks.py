"""Prefect blocks: where a flow finds its database without the URL entering Prefect's parameters."""

from __future__ import annotations

from typing import cast

from prefect.blocks.core import Block
from pydantic import Field, SecretStr


class ExperimentStore(Block):
    """The database of experiments, by its SQLAlchemy URL."""

    _block_type_name = "Experiment Store"
    _block_type_slug = "experiment-store"

    url: SecretStr = Field(
        title="URL",
        description="SQLAlchemy URL, such as postgresql+psycopg://user:password@host/database",
    )


def url_of_block(name: str) -> str:
    """Return the URL in the `ExperimentStore` block of this name."""
    block = cast(ExperimentStore, ExperimentStore.load(name))
    return block.url.get_secret_value()
