"""The gRPC server: the service with health and reflection, bound, started and stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from llmpricing.v1 import pricing_pb2, pricing_pb2_grpc
from pricing_server.grpc_api.boundary import Boundary
from pricing_server.grpc_api.reflection import reflected_pool
from pricing_server.grpc_api.service import PricingService
from pricing_server.settings import Settings, split_address
from pricing_server.stream.change_streams import ChangeStreams

SERVICE_NAME: Final = pricing_pb2.DESCRIPTOR.services_by_name["PricingService"].full_name
CALL_GRACE_SECONDS: Final = 3
STREAM_GRACE_SECONDS: Final = 1

OPTIONS: Final = (
    # A second server on the same port is a mistake, not a way to share load.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    # A client that pings too often must slow down; idle ones may ping.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 60_000),
)


class CannotListen(Exception):
    """The address cannot be bound. The message is one line that names the setting."""


@asynccontextmanager
async def serving(
    service: PricingService, settings: Settings, streams: ChangeStreams
) -> AsyncIterator[str]:
    """Answer calls until the context ends; gives host:port with the port that was bound.

    At the end health says so first, then streams end, then calls. Raises CannotListen.
    """
    token = settings.admin_token
    server = grpc.aio.server(
        interceptors=[
            Boundary({token.get_secret_value(): pricing_pb2.ROLE_ADMIN} if token else {})
        ],
        options=OPTIONS,
    )
    pricing_pb2_grpc.add_PricingServiceServicer_to_server(service, server)
    healthy = await _add_health(server)
    reflection.enable_server_reflection(
        [SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME],
        server,
        pool=reflected_pool(),
    )
    address = _bind(server, settings.listen)
    async with AsyncExitStack() as stack:
        await server.start()
        stack.push_async_callback(server.stop, CALL_GRACE_SECONDS)
        # Streams do not end by themselves: they would take the whole grace of the calls.
        stack.push_async_callback(streams.drain, STREAM_GRACE_SECONDS)
        stack.push_async_callback(healthy.enter_graceful_shutdown)
        yield address


async def _add_health(server: grpc.aio.Server) -> Any:
    healthy = health.aio.HealthServicer()  # type: ignore[attr-defined]  # not in the type stubs
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    await healthy.set(SERVICE_NAME, health_pb2.HealthCheckResponse.SERVING)
    await healthy.set("", health_pb2.HealthCheckResponse.SERVING)
    return healthy


def _bind(server: grpc.aio.Server, listen: str) -> str:
    host, _ = split_address(listen)
    try:
        port = server.add_insecure_port(listen)
    except RuntimeError:
        raise CannotListen(f"PRICING_LISTEN: {listen} cannot be bound; is it in use?") from None
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{port}"
