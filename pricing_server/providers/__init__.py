"""The sources of prices. A new one is a file beside this one and a line in SOURCES."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pricing_server.domain.source import Source
from pricing_server.providers import alibaba_cloud as alibaba_cloud
from pricing_server.providers import cerebras as cerebras
from pricing_server.providers import chutes as chutes
from pricing_server.providers import deepinfra as deepinfra
from pricing_server.providers import featherless as featherless
from pricing_server.providers import fireworks as fireworks
from pricing_server.providers import genai_prices as genai_prices
from pricing_server.providers import google as google
from pricing_server.providers import google_vertex as google_vertex
from pricing_server.providers import groq as groq
from pricing_server.providers import huggingface as huggingface
from pricing_server.providers import litellm as litellm
from pricing_server.providers import models_dev as models_dev
from pricing_server.providers import near_ai as near_ai
from pricing_server.providers import novita as novita
from pricing_server.providers import openrouter as openrouter
from pricing_server.providers import portkey as portkey
from pricing_server.providers import together as together
from pricing_server.providers import vercel_ai_gateway as vercel_ai_gateway

SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        source.slug: source
        for source in (
            openrouter.SOURCE,
            deepinfra.SOURCE,
            novita.SOURCE,
            together.SOURCE,
            chutes.SOURCE,
            cerebras.SOURCE,
            huggingface.SOURCE,
            featherless.SOURCE,
            groq.SOURCE,
            fireworks.SOURCE,
            near_ai.SOURCE,
            vercel_ai_gateway.SOURCE,
            google.SOURCE,
            google_vertex.SOURCE,
            alibaba_cloud.SOURCE,
            genai_prices.SOURCE,
            models_dev.SOURCE,
            portkey.SOURCE,
            litellm.SOURCE,
        )
    }
)
