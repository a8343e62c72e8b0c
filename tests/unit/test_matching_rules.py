"""The promise of each matching rule, over a few names."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from llmpricing.matching import (
    Aliases,
    ClauseIndex,
    Match,
    MatchRule,
    ModelIndex,
    Name,
    NoMatch,
    Outcome,
    SameModel,
    Standing,
)
from llmpricing.matching.clause import (
    AllOf,
    AnyOf,
    Contains,
    EndsWith,
    Equals,
    ModelClause,
    Regex,
    StartsWith,
    UnsafePattern,
    compiled,
)
from pricing_server.domain.sellers import answer_order, is_maker
from pricing_server.lookup.matching.aliases import OTHER_NAMES
from pricing_server.lookup.matching.model_index import model_index

NAMES: list[Name] = [
    ("openai", "gpt-4o"),
    ("openai", "gpt-4o-2024-05-13"),
    ("openai", "gpt-5"),
    ("openrouter", "openai/gpt-4o"),
    ("openrouter", "anthropic/claude-sonnet-4.5"),
    ("azure", "gpt-4o"),
    ("azure", "gpt-5-2025-08-07"),
    ("groq", "openai/gpt-oss-120b"),
    ("together", "openai/gpt-oss-120b"),
    ("anthropic", "claude-sonnet-4-5"),
    ("anthropic", "claude-3-5-haiku-20241022"),
    ("google", "gemini-2.5-pro"),
    ("google", "gemini-1.5-flash"),
    ("aws", "anthropic.claude-opus-4-6-v1"),
    ("aws", "amazon.nova-pro-v1:0"),
    ("zai", "GLM-4.5"),
    ("zai", "glm-4.5"),
    ("ollama", "llama3"),
]
NO_CLAUSES = ClauseIndex(())


def index(
    *clauses: ModelClause,
    names: list[Name] = NAMES,
    standings: Mapping[Name, Standing] | None = None,
) -> ModelIndex:
    return model_index(names, ClauseIndex(clauses), standings=standings or {})


def test_without_a_provider_openai_slash_gpt_4o_is_openrouters() -> None:
    """OpenRouter lists exactly this id; only if nobody does is "openai/" a seller."""
    assert index().match("openai/gpt-4o") == Match(
        "openrouter", "openai/gpt-4o", MatchRule.EXACT_AT_SELLER
    )
    assert index().match("openai:gpt-4o") == Match("openai", "gpt-4o", MatchRule.SELLER_PREFIX)
    assert index().match("openai/gpt-5") == Match("openai", "gpt-5", MatchRule.SELLER_PREFIX)
    assert index().match("openai/gpt-4o", "openai") == Match(
        "openai", "gpt-4o", MatchRule.SELLER_PREFIX
    )


@pytest.mark.parametrize(
    ("name", "provider", "found"),
    [
        ("gpt-4o", "openai", ("openai", "gpt-4o", MatchRule.EXACT)),
        ("gpt-4o", None, ("openai", "gpt-4o", MatchRule.EXACT_AT_MAKER)),
        (
            "openai/gpt-oss-120b",
            None,
            ("groq", "openai/gpt-oss-120b", MatchRule.EXACT_AT_SELLER),
        ),
        ("GPT-4O", None, ("openai", "gpt-4o", MatchRule.CASE)),
        (
            "claude-3-5-haiku-latest",
            None,
            ("anthropic", "claude-3-5-haiku-20241022", MatchRule.ALIAS),
        ),
        ("azure/GPT-4o", None, ("azure", "gpt-4o", MatchRule.SELLER_PREFIX)),
        ("gpt-5-2025-08-07", "openai", None),  # Azure lists the date: it may be priced apart.
        ("gpt-5-2026-01-15", "openai", ("openai", "gpt-5", MatchRule.VERSION_SUFFIX)),
        ("gpt-5@20260115", "openai", ("openai", "gpt-5", MatchRule.VERSION_SUFFIX)),
        ("gpt-5-20250807", "azure", ("azure", "gpt-5-2025-08-07", MatchRule.VERSION_SUFFIX)),
        ("llama3:latest", "ollama", ("ollama", "llama3", MatchRule.VERSION_SUFFIX)),
        (
            "bedrock/anthropic.claude-opus-4-6-v1:0",
            None,
            ("aws", "anthropic.claude-opus-4-6-v1", MatchRule.VERSION_SUFFIX),
        ),
        ("gemini-2-5-pro", None, ("google", "gemini-2.5-pro", MatchRule.PUNCTUATION)),
        ("Claude-Sonnet-4.5", None, ("anthropic", "claude-sonnet-4-5", MatchRule.PUNCTUATION)),
        (
            "openrouter/anthropic/claude-sonnet-4-5-20250929",
            None,
            ("openrouter", "anthropic/claude-sonnet-4.5", MatchRule.PUNCTUATION),
        ),
    ],
)
def test_each_rule_and_composition_finds_its_model(
    name: str, provider: str | None, found: tuple[str, str, MatchRule] | None
) -> None:
    result = index().match(name, provider)

    assert result == (Match(*found) if found is not None else NoMatch((("openai", "gpt-5"),)))


@pytest.mark.parametrize("name", ["GPT-4o", "openai:gpt-4o", "gpt-4o-2030-01-01", "gemini-2-5-pro"])
def test_exact_only_leaves_all_other_rules_out(name: str) -> None:
    assert index().match(name, exact_only=True) == NoMatch()
    assert index().explain(name, exact_only=True).result == NoMatch()
    assert isinstance(index().match("gpt-4o", exact_only=True), Match)


def test_a_dated_name_is_not_the_model_if_its_seller_prices_dates_apart() -> None:
    assert index().match("gpt-4o-2024-08-06", "openai") == NoMatch((("openai", "gpt-4o"),))


def test_a_dated_name_is_the_model_if_the_catalogue_says_so() -> None:
    says = ModelClause("openai", "gpt-4o", Equals("gpt-4o-2024-08-06"))

    assert index(says).match("gpt-4o-2024-08-06") == Match(
        "openai", "gpt-4o", MatchRule.VERSION_SUFFIX
    )


def test_no_seller_stands_in_for_the_one_that_answers_but_prices_dates_apart() -> None:
    """Azure lists gpt-4o without other dates, but OpenAI is who answers for it."""
    assert index().match("gpt-4o-2026-01-01") == NoMatch((("openai", "gpt-4o"),))

    says = ModelClause("azure", "gpt-4o", Regex(r"^gpt-4o-\d{4}-\d{2}-\d{2}$"))

    assert index(says).match("gpt-4o-2026-01-01") == NoMatch((("openai", "gpt-4o"),))
    assert index(says).match("gpt-4o-2026-01-01", "azure") == Match(
        "azure", "gpt-4o", MatchRule.VERSION_SUFFIX
    )


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("gpt-5", "azure"),  # gpt-5-2025-08-07 is there
        ("claude-3-5-haiku", "anthropic"),
        ("amazon.nova-pro", "aws"),
        ("sonnet-4-5", "anthropic"),
    ],
)
def test_nothing_is_ever_added_to_a_name(name: str, provider: str) -> None:
    assert index().match(name, provider) == NoMatch()


def test_a_revision_is_left_out_only_at_sellers_who_write_them() -> None:
    """Bedrock charges more for an area than the maker does."""
    assert index().match("claude-sonnet-4-5-v1:0") == NoMatch()
    assert index().match("amazon.nova-pro-v1:0") != NoMatch()


def test_a_name_never_leaves_the_seller_that_it_is_asked_of() -> None:
    assert index().match("claude-sonnet-4-5", "azure") == NoMatch()
    assert index().match("openai/gpt-4o", "azure") == NoMatch()
    assert index().match("azure/gpt-4o", "openai") == NoMatch()
    assert index().match("gpt-4o", "nobody") == NoMatch()


def test_two_models_of_one_seller_match_nothing_and_are_both_suggested() -> None:
    both = (("zai", "GLM-4.5"), ("zai", "glm-4.5"))
    explanation = index().explain("Glm-4.5")

    assert index().match("Glm-4.5") == explanation.result == NoMatch(both)
    assert explanation.tried[-1].outcome is Outcome.AMBIGUOUS
    assert isinstance(index().match("glm-4.5"), Match)


def test_an_id_with_another_seller_in_front_has_no_maker_at_its_reseller() -> None:
    names = [("perplexity", "openai/gpt-5"), ("openrouter", "openai/gpt-5")]

    assert index(names=names).match("openai/gpt-5") == Match(
        "openrouter", "openai/gpt-5", MatchRule.EXACT_AT_SELLER
    )
    assert not is_maker("perplexity", "openai/gpt-5")
    assert is_maker("perplexity", "perplexity/sonar")
    assert is_maker("openai", "low/1024-x-1024/gpt-image-1")
    assert answer_order("perplexity", "sonar") < answer_order("openrouter", "sonar")


@pytest.mark.parametrize(
    "name",
    [
        "gemini-1.5-flash-8b",
        "gemini-1.5-flash-thinking",
        "gemini-1.5-flash-002-tuned",
        "gemini-1.5-flash:free",
        "my-gemini-1.5-flash",
        "gemini-1.5-flash-1.6",
    ],
)
def test_a_clause_that_states_a_part_of_a_name_is_no_word_for_the_rest(name: str) -> None:
    says = ModelClause("google", "gemini-1.5-flash", Contains("gemini-1.5-flash"))

    assert index(says).match(name) == NoMatch((("google", "gemini-1.5-flash"),))
    assert isinstance(index(says).match("gemini-1.5-flash-002"), Match)


@pytest.mark.parametrize(
    ("name", "model_id"),
    [
        ("gpt-5-codex", "gpt-5"),
        ("gpt-4o-mini-search-preview", "gpt-4o-mini"),
        ("MiniMax-M2.5", "MiniMax-M2"),
        ("gpt-realtime-2.1", "gpt-realtime-2"),
        ("mistral-large-latest", "mistral-large"),  # It moves before the catalogue says so.
        ("mistral-medium-2505", "mistral-medium-3-1"),
        ("gpt-5.1-mini", "gpt-5.1-codex-mini"),
        ("gemini-2.5-flash-preview-09-2025", "gemini-2.5-flash"),
    ],
)
def test_not_even_a_clause_that_states_a_name_makes_it_another_model(
    name: str, model_id: str
) -> None:
    said = index(ModelClause("x", model_id, Equals(name)), names=[("x", model_id)])

    assert said.match(name, "x") == NoMatch((("x", model_id),))


@pytest.mark.parametrize(
    ("name", "model_id"),
    [
        ("gpt-5.6", "gpt-5.6-sol"),
        ("grok-3-beta", "grok-3"),
        ("command-r-08-2024", "command-r"),
        ("codestral-2501", "codestral"),
        ("o3", "o3-2025-04-16"),
        ("accounts/fireworks/models/glm-5p2", "glm-5p2"),
        ("system.ai.kimi-k3", "databricks-kimi-k3"),
    ],
)
def test_a_clause_that_states_a_name_makes_it_an_alias(name: str, model_id: str) -> None:
    said = index(ModelClause("x", model_id, Equals(name)), names=[("x", model_id)])

    assert said.match(name, "x") == Match("x", model_id, MatchRule.CATALOGUE_CLAUSE)


def test_a_clause_gives_no_model_a_name_that_the_seller_lists_in_another_writing() -> None:
    """The clause says that the date costs the same; but the date is listed."""
    names = [("openai", "gpt-5.1"), ("openai", "gpt-5.1-2025-11-13")]
    says = ModelClause("openai", "gpt-5.1", Equals("gpt-5-1-2025-11-13"))

    assert index(says, names=names).match("gpt-5-1-2025-11-13") == Match(
        "openai", "gpt-5.1-2025-11-13", MatchRule.PUNCTUATION
    )


def test_an_area_of_bedrock_has_the_regional_price_that_the_catalogue_gives_it() -> None:
    """Whatever other areas are listed one by one; an area that is listed is its own model."""
    says = ModelClause(
        "aws", "regional.anthropic.claude-opus-5-v1:0", Contains("anthropic.claude-opus-5")
    )
    regional = ("aws", "regional.anthropic.claude-opus-5-v1:0")
    name = "eu.anthropic.claude-opus-5-v1:0"

    assert index(says, names=[regional]).match(name, "aws") == Match(
        *regional, MatchRule.CATALOGUE_CLAUSE
    )
    for listed in ("us.anthropic.claude-opus-5-v1:0", "anthropic.claude-opus-5-v1:0"):
        others = index(says, names=[regional, ("aws", listed)])
        assert others.match(name, "aws") == Match(*regional, MatchRule.CATALOGUE_CLAUSE)
        assert others.match(listed, "aws") == Match("aws", listed, MatchRule.EXACT)
    for unknown in ("us-gov.", "global.", "us-east-1/", "us.eu."):
        other = f"{unknown}anthropic.claude-opus-5-v1:0"
        assert index(says, names=[regional]).match(other, "aws") == NoMatch((regional,))


@pytest.mark.parametrize(
    ("clause", "holds_for", "not_for"),
    [
        (Equals("Gemini-1.5-Flash-Beta"), "gemini-1.5-flash-beta", "gemini-1.5-flash-bet"),
        (StartsWith("GEMINI-1.5-f"), "gemini-1.5-flash-001", "x/gemini-1.5-flash"),
        (EndsWith("1.5-flash"), "gemini-1.5-flash", "gemini-1.5-flash-001"),
        (Regex(r"^gemini-1\.5-flash-\d{3}$"), "gemini-1.5-flash-002", "gemini-1.5-flash-02"),
        (Regex(r"^(?:gemini|learnlm)-1\.5"), "gemini-1.5-flash-001", "gemini-15-flash-001"),
        (
            AllOf((StartsWith("gemini-1.5"), Regex(r"^(?!.*-tts)"))),
            "gemini-1.5-flash-001",
            "gemini-1.5-flash-tts",
        ),
        (
            AllOf((Regex("^gemini"), AnyOf((Contains("-9"), Contains("-001"))))),
            "gemini-1.5-flash-001",
            "gemini-1.5-flash-003",
        ),
        (AnyOf((Equals("x"), Equals("gemini-1.5-flash-0514"))), "gemini-1.5-flash-0514", "y"),
    ],
)
def test_every_kind_of_clause_is_understood(
    clause: Equals | StartsWith | EndsWith | Regex | AllOf | AnyOf, holds_for: str, not_for: str
) -> None:
    model = ("google", "gemini-1.5-flash")
    said = ClauseIndex([ModelClause(*model, clause)])

    def everything(name: Name) -> bool:
        return True

    assert said.find(holds_for, None, everything).accepted == (model,)
    assert said.find(holds_for, "openai", everything).accepted == ()
    assert said.find(holds_for, None, lambda name: False).accepted == ()
    assert said.find(not_for, None, everything).accepted == ()


@pytest.mark.parametrize(
    "pattern",
    [
        "gpt-4",  # may be found anywhere
        "^a|b",
        r"^(a+)+$",
        r"^(a*)*",
        r"^(?:a{1,9}){2,}",
        r"^.*x.*y",
        r"^(a)\1+",
        r"^(?P<a>b)(?P=a)",
        "^" + "a" * 200,
        "^(",
    ],
)
def test_a_pattern_that_may_take_long_is_left_out_and_named(pattern: str) -> None:
    with pytest.raises(UnsafePattern):
        compiled(pattern)

    said = ClauseIndex([ModelClause("google", "gemini", Regex(pattern))])

    assert len(said.unsafe) == 1
    assert said.unsafe[0].startswith("google:gemini: ")
    assert said.find("a" * 512, None, lambda name: True).accepted == ()


def test_no_name_stands_for_two_models_of_a_seller_in_the_alias_table() -> None:
    with pytest.raises(ValueError, match="anthropic:B stands twice"):
        Aliases([SameModel("anthropic", ("a", "b")), SameModel("anthropic", ("c", "B"))])
    assert OTHER_NAMES.of("open-mistral-nemo-2407")["mistral"][0] == "mistral-nemo"


@pytest.mark.parametrize(
    "name",
    [
        "bedrock/us-east-1/amazon.nova-pro-v1:0",
        "us.amazon.nova-pro-v1:0",
        "us-gov.amazon.nova-pro-v1:0",
        "amazon.nova-pro-v1:0:300k",
        "amazon.nova-pro-v2:0",
        "arn:aws:bedrock:eu-central-1::foundation-model/amazon.nova-pro-v1:0",
        "arn:aws-us-gov:bedrock:us-gov-west-1:123456789012:inference-profile/amazon.nova-pro-v1:0",
        "projects/p/locations/us-east5/publishers/google/models/gemini-2.5-pro",
    ],
)
def test_a_region_or_size_that_is_not_listed_has_nobody_elses_price(name: str) -> None:
    says = ModelClause("aws", "amazon.nova-pro-v1:0", Contains("amazon.nova-pro"))

    assert isinstance(index(says).match(name), NoMatch)


def test_an_explanation_lists_the_rules_in_order_up_to_the_one_that_decided() -> None:
    explanation = index().explain("openai:gpt-4o-2024-08-06")

    assert [step.rule for step in explanation.tried] == list(MatchRule)[1:]
    assert explanation.tried[5].outcome is Outcome.REFUSED
    assert explanation.tried[5].found == (("openai", "gpt-4o"),)
    assert explanation.result == NoMatch((("openai", "gpt-4o"),))

    explanation = index().explain("azure/GPT-4o")

    assert [step.rule for step in explanation.tried][-1] is MatchRule.SELLER_PREFIX
    assert explanation.tried[-1].found == (("azure", "gpt-4o"),)


def test_an_explanation_tells_all_sellers_of_an_id() -> None:
    [step] = index().explain("gpt-4o").tried

    assert step.found == (("openai", "gpt-4o"), ("azure", "gpt-4o"))


def test_no_look_alike_of_another_alphabet_counts_as_a_latin_letter() -> None:
    for name in (
        "gpt\N{NON-BREAKING HYPHEN}4o",
        "gpt-4\N{CYRILLIC SMALL LETTER O}",
        "\N{FULLWIDTH LATIN CAPITAL LETTER G}PT-4o",
        "openai:gpt-4o\N{ZERO WIDTH SPACE}",
    ):
        assert index().match(name) == NoMatch()
    assert index(names=[("x", "\N{KELVIN SIGN}imi")]).match("kimi") == NoMatch()


def test_a_listed_name_beyond_the_bound_is_found_but_no_other_rule_reads_it() -> None:
    long = "m" * 600

    assert index(names=[("x", long)]).match(long) == Match("x", long, MatchRule.EXACT_AT_SELLER)
    assert index(names=[("x", long)]).match(long.upper()) == NoMatch()


# Without a seller, one with a price answers.

COPILOT: Name = ("github-copilot", "claude-sonnet-4.5")
UNPRICED_COPILOT = {COPILOT: Standing.UNPRICED}


def test_a_later_rule_finds_the_price_that_an_exact_listing_does_not_have() -> None:
    found = index(names=[*NAMES, COPILOT], standings=UNPRICED_COPILOT)
    exact = Match(*COPILOT, MatchRule.EXACT_AT_SELLER)
    priced = Match("anthropic", "claude-sonnet-4-5", MatchRule.PUNCTUATION, unpriced=exact)

    assert found.match(COPILOT[1]) == found.explain(COPILOT[1]).result == priced
    tried = {step.rule: step for step in found.explain(COPILOT[1]).tried}
    assert tried[MatchRule.EXACT_AT_MAKER].outcome is Outcome.NOTHING
    assert tried[MatchRule.EXACT_AT_SELLER].outcome is Outcome.UNPRICED
    assert tried[MatchRule.EXACT_AT_SELLER].found == (COPILOT,)
    assert tried[MatchRule.PUNCTUATION].outcome is Outcome.MATCHED
    assert found.match(COPILOT[1], exact_only=True) == exact
    assert found.explain(COPILOT[1], exact_only=True).result == exact


def test_with_a_seller_its_unpriced_listing_is_the_match() -> None:
    found = index(names=[*NAMES, COPILOT], standings=UNPRICED_COPILOT)

    for name in (COPILOT[1], COPILOT[1].upper()):
        at = found.match(name, "github-copilot")
        assert isinstance(at, Match)
        assert (at.provider, at.model_id, at.unpriced) == (*COPILOT, None)
        assert found.explain(name, "github-copilot").result == at


@pytest.mark.parametrize("name", ["m-4.5", "M-4.5", "m-4-5"])
def test_of_the_sellers_of_a_rule_those_with_a_price_come_first_and_delisted_ones_last(
    name: str,
) -> None:
    models = [(seller, "m-4.5") for seller in ("anthropic", "openai", "aws", "zebra")]
    standings = dict(zip(models, reversed(Standing), strict=True))
    found = index(names=models, standings=standings)
    order = [seller for seller, _ in reversed(models)]

    step = found.explain(name).tried[-1]
    assert step.outcome is Outcome.MATCHED
    assert [seller for seller, _ in step.found] == order
    for left in range(3, 0, -1):
        rest = index(names=models[:left], standings=standings)
        match = rest.match(name)
        assert isinstance(match, Match)
        assert match.provider == order[4 - left]


def test_a_maker_without_a_price_gives_way_to_a_seller_with_one_and_is_told() -> None:
    models = [("openai", "m"), ("zebra", "m")]
    found = index(names=models, standings={models[0]: Standing.UNPRICED})

    assert found.match("m") == Match("zebra", "m", MatchRule.EXACT_AT_SELLER)
    at_maker, at_seller = found.explain("m").tried
    assert (at_maker.outcome, at_maker.found) == (Outcome.UNPRICED, (models[0],))
    assert (at_seller.outcome, at_seller.found) == (Outcome.MATCHED, (models[1], models[0]))


def test_a_name_without_any_price_leads_to_what_the_first_rule_found() -> None:
    models = [("acme", "Some-4.5"), ("zebra", "some-4-5"), ("openai", "some-4-5-20250929")]
    found = index(names=models, standings=dict.fromkeys(models, Standing.UNPRICED))

    assert found.match("some-4.5") == Match("acme", "Some-4.5", MatchRule.CASE)
    assert found.match("some-4-5") == Match("zebra", "some-4-5", MatchRule.EXACT_AT_SELLER)
    for name in ("some-4.5", "some-4-5"):
        outcomes = {step.outcome for step in found.explain(name).tried}
        assert outcomes == {Outcome.UNPRICED, Outcome.NOTHING}


def test_several_priced_models_of_one_seller_do_not_take_the_place_of_an_unpriced_one() -> None:
    models = [("acme", "glm-4.5"), ("zai", "GLM-4.5"), ("zai", "Glm-4.5")]
    found = index(names=models, standings={models[0]: Standing.UNPRICED})

    assert found.match("glm-4.5") == Match("acme", "glm-4.5", MatchRule.EXACT_AT_SELLER)
    assert found.explain("glm-4.5").tried[-1].outcome is Outcome.AMBIGUOUS
    assert found.explain("glm-4.5").result == found.match("glm-4.5")


def test_a_seller_in_front_of_a_name_is_not_left_for_one_with_a_price() -> None:
    found = index(names=[*NAMES, COPILOT], standings=UNPRICED_COPILOT)

    name = "github-copilot/claude-sonnet-4.5"
    assert found.match(name) == Match(*COPILOT, MatchRule.SELLER_PREFIX)
    assert found.explain(name).tried[-1].outcome is Outcome.MATCHED


def test_a_delisted_model_does_not_take_the_place_of_a_listed_one_without_a_price() -> None:
    models = [("acme", "some-4.5"), ("zebra", "some-4-5")]
    standings = {models[0]: Standing.UNPRICED, models[1]: Standing.DELISTED}
    found = index(names=models, standings=standings)

    assert found.match("some-4.5") == Match(*models[0], MatchRule.EXACT_AT_SELLER)
