"""Which sellers' models are one and the same: laws, and names of real sellers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing_server.costs.families import Families
from pricing_server.costs.model_identity import Doubt, Identity, LeftOutReason, Offered, Same
from tests._coverage import listings
from tests._recorded import RecordingMissing
from tests.unit._strategies import few

NOW = datetime(2026, 11, 20, tzinfo=UTC)
OTHER = "other"


def said(one: Offered, other: Offered, *more: Offered) -> str:
    """What is said of `other` where `one` is asked for, of all that is listed."""
    family = Families([one, other, *more]).of(one, NOW)
    for found in family.found:
        if found.model is other:
            return found.identity.value
    left_out = {(each.provider, each.model_id) for each in family.left_out}
    return "left out" if (other.provider, other.model_id) in left_out else "another"


def model(model_id: str, provider: str = OTHER, **known: str) -> Offered:
    return Offered(provider, model_id, **known)  # type: ignore[arg-type]  # of texts only


# Names of sellers ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "model_id"),
    [
        ("groq", "openai/gpt-oss-120b"),
        ("azure-ai", "GPT-OSS-120B"),
        ("aws", "openai.gpt-oss-120b-1:0"),
        ("bedrock-mantle", "openai.gpt-oss-120b"),
        ("cloudflare", "@cf/openai/gpt-oss-120b"),
        ("cloudflare-ai-gateway", "workers-ai/@cf/openai/gpt-oss-120b"),
        ("databricks", "databricks-gpt-oss-120b"),
        ("venice", "openai-gpt-oss-120b"),
        ("fireworks", "accounts/fireworks/models/gpt-oss-120b"),
        ("google-vertex", "openai/gpt-oss-120b-maas"),
        ("synthetic", "hf:openai/gpt-oss-120b"),
        ("ollama-cloud", "gpt-oss-120b:latest"),
    ],
)
def test_the_same_name_in_another_writing_is_the_same_model(provider: str, model_id: str) -> None:
    asked = model("gpt-oss-120b", "openai")
    assert said(asked, model(model_id, provider)) == Identity.NAME
    assert said(model(model_id, provider), asked) == Identity.NAME


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("gpt-oss-120b", "gpt-oss-20b"),
        ("gpt-4o", "gpt-4o-mini"),
        ("gpt-4", "gpt-4-turbo"),
        ("grok-4", "grok-4-fast"),
        ("o1", "o1-preview"),
        ("llama-3.1-8b", "llama-3.1-8b-instruct"),
        ("llama-3.1-8b", "llama-3.1-80b"),
        ("claude-3-5-sonnet", "claude-3-7-sonnet"),
        ("claude-sonnet-4", "claude-sonnet-4-5"),
        ("gemini-2.5-flash", "gemini-2.5-flash-lite"),
        ("gpt-4o-2024-05-13", "gpt-4o-2024-08-06"),
        ("deepseek-r1", "deepseek-r1-0528"),
        ("kimi-k2", "kimi-k2-thinking"),
        ("qwen3-8b", "qwen3-8b-2507"),
        ("gpt-4o", "ft:gpt-4o:acme::abc"),
        ("ft:gpt-4o:acme::abc", "ft:gpt-4o:acme::xyz"),
        ("mistral-7b-instruct-v0.1", "mistral-7b-instruct-v0.2"),
    ],
)
def test_another_model_is_never_compared_nor_mentioned(one: str, other: str) -> None:
    assert said(model(one, "here"), model(other)) == "another"
    assert said(model(other), model(one, "here")) == "another"


@pytest.mark.parametrize(
    "other",
    [
        "llama-3.3-70b-instruct:free",
        "llama-3.3-70b-instruct:batch",
        "llama-3.3-70b-instruct:nitro",
        "llama-3.3-70b-instruct-fp8",
        "llama-3.3-70b-instruct-fp8-fast",
        "meta-llama/Llama-3.3-70B-Instruct-Turbo",
        "llama-3.3-70b-instruct-tee",
        "us.meta.llama-3.3-70b-instruct-v1:0",
        "us-gov-east-1/meta.llama-3.3-70b-instruct",
        "TEE/llama-3.3-70b-instruct",
        "unsloth/Llama-3.3-70B-Instruct",
    ],
)
def test_what_is_sold_apart_or_published_by_others_is_left_out(other: str) -> None:
    asked = model("llama-3.3-70b-instruct", "groq")
    assert said(asked, model(other)) == "left out"
    assert said(model(other), asked) == "left out"


def test_variants_are_compared_with_their_like() -> None:
    free = model("meta-llama/llama-3.3-70b-instruct:free", "openrouter")
    assert said(free, model("meta-llama/llama-3.3-70b-instruct:free")) == Identity.NAME


@pytest.mark.parametrize(
    "name", ["deepseek-chat", "mistral-large", "mistral-small-latest", "qwen-max"]
)
def test_a_name_that_makers_give_to_newer_models_says_nothing(name: str) -> None:
    assert said(model(name, "here"), model(name)) == "left out"


def test_a_date_is_dropped_only_where_the_model_has_no_other() -> None:
    undated = model("claude-sonnet-4-5", "anthropic")
    dated = model("anthropic.claude-sonnet-4-5-20250929-v1:0", "aws")
    same_date = model("claude-sonnet-4-5@20250929", "google-vertex")
    another = model("claude-sonnet-4-5-20251231", "somebody")
    assert said(undated, dated) == Identity.NAME
    assert said(dated, undated, same_date) == Identity.NAME
    assert said(dated, same_date, another) == Identity.NAME
    assert said(undated, dated, another) == said(dated, undated, another) == "left out"
    assert said(dated, another) == "another"


def test_bedrocks_revision_says_no_more_than_the_date_before_it() -> None:
    dated = model("claude-3-5-sonnet-20241022", "anthropic")
    assert said(dated, model("anthropic.claude-3-5-sonnet-20241022-v2:0", "aws")) == Identity.NAME
    assert said(model("acme-1", "acme"), model("acme.acme-1-v2:0", "aws")) == "another"


def test_of_a_seller_the_closest_is_taken_and_the_other_is_said() -> None:
    asked = model("gpt-5-2025-08-07", "azure")
    family = Families([asked, model("gpt-5", "openai"), model("gpt-5-2025-08-07", "openai")]).of(
        asked, NOW
    )
    assert [found.model.model_id for found in family.found[1:]] == ["gpt-5-2025-08-07"]
    assert [(each.model_id, each.message) for each in family.left_out] == [
        ("gpt-5", "gpt-5-2025-08-07 is closer")
    ]


def test_two_models_of_a_seller_by_the_same_identity_are_both_left_out() -> None:
    asked = model("gpt-oss-120b", "openai")
    family = Families(
        [asked, model("gpt-oss-120b", "scaleway"), model("openai/gpt-oss-120b", "scaleway")]
    ).of(asked, NOW)
    assert [found.model for found in family.found] == [asked]
    reason = "the seller has several that may be it: gpt-oss-120b, openai/gpt-oss-120b"
    assert {each.message for each in family.left_out} == {reason}
    assert len(family.left_out) == 2


# Repositories and slugs --------------------------------------------------------------------


def test_the_repository_decides_whatever_the_names_say() -> None:
    one = model("deepseek/deepseek-chat-v3-0324", hugging_face_id="deepseek-ai/DeepSeek-V3-0324")
    same = model("v3", "there", hugging_face_id="deepseek-ai/deepseek-v3-0324")
    apart = model("deepseek-chat-v3-0324", "there", hugging_face_id="acme/DeepSeek-V3-0324")
    assert said(one, same) == Identity.HUGGING_FACE_ID
    assert said(one, apart) == "left out"


def test_an_id_that_is_a_repository_names_it() -> None:
    one = model("deepseek/deepseek-chat-v3-0324", hugging_face_id="deepseek-ai/DeepSeek-V3-0324")
    assert said(one, model("deepseek-ai/DeepSeek-V3-0324", "deepinfra")) == Identity.HUGGING_FACE_ID
    assert said(one, model("deepseek-v3-0324", "there")) == Identity.NAME


def test_a_repository_of_another_precision_is_another_offer() -> None:
    one = model("llama-large", "here", hugging_face_id="nvidia/Llama-3.3-70B-FP8")
    assert said(one, model("llama-3.3-70b", "there")) == "left out"
    assert said(one, model("llama-3.3-70b-fp8", "there")) == "left out"


def test_an_offer_of_the_same_repository_is_left_out() -> None:
    one = model("acme/one", "openrouter", hugging_face_id="Acme/One")
    assert said(one, model("acme/one:free", "there", hugging_face_id="Acme/One")) == "left out"
    alias = model("~acme/newest", "there", hugging_face_id="Acme/One", alias_target="acme/one")
    assert said(one, alias) == "left out"


def test_a_canonical_slug_names_the_model() -> None:
    one = model("anthropic/claude-sonnet-4.5", "openrouter", canonical_slug="acme/one-20260101")
    assert said(one, model("x", "there", canonical_slug="Acme/One-20260101")) == "canonical_slug"
    slugged = model("openai/gpt-x", "openrouter", canonical_slug="openai/gpt-x-2026-01-01")
    snapshot = model("gpt-x-2026-01-01", "azure")
    assert said(slugged, snapshot) == said(snapshot, slugged) == "canonical_slug"


def test_a_plain_name_that_stands_for_several_repositories_or_makers_is_left_out() -> None:
    plain, other = model("one", "here"), model("one", "there")
    assert said(plain, other) == Identity.NAME
    makers = (model("openai/one", "x"), model("qwen/one", "y"))
    assert said(plain, other, *makers) == "left out"
    assert said(plain, makers[0], other, makers[1]) == "left out"
    repositories = (
        model("openai/one", "x", hugging_face_id="openai/One-A"),
        model("openai/one", "y", hugging_face_id="openai/One-B"),
    )
    assert said(plain, other, *repositories) == "left out"
    # Whoever publishes it again takes nothing from its maker's name.
    published = (model("openai/one", "x"), model("unsloth/one", "y"))
    assert said(plain, other, *published) == Identity.NAME


def test_what_is_the_same_as_something_the_same_is_compared_by_itself() -> None:
    """No chain: the plain name leads to the middle, the repository from there to the last."""
    plain = model("one", "here")
    middle = model("acme-cloud/one-x", "there", hugging_face_id="openai/One")
    last = model("renamed", "elsewhere", hugging_face_id="openai/One")
    assert said(middle, last, plain) == Identity.HUGGING_FACE_ID
    assert said(plain, last, middle) == Identity.NAME  # By the name of the repository itself.
    assert said(model("one-x", "here"), last, middle) == "another"


def test_a_delisted_model_is_left_out_from_the_instant_on() -> None:
    asked = model("one", "here")
    delisted = replace(model("one", "there"), delisted_at=NOW)
    families = Families([asked, delisted])
    assert [each.message for each in families.of(asked, NOW).left_out] == [
        "no longer listed by its seller since 2026-11-20"
    ]
    before = families.of(asked, NOW - timedelta(seconds=1))
    assert [found.model for found in before.found] == [asked, delisted]


# Laws ---------------------------------------------------------------------------------------

_NAMES = st.builds(
    lambda area, namespace, stem, date, offer, tag: f"{area}{namespace}{stem}{date}{offer}{tag}",
    st.sampled_from(["", "", "", "eu.", "us-east-1/"]),
    st.sampled_from(["", "", "openai/", "openai.", "qwen/", "tee/"]),
    st.sampled_from(["m-70b", "m-7b", "m-4.6", "M-4-6", "m-4-6", "gpt-4"]),
    st.sampled_from(["", "", "-20250101", "-2025-02-02", "@20250101"]),
    st.sampled_from(["", "", "-fp8", "-turbo", "-instruct"]),
    st.sampled_from(["", "", ":free", "-v1:0", ":latest"]),
)
_OFFERED = st.builds(
    Offered,
    st.sampled_from(["a", "b", "aws", "openrouter"]),
    _NAMES,
    st.sampled_from([None, None, "openai/M-70B", "Qwen/M-70B", "openai/m-70b", "acme/m-4.6"]),
    st.sampled_from([None, None, "openai/m-4.6", "openai/m-70b-20250101"]),
    st.sampled_from([None, None, None, "somewhere"]),
    st.sampled_from([None, None, NOW - timedelta(days=1)]),
)


def check_laws(models: Sequence[Offered], asked: Sequence[Offered]) -> None:
    families = Families(models)
    for one in asked:
        family = families.of(one, NOW)
        found = [each.model for each in family.found]
        keys = {(each.provider, each.model_id) for each in found}
        assert found[0] == one
        assert family.found[0].identity is Identity.ASKED
        assert len({each.provider for each in found}) == len(found), "two of one seller"
        left_out = [(each.provider, each.model_id) for each in family.left_out]
        assert len(set(left_out)) == len(left_out)
        assert keys.isdisjoint(left_out)
        for other in found[1:]:
            repositories = {
                each.hugging_face_id.lower() for each in (one, other) if each.hugging_face_id
            }
            assert len(repositories) < 2, "two repositories are two models"
            assert other.name.offers == one.name.offers
            assert other.delisted_at is None
            # The other way round it is the same, or that seller has one that is as close.
            back = families.of(other, NOW)
            told = {(each.provider, each.model_id) for each in back.left_out}
            if one.delisted_at is None:
                key = (one.provider, one.model_id)
                assert one in [each.model for each in back.found] or key in told


@few
@given(st.lists(_OFFERED, min_size=1, max_size=14, unique_by=lambda m: (m.provider, m.model_id)))
def test_families_keep_their_laws(models: list[Offered]) -> None:
    check_laws(models, models)


@few
@given(st.lists(_OFFERED, min_size=2, max_size=14, unique_by=lambda m: (m.provider, m.model_id)))
def test_the_relation_is_symmetric(models: list[Offered]) -> None:
    families = Families(models)
    for one in models:
        for other in models:
            there, back = families.relation(one, other), families.relation(other, one)
            if isinstance(there, Same):
                assert there == back
            else:
                assert type(there) is type(back)


@few
@given(
    st.lists(_OFFERED, min_size=1, max_size=14, unique_by=lambda m: (m.provider, m.model_id)),
    st.randoms(),
)
def test_the_order_in_which_models_were_read_changes_nothing(
    models: list[Offered], chance: random.Random
) -> None:
    mixed = list(models)
    chance.shuffle(mixed)
    for one in models:
        first, second = Families(models).of(one, NOW), Families(mixed).of(one, NOW)
        assert {(f.model, f.identity) for f in first.found} == {
            (f.model, f.identity) for f in second.found
        }
        assert [(each.provider, each.model_id) for each in first.left_out] == [
            (each.provider, each.model_id) for each in second.left_out
        ]


@pytest.mark.recorded
def test_all_that_real_sellers_list_keeps_the_laws() -> None:
    missing: list[RecordingMissing] = []
    found: dict[tuple[str, str], Offered] = {}
    for _, listing in listings(lambda _, error: missing.append(error)):
        for each in listing.models:
            known = found.get(each.key, Offered(*each.key))
            found[each.key] = replace(
                known,
                hugging_face_id=known.hugging_face_id or each.hugging_face_id,
                canonical_slug=known.canonical_slug or each.canonical_slug,
                alias_target=known.alias_target or each.alias_target,
            )
    if missing:
        pytest.skip(f"NOT TESTED: {missing[0]}")
    models = list(found.values())
    assert len(models) > 10_000
    check_laws(models, models[::40])


def test_a_doubt_tells_why() -> None:
    one, other = model("one", "here"), model("acme/one", "there")
    found = Families([one, other]).relation(one, other)
    assert found == Doubt(
        LeftOutReason.UNCERTAIN_MAKER, "of the same name under acme/, which is no known maker"
    )
