"""The page docs/providers.md, written from the declarations of the sources."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from pricing_server.domain.price_field import Field
from pricing_server.domain.source import SAYS_ALL, KeyUse, Source, ZeroMeans
from pricing_server.providers import SOURCES

COMMAND: Final = "python -m pricing_server.providers.documentation"
PATH: Final = Path(__file__).parents[2] / "docs" / "providers.md"

_WIDTH: Final = 90

_HEAD: Final = f"""# Providers

Generated from the declarations in `pricing_server/providers/` by
`{COMMAND}`.

A unit belongs to one field of one endpoint and is declared there; there is no default
unit. A field that is not listed here becomes no rate: where it looks like a price, the
run names it (`unknown_key:...`). A missing price is never zero. A model without a price
is `UNPRICED`, and its price may come from another source of the same seller or from a
[later layer](contract.md#when-the-price-table-has-no-price).

Evidence is `recorded` (a real payload was read row by row), `documented` or `inferred`.
The first sync of a source that is not `recorded` is [held](operations.md#held-changes) until
an admin approves it. So is that of a recorded one with fewer than five models that anything
else prices, unless its units are proven: the recorded prices were compared with those of
other sources of the same seller.

`make coverage` prints how many models of how many sellers each source prices, and all of
them together, from the recorded payloads and the bundled catalogue, without any network.
"""


def providers_document(sources: Iterable[Source]) -> str:
    """The page: an overview, then a section for each source."""
    listed = list(sources)
    overview = [
        "| source | tells of | evidence | key | zero means |",
        "|---|---|---|---|---|",
        *(
            f"| [{each.slug}](#{each.slug}) | {each.provider or 'many sellers'} "
            f"| {each.evidence.value} | {_key(each)} | {_zero(each)} |"
            for each in listed
        ),
    ]
    parts = [_HEAD, "\n".join(overview) + "\n", *("\n".join(_section(one)) for one in listed)]
    return "\n".join(parts)


def _section(source: Source) -> Iterator[str]:
    yield f"## {source.slug}\n"
    if source.release:
        asked = (
            f"Version {source.release.version} of {source.release.released_at:%Y-%m-%d} ships with "
            "the server and is synced at start when its version changes."
        )
    else:
        asked = f"`GET {source.endpoint}`." if source.endpoint else "No address of its own."
    yield _paragraph(f"{source.display_name}. {asked}") + "\n"
    proven = "Its units are proven. " if source.proven_units else ""
    yield _bullet(f"Evidence: {source.evidence.value}. {proven}{source.facts}".rstrip())
    if source.endpoint:
        declared = source.key_use is not KeyUse.NONE
        sent = f" (`{source.key_variable}`), sent {source.key_sent}" if declared else ""
        yield _bullet(f"Key: {_key(source)}{sent}.")
        yield _bullet(f"Paging: {_paging(source)}.")
    yield _bullet(f"Zero means: {_zero(source)}.")
    if source.coverage == SAYS_ALL:
        yield _bullet("A missing rate means: nothing is charged; no other source fills it.")
    if source.context_length_field:
        yield _bullet(f"Context length: `{source.context_length_field}`, in tokens.")
    yield from map(_bullet, source.notes)
    yield ""
    yield from _fields(source.fields)


def _fields(fields: Mapping[str, Field]) -> Iterator[str]:
    if not fields:
        yield "No price fields.\n"
        return
    yield "| field | meter | unit |"
    yield "|---|---|---|"
    for path, field in fields.items():
        yield f"| `{path}` | {field.meter} | {field.unit} |"
    yield ""


def _key(source: Source) -> str:
    return source.key_use.value


def _zero(source: Source) -> str:
    if source.zero_means is ZeroMeans.FREE_IF_DECLARED:
        return f"free where {source.free_where}, else no price"
    return str(source.zero_means.value)


def _paging(source: Source) -> str:
    paging = source.paging
    if paging is None and source.parts:
        names = ", ".join(f"`{part}`" for part in source.parts)
        return f"one document for each `{{part}}`: {names}"
    if paging is None:
        return "everything in one answer"
    if paging.token_key:
        return f"`{paging.parameter}` is the `{paging.token_key}` of the page before, until none is"
    if paging.pages_key:
        return f"`{paging.parameter}` is the page's number, up to `{paging.pages_key}`"
    return f"`{paging.parameter}` passes over rows, until there are `{paging.total_key}` of them"


def _bullet(text: str) -> str:
    return _paragraph(text, "- ", "  ")


def _paragraph(text: str, first: str = "", rest: str = "") -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


if __name__ == "__main__":
    PATH.write_text(providers_document(SOURCES.values()))
