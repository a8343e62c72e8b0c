"""What the name of a model says: its maker, what it is, its date, and how it is offered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

from llmpricing.matching.spelling import dated, fold, punctuation_key
from pricing_server.costs.makers import MAKERS

REMEMBERED: Final = 65_536
"""How many parsed names are kept: an index of all names is made at each revision."""

# What a seller writes before all of its ids, or before the ids of others' models.
_OWN_BEGINNINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "cloudflare": ("@cf/",),
    "cloudflare-ai-gateway": ("workers-ai/@cf/",),
    "databricks": ("databricks-",),
    "fireworks": ("accounts/fireworks/models/",),
    "google": ("models/",),
    "synthetic": ("hf:",),
}
# By Google's documentation, models as a service have it in their ids.
_OWN_ENDS: Final[Mapping[str, str]] = {"google-vertex": "-maas"}

_REGION: Final = re.compile(r"[a-z]{2}(?:-gov)?-[a-z]{4,12}-[0-9]\Z")
_AREA: Final = re.compile(r"(apac|au|ca|eu|global|in|jp|regional|us|us-gov)\.(?=[a-z0-9-]+\.)")
_DOTTED: Final = re.compile(r"([a-z0-9-]+)\.(?=[a-z])")
_DASHED: Final = re.compile(r"(anthropic|openai)-(?=[a-z])")
_POINT_AT_FIREWORKS: Final = re.compile(r"(?<=[0-9])p(?=[0-9])")

_DEFAULT_TAG: Final = re.compile(r"(?::latest|@default)\Z")
_REVISION: Final = re.compile(r"-v?1:0\Z")
_LATER_REVISION: Final = re.compile(r"-v[0-9]{1,2}:[0-9]{1,2}\Z")
_SHORT_REVISION: Final = re.compile(r"-v1\Z")
_OFFER: Final = re.compile(
    r"-(awq|batch|bf16|fp4|fp8|free|gguf|gptq|high-throughput|int4|int8|maas|mxfp4|nvfp4|tee"
    r"|fast|turbo)\Z"
)
_SERVING: Final = ("fast", "turbo")
_SIZE: Final = re.compile(r"(?<![a-z0-9])[0-9]+(?:\.[0-9]+)?b(?![a-z0-9])")

_KNOWN: Final = frozenset(MAKERS.values())

_MOVING: Final = frozenset(
    {
        *("codestral", "deepseek-chat", "deepseek-reasoner", "devstral-medium", "devstral-small"),
        *("magistral-medium", "magistral-small", "mistral-large", "mistral-medium"),
        *("mistral-small", "mistral-tiny", "ministral-3b", "ministral-8b", "pixtral-large"),
        *("qwen-flash", "qwen-max", "qwen-plus", "qwen-turbo", "qwen-vl-max", "qwen-vl-plus"),
    }
)
"""Names that makers pass on to the next model, while other sellers keep them for the old one."""


Date: TypeAlias = tuple[str, str, str]
"""Year, month, day."""


@dataclass(frozen=True, slots=True)
class ParsedName:
    """A parsed name. Names of the same model differ at most in the namespace."""

    stem: str
    """What the model is called, folded, with dashes for the dots of its version."""
    namespace: str
    """The maker, or a namespace of no known maker; empty if the name has no namespace."""
    date: Date | None
    """A full date at the end."""
    offers: tuple[str, ...]
    """What is sold apart: a tag (":free"), an area ("eu."), a precision ("-fp8")."""
    is_moving: bool
    """Whether it means another model from time to time."""

    @property
    def has_known_maker(self) -> bool:
        """Whether the namespace is a maker's."""
        return self.namespace in _KNOWN


@lru_cache(REMEMBERED)
def read_name(provider: str, model_id: str) -> ParsedName:
    """The name that a seller has for a model; `provider` is "" for the name of a repository."""
    text = fold(model_id)
    if text.startswith("ft:"):
        return ParsedName(text, "", None, (), False)  # A tuned model is only itself.
    offers: list[str] = []
    head, name = _without_area(_without_sellers_own(provider, text), offers)
    namespace, name = _maker(head, name)
    name = _without_revision(provider, name)
    name, tag, tagged = name.partition(":")
    if tag:
        offers.append(f":{tagged}")
    if provider == "fireworks":
        name = _POINT_AT_FIREWORKS.sub(".", name)
    is_moving = name.endswith("-latest") or name in _MOVING
    name, date = _without_endings(name, offers)
    return ParsedName(punctuation_key(name), namespace, date, tuple(sorted(offers)), is_moving)


def _without_sellers_own(provider: str, text: str) -> str:
    """The id without what this seller writes around every id."""
    for beginning in _OWN_BEGINNINGS.get(provider, ()):
        text = text.removeprefix(beginning)
    return text.removesuffix(_OWN_ENDS.get(provider, ""))


def _without_area(text: str, offers: list[str]) -> tuple[str, str]:
    """Namespace and name, as far as a slash parts them; a region or area joins the offers."""
    head, _, name = text.rpartition("/")
    if _REGION.match(head):
        offers.append(f"{head}/")
        head = ""
    if area := _AREA.match(name):
        offers.append(area[0])
        name = name[area.end() :]
    return head, name


def _maker(head: str, name: str) -> tuple[str, str]:
    """The namespace, taken from the beginning of the name where that says it; and the rest."""
    namespace = MAKERS.get(head, head)
    if dotted := _DOTTED.match(name):
        maker = MAKERS.get(dotted[1])
        if maker is not None and namespace in ("", maker):
            return maker, name[dotted.end() :]
    elif not namespace and (dashed := _DASHED.match(name)):
        return dashed[1], name[dashed.end() :]
    return namespace, name


def _without_endings(name: str, offers: list[str]) -> tuple[str, Date | None]:
    """The name without its date, which is given beside it, and without what joins the offers."""
    name, date = _without_date(name)
    while (offer := _OFFER.search(name)) and offer.start():
        if offer[1] in _SERVING and not _SIZE.search(name):
            break  # "gpt-4-turbo" is a model; "llama-3.3-70b-turbo" serves weights of that size.
        offers.append(offer[0])
        name = name[: offer.start()]
        if date is None:
            name, date = _without_date(name)
    return name, date


def _without_revision(provider: str, name: str) -> str:
    """The name without a default tag and without Bedrock's first revision. After a date, which
    says more, any revision is left out."""
    name = _DEFAULT_TAG.sub("", name)
    shorter = _LATER_REVISION.sub("", name)
    if shorter != name and dated(shorter) is not None:
        return shorter
    name = _REVISION.sub("", name)
    return _SHORT_REVISION.sub("", name) if provider == "aws" else name


def _without_date(name: str) -> tuple[str, Date | None]:
    parts = dated(name)
    return parts if parts is not None else (name, None)
