"""The part of the price table that a change of prices is planned against."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from llmpricing.rate_card import PriceState, RateCard
from pricing_server.domain.disagreement import Disagreement
from pricing_server.domain.quote import Quote
from pricing_server.domain.source import Source
from pricing_server.domain.source_listing import ListedModel, Listing
from pricing_server.postgres.connection import Connection, Row, card_of
from pricing_server.postgres.readers.holds import (
    coverage_of,
    is_first_sync,
    read_holds,
    read_other_sellers,
    read_usual_prices,
)
from pricing_server.postgres.statements import statements
from pricing_server.sync.table_state import Attribution, KnownModel, TableState

_SQL = statements("sync")


async def read_state(connection: Connection, source: Source, listing: Listing) -> TableState:
    """The part of the price table that a listing of the source may touch."""
    sellers = list({model.provider for model in listing.models})
    cursor = await connection.execute(
        _SQL["read_models"], {"providers": sellers, "source": source.slug}
    )
    models = {model.key: model async for model in (known_model(row) async for row in cursor)}
    quotes = await read_quotes(connection, models.values())
    cursor = await connection.execute(_SQL["previous_obtained_at"], {"source": source.slug})
    previous = await cursor.fetchone()
    state = TableState(
        models,
        quotes,
        previous["obtained_at"] if previous else None,
        await is_first_sync(connection, source),
        await read_holds(connection, source, sellers),
    )
    new = (model for model in listing.models if not _is_quoted(state, model, source))
    state = replace(state, other_sellers=await read_other_sellers(connection, new))
    if not any(_is_news(state, model, source) for model in listing.models):
        return state
    return replace(state, usual_prices=await read_usual_prices(connection))


async def read_quotes(
    connection: Connection, models: Iterable[KnownModel]
) -> dict[int, tuple[Quote, ...]]:
    """All quotes of these models, by model key."""
    providers = {model.model_key: model.provider for model in models}
    cursor = await connection.execute(_SQL["read_quotes"], {"model_keys": list(providers)})
    quotes: dict[int, list[Quote]] = {}
    async for row in cursor:
        quotes.setdefault(row["model_key"], []).append(
            Quote(
                source=row["source"],
                rank=row["rank"],
                is_own_api=row["own_provider"] == providers[row["model_key"]],
                card_id=row["card_id"],
                state=PriceState(row["state"]),
                obtained_at=row["obtained_at"],
                stated_since=row["stated_since"],
                is_patch=row["is_patch"],
                percent=row["percent"],
                is_dated=row["is_dated"],
                coverage=coverage_of(row),
                missing_syncs=row["missing_syncs"],
                stated_as=row["stated_as"],
                is_inferred=row["is_inferred"],
            )
        )
    return {key: tuple(found) for key, found in quotes.items()}


def known_model(row: Row) -> KnownModel:
    """A model in a row with the price in force."""
    return KnownModel(
        model_key=row["model_key"],
        provider=row["provider"],
        model_id=row["model_id"],
        is_active=row["is_active"],
        card_id=row["card_id"],
        attribution=_attribution(row),
        is_reverted=row["is_reverted"],
    )


def _attribution(row: Row) -> Attribution | None:
    if row["source"] is None:
        return None
    beneath = (row["beneath_source"], row["beneath_stated_as"])
    return Attribution(
        source=row["source"],
        stated_as=row["stated_as"],
        rate_sources=tuple(row["rate_sources"]),
        beneath=beneath if row["beneath_source"] is not None else None,
        beneath_card_id=row["beneath_card_id"],
        beneath_rate_sources=tuple(row["beneath_rate_sources"])
        if row["beneath_rate_sources"] is not None
        else None,
        disagreements=tuple(map(Disagreement.from_document, row["disagreements"])),
    )


def _is_quoted(state: TableState, listed: ListedModel, source: Source) -> bool:
    model = state.models.get(listed.key)
    return model is not None and any(
        quote.source == source.slug for quote in state.quotes_of(model)
    )


def _is_news(state: TableState, listed: ListedModel, source: Source) -> bool:
    """Whether a price has to be judged: it is not what the source stated before."""
    before = state.quote_by(source.slug, listed.key)
    return listed.card.state is PriceState.PRICED and (
        before is None or before.card_id != listed.card.card_id
    )


async def read_cards(connection: Connection, card_ids: Collection[str]) -> dict[str, RateCard]:
    """Stored cards by id."""
    cursor = await connection.execute(_SQL["read_cards"], {"card_ids": list(card_ids)})
    return {row["card_id"]: card_of(row) async for row in cursor}
