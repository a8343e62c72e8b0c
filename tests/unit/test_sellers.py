from collections.abc import Iterable

import pytest
from genai_prices.data_snapshot import get_snapshot

from pricing_server.domain.sellers import ALIASES, MAKERS, SELLER_ORDER, answer_order, canonical


@pytest.fixture(scope="module")
def sellers_by_model() -> dict[str, list[str]]:
    sellers: dict[str, list[str]] = {}
    for provider in get_snapshot().providers:
        for model in provider.models:
            sellers.setdefault(model.id, []).append(provider.id)
    return sellers


@pytest.mark.parametrize(
    ("spelling", "seller"),
    [
        ("xai", "x-ai"),
        ("together_ai", "together"),
        ("togetherai", "together"),
        ("nearai", "near-ai"),
        ("fireworks_ai", "fireworks"),
        ("amazon-bedrock", "aws"),
        ("azure-openai", "azure"),
        ("gemini", "google"),
        ("vertex_ai", "google-vertex"),
        ("dashscope", "alibaba-cloud"),
        ("z.ai", "zai"),
        ("qwencloud", "alibaba-cloud"),
        ("azure-cognitive-services", "azure"),
        ("google-vertex-anthropic", "google-vertex"),
        ("perplexity-agent", "perplexity"),
        ("gradient_ai", "digitalocean"),
        ("tencent-tokenhub", "tencent"),
        ("OpenRouter", "openrouter"),
        ("XAI", "x-ai"),
        ("Z.AI", "zai"),
    ],
)
def test_every_spelling_leads_to_one_slug(spelling: str, seller: str) -> None:
    assert canonical(spelling) == seller


def test_an_unknown_name_stays_but_for_its_case() -> None:
    assert canonical(" Nobody ") == " nobody "


@pytest.mark.parametrize(
    "branch",
    [
        "alibaba-cn",
        "alibaba-coding-plan",
        "azure-ai",
        "bedrock-mantle",
        "minimax-cn",
        "moonshotai-cn",
        "openai-decisions",
        "opencode-go",
        "siliconflow-cn",
        "stepfun-ai",
        "zai-coding-plan",
        "zhipuai",
    ],
)
def test_a_branch_with_its_own_prices_is_a_seller_of_its_own(branch: str) -> None:
    assert canonical(branch) == branch


@pytest.mark.parametrize("prefix", ["meta-llama", "qwen", "amazon", "minimaxai", "deepseek-ai"])
def test_the_prefix_of_a_model_id_is_no_seller(prefix: str) -> None:
    assert prefix not in ALIASES


def test_aliases_are_lower_case_and_lead_to_slugs_in_one_step() -> None:
    for alias, seller in ALIASES.items():
        assert alias == alias.lower()
        assert seller not in ALIASES


def test_sellers_of_the_bundled_catalogue_keep_its_ids() -> None:
    for provider in get_snapshot().providers:
        assert canonical(provider.id) == provider.id


def test_each_place_in_the_order_is_given_once() -> None:
    ranked = [*MAKERS, *SELLER_ORDER]
    assert len(set(ranked)) == len(ranked)
    assert [canonical(seller) for seller in ranked] == ranked


def first(sellers: Iterable[str], model_id: str = "a-model") -> str:
    return min(sellers, key=lambda seller: answer_order(seller, model_id))


@pytest.mark.parametrize(
    ("model_id", "seller"),
    [
        ("claude-fable-5", "anthropic"),  # Also at Google, GitHub Copilot and QuickSilver Pro.
        ("gemini-4-argon", "google"),
        ("gpt-6-luna", "openai"),  # Also at openai-decisions.
        ("grok-4.5", "x-ai"),  # Also at Cursor.
        ("GLM-5", "zai"),  # Also at zhipuai.
        ("kimi-k3", "moonshotai"),
        ("deepseek/deepseek-v4-pro", "openrouter"),  # Also at Arcee, Avian and Novita.
        ("phi-4-multimodal-instruct", "openrouter"),  # Also at Azure.
    ],
)
def test_the_maker_answers_for_its_model_and_else_the_configured_seller(
    sellers_by_model: dict[str, list[str]], model_id: str, seller: str
) -> None:
    listed = sellers_by_model[model_id]
    assert len(listed) > 1
    assert first(listed, model_id) == seller
    assert first(reversed(listed), model_id) == seller


def test_sellers_without_a_configured_place_follow_by_name() -> None:
    others = ["novita", "aws", "baseten", "openrouter", "avian", "openai"]
    assert sorted(others, key=lambda seller: answer_order(seller, "a-model")) == [
        "openai",
        "openrouter",
        "aws",
        "avian",
        "baseten",
        "novita",
    ]


def test_a_seller_without_prices_answers_after_all_who_may_have_one() -> None:
    assert first(["featherless", "together"]) == "together"
    assert first(["featherless", "zhipuai"]) == "zhipuai"
    assert first(["huggingface", "together"]) == "together"
    assert first(["featherless", "huggingface"]) == "huggingface"
