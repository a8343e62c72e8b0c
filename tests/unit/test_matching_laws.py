"""What holds for every name that real sellers list, and for any text at all."""

from __future__ import annotations

import os
import random
import re
import tracemalloc
from collections.abc import Callable, Mapping
from datetime import date
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpricing.matching import Match, MatchRule, ModelIndex, Name, NoMatch
from llmpricing.matching.spelling import date_writings, dated, fold, punctuation_key, shortened
from llmpricing.rate_card import PriceState, RateCard
from llmpricing.schedule import headline
from pricing_server.lookup.matching.model_index import model_index
from tests._coverage import NOW
from tests.unit._model_names import (
    UNIVERSES,
    cards,
    catalogue_cards,
    catalogue_clauses,
    catalogue_index,
    standings,
)

universes = pytest.mark.parametrize(
    "universe", ["catalogue", pytest.param("recordings", marks=pytest.mark.recorded)]
)

_NEVER_LISTED_DATE: Final = "2039-12-31"


def _universe(name: str) -> tuple[frozenset[Name], ModelIndex]:
    names, index = UNIVERSES[name]
    return names(), index()


def _key(model_id: str) -> str:
    return punctuation_key(fold(model_id))


_MANY_AND_UNPRICED: Final = frozenset({"featherless"})

_ALSO_NAMED: Final = {
    # The alias table, and the catalogue, say so of these names.
    "text-embedding-ada-002-v2": "text-embedding-ada-002",
    "gpt-3.5-turbo-0613": "gpt-3.5-turbo",
    "gpt-3.5-turbo-16k-0613": "gpt-3.5-turbo-16k",
    "gpt-4-0613": "gpt-4",
    "gpt-4-32k-0613": "gpt-4-32k",
}
_NAMESPACE: Final = re.compile(
    r"accounts/fireworks/(?:models|routers)/|perplexity/|(?:eu|in|us)[.]"
)


def _is_named(found: Match, text: str) -> bool:
    """Whether a model has this name, written as its seller does: with its namespace or area, the
    revision ":0" or none."""
    name = _NAMESPACE.sub("", _key(text), count=1).removesuffix(":0")
    model_id = _NAMESPACE.sub("", _key(found.model_id), count=1).removeprefix("regional.")
    is_named = model_id in (_key(text), name) or _key(found.model_id) == _key(text)
    return (
        is_named
        or _key(found.model_id) == _key(text).removesuffix(":0")
        or (_ALSO_NAMED.get(text) == found.model_id)
    )


def _wrong(
    universe: str, variant: Callable[[Name], str | None], is_right: Callable[[Name, Match], bool]
) -> list[tuple[Name, str, Match]]:
    """The matches, at its own seller, of a variant of each name that are not right."""
    names, index = _universe(universe)
    wrong = []
    for name in sorted(names):
        text = variant(name)
        if text is None or text == name[1] or name[0] in _MANY_AND_UNPRICED:
            continue
        result = index.match(text, name[0])
        if isinstance(result, Match):
            assert result.provider == name[0]
            if not is_right(name, result):
                wrong.append((name, text, result))
    return wrong


@universes
def test_every_listed_name_matches_itself_at_its_seller(universe: str) -> None:
    names, index = _universe(universe)

    assert [
        name for name in names if index.match(name[1], name[0]) != Match(*name, MatchRule.EXACT)
    ] == []


@universes
def test_every_listed_id_has_a_seller_of_exactly_this_id_without_one(universe: str) -> None:
    names, index = _universe(universe)

    for _, model_id in names:
        result = index.match(model_id)
        assert isinstance(result, Match)
        exact = result.unpriced or result
        assert exact.model_id == model_id
        assert (exact.provider, model_id) in names
        assert exact.rule in (MatchRule.EXACT_AT_MAKER, MatchRule.EXACT_AT_SELLER)


@pytest.mark.recorded
def test_without_a_seller_no_unpriced_listing_answers_while_one_of_the_id_has_a_price() -> None:
    names, index = _universe("recordings")
    unpriced = standings(names)
    sellers: dict[str, list[str]] = {}
    for provider, model_id in names:
        sellers.setdefault(model_id, []).append(provider)
    led_elsewhere = 0

    for model_id, at in sellers.items():
        result = index.match(model_id)
        assert isinstance(result, Match)
        is_priced = any((seller, model_id) not in unpriced for seller in at)
        assert (result.model_id == model_id and result.unpriced is None) or not is_priced
        if is_priced or result.unpriced is not None:
            assert (result.provider, result.model_id) not in unpriced
        led_elsewhere += result.unpriced is not None

    assert led_elsewhere > 20


@universes
@pytest.mark.parametrize("change", [str.upper, str.lower, str.title, str.swapcase])
def test_a_name_in_other_case_is_that_model_or_none(
    universe: str, change: Callable[[str], str]
) -> None:
    assert (
        _wrong(
            universe,
            lambda name: change(name[1]) if name[1].isascii() else None,
            lambda name, found: fold(found.model_id) == fold(name[1]),
        )
        == []
    )


@universes
@pytest.mark.parametrize("separator", ["/", ":"])
def test_a_name_with_its_seller_in_front_is_that_model(universe: str, separator: str) -> None:
    names, index = _universe(universe)

    for provider, model_id in names:
        text = f"{provider}{separator}{model_id}"
        right = {(provider, model_id), (provider, text)}
        asked = index.match(text, provider)
        assert isinstance(asked, Match)
        assert (asked.provider, asked.model_id) in right
        # Without a seller, somebody may list the whole, in any case.
        found = index.match(text)
        assert isinstance(found, Match)
        assert (found.provider, found.model_id) in right or fold(found.model_id) == fold(text)


@universes
@pytest.mark.parametrize(
    "suffix",
    [f"-{_NEVER_LISTED_DATE}", f"-{_NEVER_LISTED_DATE.replace('-', '')}", "@20391231", ":latest"],
)
def test_a_name_with_a_version_behind_it_is_that_model_or_none(universe: str, suffix: str) -> None:
    def is_right(name: Name, found: Match) -> bool:
        return _key(found.model_id) == _key(name[1])

    assert _wrong(universe, lambda name: name[1] + suffix, is_right) == []


@universes
def test_a_name_with_a_dash_for_a_dot_is_that_model_or_none(universe: str) -> None:
    dash = re.compile(r"(?<=\d)\.(?=\d)")

    def is_right(name: Name, found: Match) -> bool:
        return _key(found.model_id) == _key(name[1])

    assert _wrong(universe, lambda name: dash.sub("-", name[1]), is_right) == []


@universes
def test_a_name_with_a_dot_for_a_dash_is_that_model_or_none(universe: str) -> None:
    dot = re.compile(r"(?<=\d)-(?=\d)")

    def is_right(name: Name, found: Match) -> bool:
        return _key(found.model_id) == _key(name[1])

    assert _wrong(universe, lambda name: dot.sub(".", name[1]), is_right) == []


@universes
@pytest.mark.parametrize(
    "suffix",
    [
        *("-mini", "-nano", "-pro", "-lite", "-turbo", "-fast", "-preview", "-thinking", "-high"),
        *(":free", ":nitro", ":online", ":thinking", ":batch", "-8b", "-instruct", "-vision"),
        *("-v2", "-2", ".1", "1", "-0613", "-us", "-reasoning", "-exp", "x", "-audio-preview"),
    ],
)
def test_a_name_with_another_word_behind_it_is_another_model(universe: str, suffix: str) -> None:
    def is_right(name: Name, found: Match) -> bool:
        return _is_named(found, name[1] + suffix)

    assert _wrong(universe, lambda name: name[1] + suffix, is_right) == []


@universes
@pytest.mark.parametrize("prefix", ["us.", "eu.", "us-gov.", "us-east-1/", "my-", "fine-tuned/"])
def test_a_name_with_something_in_front_that_is_no_seller_is_another_model(
    universe: str, prefix: str
) -> None:
    def is_right(name: Name, found: Match) -> bool:
        return _is_named(found, prefix + name[1])

    assert _wrong(universe, lambda name: prefix + name[1], is_right) == []


@universes
def test_a_name_with_another_number_in_it_is_another_model(universe: str) -> None:
    """Each number of each name, one up: "gpt-5" for "gpt-4", and -7b for -6b."""

    def changes(model_id: str) -> list[str]:
        numbers = list(re.finditer(r"\d+", model_id))
        return [
            f"{model_id[: each.start()]}{int(each[0]) + 1}{model_id[each.end() :]}"
            for each in numbers
        ]

    names, index = _universe(universe)
    wrong = []
    for provider, model_id in sorted(names):
        for text in changes(model_id):
            result = index.match(text, provider)
            if isinstance(result, Match) and result.model_id == model_id:
                wrong.append((provider, model_id, text, result.rule))

    assert wrong == []


@universes
def test_no_rule_answers_for_a_seller_that_does_not_list_the_model(universe: str) -> None:
    names, index = _universe(universe)
    ids = sorted({model_id for _, model_id in names})

    for model_id in ids:
        for provider in ("openai", "anthropic", "google", "aws", "mistral", "openrouter"):
            result = index.match(model_id, provider)
            if isinstance(result, Match):
                assert result.provider == provider
                assert (result.provider, result.model_id) in names


_PRICED_TWICE: Final = {
    # Perplexity sells Sonar by two APIs, at two prices.
    ("perplexity", "perplexity/sonar"),
}


def _cost(card: RateCard) -> object:
    found = headline(card, NOW)
    return None if found.state is PriceState.UNPRICED else (found.prompt, found.completion)


@pytest.mark.parametrize(
    ("universe", "cards_of"),
    [
        ("catalogue", catalogue_cards),
        pytest.param("catalogue", cards, marks=pytest.mark.recorded),
        pytest.param("recordings", cards, marks=pytest.mark.recorded),
    ],
)
def test_a_name_that_is_not_listed_leads_to_no_model_of_another_price(
    universe: str, cards_of: Callable[[], Mapping[Name, Mapping[str, RateCard]]]
) -> None:
    """Each listed name, while it and a thirtieth of all are not: what it leads to then costs as
    much, where one source knows the prices of both. (Of one model two sources often differ.)"""
    names, _ = _universe(universe)
    known = cards_of()
    ordered = sorted(names)
    compared = 0
    wrong = []
    for part in range(30):
        left_out = ordered[part::30]
        index = model_index(names.difference(left_out), catalogue_clauses())
        for name in left_out:
            result = index.match(name[1], name[0])
            if isinstance(result, NoMatch):
                continue
            one, two = known[name], known[result.provider, result.model_id]
            for source in one.keys() & two.keys():
                costs = _cost(one[source]), _cost(two[source])
                if None not in costs:
                    compared += 1
                    if costs[0] != costs[1] and name not in _PRICED_TWICE:
                        wrong.append((name, result, source, costs))

    assert wrong == []
    assert universe == "catalogue" or compared > 100


def _hostile_names(count: int) -> list[str]:
    """Names that are real, mutated, glued together, repeated, or no names at all."""
    dice = random.Random(20261110)
    real = sorted({model_id for _, model_id in UNIVERSES["catalogue"][0]()})
    pieces = ["/", ":", "@", "-", ".", "v1:0", "2024-08-06", "ft:", "us.", "models/", "openai/"]
    pieces += ["bedrock/converse/", "-" * 40, "9" * 60, "%s", "\n", "[", "(", "\0", "\ud800"]
    pieces += ["\N{ARABIC-INDIC DIGIT FOUR}", "\N{KELVIN SIGN}"]
    found = []
    for _ in range(count):
        text = dice.choice(real)
        for _ in range(dice.randrange(1, 5)):
            at = dice.randrange(len(text) + 1)
            match dice.randrange(5):
                case 0:
                    text = text[:at] + dice.choice(pieces) + text[at:]
                case 1:
                    text = text[:at] + text[at + 1 :]
                case 2:
                    text = text + dice.choice(real)
                case 3:
                    text = ((text[:at] or "a") * dice.randrange(1, 300))[:10_000]
                case _:
                    text = "".join(chr(dice.randrange(1, 0x3000)) for _ in range(at))
        found.append(text)
    return found


def test_thousands_of_hostile_names_end_and_leave_nothing_behind() -> None:
    # `make torture` asks for more.
    names = _hostile_names(int(os.environ.get("PRICING_TEST_NAMES", "2000")))
    index = catalogue_index()
    for name in names[:100]:
        index.explain(name)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number, name in enumerate(names):
            result = index.match(name, "openai" if number % 3 == 0 else None)
            if isinstance(result, NoMatch):
                assert len(result.suggestions) <= 5
        del result
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    assert grown < 10 * len(names)  # bytes


@given(st.text(max_size=600), st.none() | st.sampled_from(["openai", "aws", "nobody"]))
def test_any_text_has_an_answer_that_is_explained_alike(name: str, provider: str | None) -> None:
    index = catalogue_index()

    assert index.explain(name, provider).result == index.match(name, provider)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=127), max_size=40))
def test_keys_are_their_own_keys(text: str) -> None:
    assert fold(fold(text)) == fold(text)
    assert punctuation_key(punctuation_key(text)) == punctuation_key(text)


@given(
    st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True),
    st.dates(date(2020, 1, 1), date(2039, 12, 31)),
    st.sampled_from(["-%Y%m%d", "-%Y-%m-%d", "@%Y%m%d"]),
)
def test_a_date_is_the_same_in_each_of_its_writings(base: str, day: date, form: str) -> None:
    text = f"{base}{day:{form}}"

    writings = {text, *date_writings(text)}

    assert len(writings) == 3
    assert {dated(each) for each in writings} == {(base, tuple(f"{day:%Y %m %d}".split()))}
    assert [short.text for short in shortened(text)][-1] == base
