"""How the payload of each source is made of rows, so that tests can change single ones."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from llmpricing.names import name_fault
from pricing_server.domain.json_document import decode_json
from pricing_server.domain.names import printable
from pricing_server.domain.sellers import canonical
from pricing_server.domain.source_listing import Listing
from pricing_server.providers import SOURCES, google, google_vertex, litellm
from pricing_server.providers.google_skus import Meaning, Unread
from pricing_server.providers.portkey import PARTS
from tests._recorded import recorded
from tests.unit._sources import FIXTURES, NOW

Key = tuple[str, str]
"""Seller and model id."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A row and the keys that lead to it; rows of a list have none."""

    row: Any
    place: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shape:
    """The payload of a source: a list of rows, or objects of rows by name."""

    slug: str
    fixture: str
    split: Callable[[Any], list[Placed]]
    join: Callable[[Any, list[Placed]], object]
    """A document with these rows, and beside them what is no row of the first argument."""
    key_of: Callable[[Placed], Key | None]
    """What a row is listed under; None if it names no model."""
    new_place: Callable[[int], tuple[str, ...]] = lambda _: ()
    """Of a row that is not in the fixture."""
    prices_at: tuple[str, ...] | None = ()
    """Where in a row a price nobody has heard of is named as such; None if nowhere."""
    unheard_of: object = 1
    recording: Callable[[], object] | None = None
    """The recorded payload; skips where that is not."""
    unread_code: Callable[[Placed], str] | None = None
    """Set where a model is made of several rows, none of which tells of it alone: what a notice
    says of a row that is listed under nothing."""

    @property
    def is_of_skus(self) -> bool:
        """Whether a model is made of several rows."""
        return self.unread_code is not None

    @property
    def document(self) -> Any:
        """The fixture, as it is decoded."""
        return _fixture(self.fixture)

    @property
    def rows(self) -> list[Placed]:
        """Those of the fixture."""
        return self.split(self.document)

    def read(self, rows: Iterable[Placed]) -> Listing:
        """What the source makes of a document with these rows."""
        return SOURCES[self.slug].read(self.join(self.document, list(rows)), NOW)

    def with_prices(self, placed: Placed, names: Iterable[str]) -> Placed:
        """The row with prices of these names that nobody has heard of."""
        row = copy.deepcopy(placed.row)
        prices = row
        for key in self.prices_at or ():
            prices = prices.setdefault(key, {})
        prices |= dict.fromkeys(names, self.unheard_of)
        return Placed(row, placed.place)

    def name_of(self, placed: Placed) -> str | None:
        """What a notice calls the row: its name in a file of rows, else the model's id."""
        own = self.key_of(placed)
        return placed.place[0] if len(placed.place) == 1 else own and own[1]

    def is_of(self, key: Key, placed: Placed) -> bool:
        """Whether a listed model comes from this row; a row may tell of `id:sub-provider` too."""
        own = self.key_of(placed)
        return own is not None and (key == own or key[1].startswith(f"{own[1]}:"))


def rows_in_a_list(
    slug: str,
    fixture: str | None = None,
    *,
    under: str | None = "data",
    id_key: str = "id",
    prices_at: tuple[str, ...] | None = (),
    recording: str | None = None,
) -> Shape:
    """One row for each model of a seller, in a bare list or in that under a key."""

    def key_of(placed: Placed) -> Key | None:
        return _named(slug, placed.row.get(id_key) if isinstance(placed.row, dict) else None)

    return Shape(
        slug,
        fixture or slug.replace("-", "_"),
        split=lambda document: [Placed(row) for row in _listed(document, under)],
        join=lambda _, rows: _as_list(under, [each.row for each in rows]),
        key_of=key_of,
        prices_at=prices_at,
        recording=_recorded(f"{recording}.json") if recording else None,
    )


def skus(slug: str, meaning_of: Callable[[str], Meaning | Unread]) -> Shape:
    """SKUs, of which several make a model: a row is listed under what its description means."""

    def told_by(placed: Placed) -> Meaning | Unread:
        text = placed.row.get("description") if isinstance(placed.row, dict) else None
        if not isinstance(text, str) or not text.strip():
            return Unread("unreadable")
        return meaning_of(" ".join(text.lower().replace("_", " ").split()))

    def key_of(placed: Placed) -> Key | None:
        told = told_by(placed)
        return (slug, told.model_id) if isinstance(told, Meaning) else None

    def unread_code(placed: Placed) -> str:
        told = told_by(placed)
        assert isinstance(told, Unread), "the row is listed under a model"
        return f"sku:{printable(told.code, 60)}"

    return Shape(
        slug,
        slug.replace("-", "_"),
        split=lambda document: [Placed(row) for row in document["skus"]],
        join=lambda _, rows: {"skus": [each.row for each in rows]},
        key_of=key_of,
        prices_at=None,
        unread_code=unread_code,
    )


def rows_by_name(
    slug: str,
    depth: int,
    key_of: Callable[[Placed], Key | None],
    new_place: Callable[[int], tuple[str, ...]],
    *,
    prices_at: tuple[str, ...],
    recording: Callable[[], object],
    unheard_of: object = 1,
) -> Shape:
    """Rows at a depth of objects within objects."""
    return Shape(
        slug,
        slug.replace("-", "_"),
        split=lambda document: list(_leaves(document, depth, slug)),
        join=lambda document, rows: _with_leaves(document, rows, slug),
        key_of=key_of,
        new_place=new_place,
        prices_at=prices_at,
        unheard_of=unheard_of,
        recording=recording,
    )


@cache
def _fixture(name: str) -> Any:
    return decode_json((FIXTURES / f"{name}.json").read_bytes())


def _named(seller: str, model_id: object) -> Key | None:
    usable = isinstance(model_id, str) and name_fault(model_id) is None
    return (seller, str(model_id)) if usable else None


def _recorded(name: str) -> Callable[[], object]:
    return lambda: decode_json(recorded(name).read_bytes())


def _listed(document: Any, under: str | None) -> list[Any]:
    rows: list[Any] = document if under is None else document[under]
    return rows


def _as_list(under: str | None, rows: list[Any]) -> object:
    return rows if under is None else {under: rows}


def _leaves(
    document: Mapping[str, Any], depth: int, slug: str, place: tuple[str, ...] = ()
) -> Iterator[Placed]:
    for name, value in document.items():
        if depth > 1:
            inner = value["models"] if slug == "models-dev" else value
            yield from _leaves(inner, depth - 1, slug, (*place, name))
        elif name not in _NO_ROWS[slug]:
            yield Placed(value, (*place, name))


def _with_leaves(document: Mapping[str, Any], rows: list[Placed], slug: str) -> object:
    if slug == "litellm":
        kept = {name: row for name, row in document.items() if name in _NO_ROWS[slug]}
        return kept | {placed.place[0]: placed.row for placed in rows}
    sellers: dict[str, dict[str, Any]] = {}
    for placed in rows:
        seller, name = placed.place
        sellers.setdefault(seller, {})[name] = placed.row
    if slug == "models-dev":
        return {name: document[name] | {"models": models} for name, models in sellers.items()}
    return {
        name: {key: row for key, row in document[name].items() if key in _NO_ROWS[slug]} | models
        for name, models in sellers.items()
    }


_NO_ROWS: Final[Mapping[str, frozenset[str]]] = {
    "models-dev": frozenset(),
    "portkey": frozenset({"default"}),
    "litellm": frozenset({"sample_spec", "together-ai-4.1b-8b"})
    | {"bedrock/*/1-month-commitment/acme.claw-v1:0"},
}
"""What stands among the rows of a catalogue and is none."""


def _models_dev_key(placed: Placed) -> Key | None:
    return _named(canonical(placed.place[0]), placed.place[1])


def _portkey_key(placed: Placed) -> Key | None:
    seller, name = placed.place
    for size in ("128k", "200k"):
        name = name.removesuffix(f"-lte-{size}").removesuffix(f"-gt-{size}")
    return _named(canonical(seller), name)


def _litellm_key(placed: Placed) -> Key | None:
    stated = placed.row.get("litellm_provider") if isinstance(placed.row, dict) else None
    if not isinstance(stated, str) or name_fault(stated):
        return _named("", placed.place[0])
    seller = litellm.seller_of(stated)
    return _named(seller, litellm.model_id_of(placed.place[0], stated, seller))


SHAPES: Final = (
    rows_in_a_list("openrouter", prices_at=None),
    rows_in_a_list("deepinfra", recording="deepinfra"),
    rows_in_a_list("deepinfra", "deepinfra_list", under=None, id_key="model_name"),
    rows_in_a_list("novita", recording="novita"),
    rows_in_a_list("together", under=None, recording="together"),
    rows_in_a_list("chutes", recording="chutes"),
    rows_in_a_list("cerebras", recording="cerebras_public_2026"),
    rows_in_a_list("huggingface", recording="huggingface"),
    rows_in_a_list("featherless", prices_at=None, recording="featherless"),
    rows_in_a_list("groq", recording="groq"),
    rows_in_a_list("fireworks", recording="fireworks"),
    rows_in_a_list(
        "near-ai", under="models", id_key="modelId", recording="nearai_model_list.sample"
    ),
    rows_in_a_list(
        "vercel-ai-gateway", prices_at=("pricing",), recording="vercel_v1_models.doc-sample"
    ),
    skus("google", google.meaning_of),
    skus("google-vertex", google_vertex.meaning_of),
    rows_in_a_list("alibaba-cloud"),
    rows_by_name(
        "models-dev",
        2,
        _models_dev_key,
        lambda number: ("acme", f"odd-{number}"),
        prices_at=("cost",),
        recording=_recorded("models_dev_api.json"),
    ),
    rows_by_name(
        "portkey",
        2,
        _portkey_key,
        lambda number: ("dashscope", f"odd-{number}"),
        prices_at=("pricing_config", "pay_as_you_go"),
        unheard_of={"price": 1},
        recording=lambda: {part: _recorded(f"portkey_{part}.json")() for part in PARTS},
    ),
    rows_by_name(
        "litellm",
        1,
        _litellm_key,
        lambda number: (f"odd-{number}",),
        prices_at=(),
        recording=_recorded("litellm.json"),
    ),
)
"""Of every source that is fetched, and of each form of its answer."""
