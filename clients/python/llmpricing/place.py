"""Where a request was served, in the words of rate cards: `geography` and `region`.

`geography` has the values of FOCUS's ServingScope: `global`, `data_zone` (a zone of several
regions, such as `us` or `eu`) and `regional`. `region` is the zone or the region itself, as
its seller writes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

GEOGRAPHY: Final = "geography"
REGION: Final = "region"

GLOBAL: Final = "global"
DATA_ZONE: Final = "data_zone"
REGIONAL: Final = "regional"

_REGION: Final = re.compile(r"[a-z]{2,12}(-[a-z]{2,12}){1,2}-?[0-9]{1,2}")
"""Of AWS (`us-east-1`, `us-gov-west-1`) or Google (`europe-west1`)."""
_ZONES: Final = frozenset({"us", "eu"})
_NAMED: Final = ("inference_geo", "vertex_location")
"""Keys under which Anthropic and Vertex AI say where a request is served."""
_HOST: Final = "host"
_HOSTS: Final = (
    re.compile(r"(?P<place>us|eu)\.api\.openai\.com"),
    re.compile(r"(?P<place>[a-z0-9-]+)-aiplatform\.googleapis\.com"),
    re.compile(r"aiplatform\.(?P<place>us|eu)\.rep\.googleapis\.com"),
)

_ID_BEGINS: Final = re.compile(
    r"(?:[^/]+/)*(?:(?:us|eu|uk|au|jp|in|ca|apac|global|us-gov|global-standard)[./]"
    rf"|{_REGION.pattern}/)"
)


def place_of(name: str) -> Mapping[str, str] | None:
    """The context of a place as a seller writes it, in any case; None if it is not known.

    "us" is a data zone, "europe-west1" a region; "global" has no region.
    """
    place = name.lower()
    if place == GLOBAL:
        return MappingProxyType({GEOGRAPHY: GLOBAL})
    if place in _ZONES:
        return MappingProxyType({GEOGRAPHY: DATA_ZONE, REGION: place})
    if _REGION.fullmatch(place):
        return MappingProxyType({GEOGRAPHY: REGIONAL, REGION: place})
    return None


def with_place(context: Mapping[str, str]) -> dict[str, str]:
    """The context with the sellers' own words for a place replaced by ours.

    Known are `inference_geo` (Anthropic), `vertex_location`, and the `host` of OpenAI and
    Vertex AI. What is not understood stays as it is, and what is stated in our words wins.
    """
    placed = dict(context)
    for key in (*_NAMED, _HOST):
        stated = context.get(key)
        if stated is None:
            continue
        found = place_of(_place_of_host(stated) if key == _HOST else stated)
        if found is not None:
            del placed[key]
            placed = {**found, **placed}
    return placed


def names_place(model_id: str) -> bool:
    """Whether an id itself says where it is served, as `us.anthropic…` and `eu/gpt-5` do."""
    return _ID_BEGINS.match(model_id.lower()) is not None


def _place_of_host(host: str) -> str:
    for form in _HOSTS:
        if match := form.fullmatch(host.lower()):
            return match["place"]
    return ""
