"""docs/providers.md says what the declarations say."""

from __future__ import annotations

from pricing_server.providers import SOURCES
from pricing_server.providers.documentation import COMMAND, PATH, providers_document


def test_the_page_is_what_the_declarations_say() -> None:
    fresh = providers_document(SOURCES.values())
    assert PATH.read_text() == fresh, f"docs/providers.md is stale; write it with: {COMMAND}"


def test_every_source_and_every_price_field_is_on_the_page_with_its_unit() -> None:
    page = PATH.read_text()
    for source in SOURCES.values():
        section = page.split(f"\n## {source.slug}\n")[1].split("\n## ")[0]
        assert f"Evidence: {source.evidence.value}." in section
        assert source.facts, source.slug
        for path, field in source.fields.items():
            assert f"| `{path}` | {field.meter} | {field.unit} |" in section


def test_a_source_is_registered_under_its_own_slug_and_says_where_its_data_is() -> None:
    for slug, source in SOURCES.items():
        assert slug == source.slug
        assert (source.endpoint is None) == (source.release is not None)
