"""Prefect blocks: they keep the database URL out of the parameters of flow runs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import httpx
from prefect.blocks.core import Block
from prefect.blocks.system import Secret
from pydantic import Field, HttpUrl, SecretStr

from mltraq_prefect.errors import InvalidInput, StorageUnavailable
from mltraq_prefect.orchestration.prefect_compat import rendered_url
from mltraq_prefect.orchestration.server_status import no_answer
from mltraq_prefect.orchestration.temporary_server import await_temporary_server

PICKLE_KEY_BLOCK = "mltraq-pickle-key"
"""Name of the `Secret` block that may hold the key for signing pickles."""


class ExperimentStore(Block):
    """Prefect block that holds the SQLAlchemy URL of a database of experiments, as a secret.

    Attributes:
        url (SecretStr): SQLAlchemy URL, such as
            ``postgresql+psycopg://user:password@host/database``.
    """

    _block_type_name = "Experiment Store"
    _block_type_slug = "experiment-store"
    _description = "The database of mltraq_prefect's experiments."
    _documentation_url = HttpUrl(
        "https://github.com/mltraq-prefect/mltraq_prefect/blob/main/docs/deployments.md"
    )

    url: SecretStr = Field(
        title="URL",
        description="SQLAlchemy URL, such as postgresql+psycopg://user:password@host/database.",
    )


def url_of_block(name: str) -> str:
    """Return the database URL that a block holds.

    Args:
        name: Name of an `ExperimentStore` block; or type and name of a block of prefect-sqlalchemy,
            such as ``sqlalchemy-connector/results`` or ``database-credentials/results``.

    Raises:
        InvalidInput: There is no such block, or it holds no URL.
        StorageUnavailable: Prefect's server does not say what is in it.
    """
    document = name if "/" in name else f"{ExperimentStore.get_block_type_slug()}/{name}"
    block = _loaded(document)
    if isinstance(block, ExperimentStore):
        return block.url.get_secret_value()
    url = _sqlalchemy_url(block)
    if url is None:
        raise InvalidInput(
            f"the block {document!r} holds no database URL; use an ExperimentStore block, or a "
            "SqlAlchemyConnector or DatabaseCredentials of prefect-sqlalchemy"
        )
    return url


def _loaded(document: str) -> Block:
    try:
        with _asked(document), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return cast(Block, Block.load(document))
    except ValueError:
        kind, _, name = document.partition("/")
        raise InvalidInput(
            f"Prefect has no block {document!r}; make one with "
            f'mltraq_prefect.ExperimentStore(url="...").save({name!r}), or in the UI under Blocks'
            if kind == ExperimentStore.get_block_type_slug()
            else f"Prefect has no block {document!r}; make one in the UI, under Blocks"
        ) from None


@contextmanager
def _asked(document: str) -> Iterator[None]:
    """Ask Prefect's server for a block; say in a sentence if it does not answer."""
    await_temporary_server()
    try:
        yield
    except httpx.HTTPError as error:
        raise StorageUnavailable(
            f"the block {document!r} cannot be read: {no_answer(error)}"
        ) from None


def _sqlalchemy_url(block: Any) -> str | None:
    url = rendered_url(block)
    return None if url is None else str(url.render_as_string(hide_password=False))


def pickle_key_of_block() -> str | None:
    """Return the key in the `Secret` block ``mltraq-pickle-key``, or None if there is none."""
    try:
        with _asked(PICKLE_KEY_BLOCK):
            secret = cast(Secret[Any], Secret.load(PICKLE_KEY_BLOCK))
    except ValueError:
        return None
    return str(secret.get())
