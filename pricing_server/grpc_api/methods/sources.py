"""ListProviders and ListSources."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.domain.source import Source
from pricing_server.domain.urls import safe_url
from pricing_server.grpc_api.wire.page_tokens import Pages
from pricing_server.grpc_api.wire.requests import check_page_size
from pricing_server.grpc_api.wire.sources import provider_message, source_message
from pricing_server.history.audit import AuditReader
from pricing_server.runtime.clock import utc_now
from pricing_server.scheduler.sync_schedule import Schedule


async def list_providers(
    audit: AuditReader, request: pb.ListProvidersRequest
) -> pb.ListProvidersResponse:
    """Answer ListProviders."""
    limit = check_page_size(request.page_size)
    pages = Pages("ListProviders")
    cursor = pages.cursor(request.page_token, str)
    after = str(cursor[0]) if cursor else None
    found = await audit.providers(after, limit + 1)
    return pb.ListProvidersResponse(
        providers=map(provider_message, found[:limit]),
        next_page_token=pages.token(found[limit - 1].provider) if len(found) > limit else None,
    )


async def list_sources(
    audit: AuditReader,
    declared: Mapping[str, Source],
    url_of: Callable[[Source], str | None],
    schedule: Schedule,
) -> pb.ListSourcesResponse:
    """Answer ListSources."""
    now = utc_now()

    def shown_url(source: Source | None) -> str | None:
        # Without user and query, which may hold a key.
        url = url_of(source) if source is not None else None
        return safe_url(url) if url is not None else None

    return pb.ListSourcesResponse(
        sources=[
            source_message(health, source, shown_url(source), schedule, now)
            for health, source in (
                (health, declared.get(health.source)) for health in await audit.sources()
            )
        ]
    )
