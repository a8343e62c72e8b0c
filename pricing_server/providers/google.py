"""The Gemini API's SKUs in Google's Cloud Billing catalogue.

The words of descriptions are those of invoices and of the catalogue as others published them in
2026. A description is read only if every word of it is known; see `google_skus`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from pricing_server.domain.api_key import KeySent
from pricing_server.domain.source import OWN_API_RANK, KeyUse, Source, SourceEvidence
from pricing_server.domain.source_listing import Listing
from pricing_server.providers.google_skus import (
    CACHED_METERS,
    FIELDS,
    INPUT_METERS,
    OUTPUT_METERS,
    PAGING,
    Meaning,
    Unread,
    read_skus,
)

MODELS: Final[Mapping[str, str]] = {
    "gemini 2.0 flash": "gemini-2.0-flash",
    "gemini 2.5 flash lite": "gemini-2.5-flash-lite",
    "gemini 2.5 flash": "gemini-2.5-flash",
    "gemini 2.5 pro": "gemini-2.5-pro",
    "gemini 3 flash": "gemini-3-flash-preview",
    "gemini 3 pro": "gemini-3-pro-preview",
    "gemini 3.1 flash lite preview": "gemini-3.1-flash-lite-preview",
    "gemini 3.5 flash lite": "gemini-3.5-flash-lite",
    "gemini 3.5 flash": "gemini-3.5-flash",
    "gemini 3.6 flash": "gemini-3.6-flash",
    "gemini 3.7 flash": "gemini-3.7-flash",
    "gemini 3.8 flash": "gemini-3.8-flash",
    "gemini-embedding-001": "gemini-embedding-001",
    "gemini-embedding-2": "gemini-embedding-2",
}
"""By how descriptions name them; one that is not here is named in the run."""

LONG_ABOVE: Final[Mapping[str, int]] = {
    "gemini-2.5-pro": 200_000,
    "gemini-3-pro-preview": 200_000,
}
"""Input tokens above which a request is long, from Google's price pages."""

_KIND = "(?P<kind>text|image|audio|video)"
_TIER = "(?: (?P<tier>batch|flex|priority))?"
_PREFIXED: Final = re.compile(
    rf"generate ?content (?:(?P<cached>cached) )?{_KIND} (?:(?P<cached2>cached) )?"
    r"(?P<way>input|output) token count for (?P<rest>gemini .+)"
)
_TRAILING: Final = re.compile(
    r"generate ?content (?:(?P<cached>cached) )?(?P<way>input|output) token count "
    r"(?P<rest>gemini .+)"
)
_EMBEDDING: Final = re.compile(r"embed ?content input token count for (?P<rest>gemini-.+)")
_LENGTH = " (?P<{}>short|long)"
_PREFIXED_REST: Final = re.compile(rf"(?:{_LENGTH.format('length')})?{_TIER}")
_TRAILING_REST: Final = re.compile(
    rf"(?:{_LENGTH.format('length')})?(?: (?P<of>input|output))?(?:{_LENGTH.format('length2')})?"
    rf"(?: {_KIND})?(?: non-thinking)?{_TIER}"
)


def read(document: object, received_at: datetime) -> Listing:
    """Turn the catalogue's SKUs into rate cards of the Gemini API."""
    return read_skus(document, received_at, "google", "Google", meaning_of, LONG_ABOVE)


def meaning_of(description: str) -> Meaning | Unread:
    """What a description means, in lower case and with single blanks."""
    for form, rest_form in ((_PREFIXED, _PREFIXED_REST), (_TRAILING, _TRAILING_REST)):
        if found := form.fullmatch(description):
            return _token_meaning(found, rest_form)
    if found := _EMBEDDING.fullmatch(description):
        model, rest = _split(found["rest"])
        if model is None or rest not in ("", "text"):
            return Unread(f"words:{rest or found['rest']}")
        return Meaning(model, INPUT_METERS["text"])
    return Unread("other product")


def _token_meaning(found: re.Match[str], rest_form: re.Pattern[str]) -> Meaning | Unread:
    model, rest = _split(found["rest"])
    if model is None:
        return Unread(f"model:{found['rest']}")
    words = rest_form.fullmatch(f" {rest}" if rest else "")
    if words is None:
        return Unread(f"words:{rest}")
    said = {**found.groupdict(), **{key: word for key, word in words.groupdict().items() if word}}
    kind, way, of = said.get("kind"), said["way"], said.get("of")
    lengths = {said.get("length"), said.get("length2")} - {None}
    is_cached = bool(said.get("cached") or said.get("cached2"))
    if rest_form is _TRAILING_REST:
        # "image" alone may be part of the model's name, as in "gemini 3.1 flash image".
        is_clear = of is not None or kind in (None, "text")
        # The output of a request with short input, but not output because of audio.
        is_clear &= of in (None, way) or (way == "output" and kind == "text" and bool(lengths))
        if not is_clear:
            return Unread(f"words:{rest}")
    meters = OUTPUT_METERS if way == "output" else CACHED_METERS if is_cached else INPUT_METERS
    meter = meters.get(kind or "text")
    if meter is None or len(lengths) > 1 or (is_cached and way == "output"):
        return Unread(f"words:{rest}")
    is_long = "long" in lengths if lengths else None
    return Meaning(model, meter, said.get("tier"), is_long)


def _split(rest: str) -> tuple[str | None, str]:
    """The model that a text begins with, by its longest name, and the words after it."""
    for name in sorted(MODELS, key=len, reverse=True):
        if rest == name or rest.startswith(f"{name} "):
            return MODELS[name], rest[len(name) :].strip()
    return None, rest


SOURCE: Final = Source(
    slug="google",
    display_name="Google Cloud Billing catalogue, Gemini API",
    rank=OWN_API_RANK,
    read=read,
    evidence=SourceEvidence.DOCUMENTED,
    provider="google",
    endpoint="https://cloudbilling.googleapis.com/v1/services/AEFD-7695-64FA/skus"
    "?currencyCode=USD&pageSize=5000",
    key_use=KeyUse.REQUIRED,
    key_sent=KeySent(parameter="key"),
    fields=FIELDS,
    paging=PAGING,
    facts="The reference of services.skus, and descriptions and prices of SKUs in invoices and "
    "billing exports that others published in 2026.",
    notes=(
        "A SKU is joined to a model by its description. It is read only if every word of it is "
        "known and the model is in the adapter's table; every other one is counted and named "
        "(`sku:...`).",
        "`unitPrice` is units + nanos USD for one `usageUnit`, and only `count` is read: one "
        "token, whatever `displayQuantity` says.",
        "Nanos are whole, so a price has no more than nine decimals: what is below 1E-7 may be "
        "rounded (`coarse_price`).",
        "Several SKUs for the same tokens must agree, else there is no rate (`sku:contradiction`). "
        "A price for short requests is read only beside one for long ones (`sku:half`): above "
        "200,000 input tokens, for the Pro models.",
        "`batch`, `flex` and `priority` become the same request context as in the bundled "
        "catalogue. Storage of caches, search, tuning, live and media models are not read.",
    ),
)
