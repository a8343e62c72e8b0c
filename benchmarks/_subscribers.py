"""Subscribers of the change stream in processes of their own, each on its own connection."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from llmpricing.v1 import pricing_pb2 as pb

PROCESSES = 4
LATE_SECONDS = 120
METHOD = "/llmpricing.v1.PricingService/StreamPriceChanges"
OPTIONS = (("grpc.use_local_subchannel_pool", 1),)
"""A connection of its own for each subscriber, as if each were somewhere else."""


def _header_class() -> Any:
    """The response without its changes and prices, which stay undecoded."""
    file = descriptor_pb2.FileDescriptorProto(
        name="benchmark_header.proto", package="benchmark", syntax="proto3"
    )
    field = descriptor_pb2.FieldDescriptorProto
    for message, name, number, kind in (
        ("Table", "revision", 1, field.TYPE_INT64),
        ("Header", "event", 3, field.TYPE_INT32),
        ("Header", "table", 4, field.TYPE_MESSAGE),
        ("Header", "last_fragment", 5, field.TYPE_BOOL),
    ):
        found = next((each for each in file.message_type if each.name == message), None)
        (found or file.message_type.add(name=message)).field.add(
            name=name,
            number=number,
            type=kind,
            type_name=".benchmark.Table" if kind == field.TYPE_MESSAGE else None,
            label=field.LABEL_OPTIONAL,
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("benchmark.Header"))


@dataclass(frozen=True, slots=True)
class Receipts:
    """What one revision brought to the subscribers of one process, or of all."""

    times: Sequence[float]
    """When each subscriber got the last fragment, in seconds of the wall clock."""
    messages: int
    size: int
    """Bytes of the messages."""


class Group:
    """The subscribers of one process, and what they received."""

    def __init__(self) -> None:
        self._header = _header_class()
        self._times: dict[int, list[float]] = {}
        self._messages: Counter[int] = Counter()
        self._bytes: Counter[int] = Counter()
        self._came = asyncio.Event()
        self.started = 0

    async def follow(self, channel: grpc.aio.Channel, request: bytes) -> None:
        """Read one stream until cancelled."""
        # The messages stay bytes, of which only the header is decoded.
        stream: Any = channel.unary_stream
        call = stream(METHOD)(request)
        while True:
            data: bytes = await call.read()
            header = self._header.FromString(data)
            if header.event == pb.STREAM_EVENT_STARTED:
                self.started += 1
                self._came.set()
            elif header.event == pb.STREAM_EVENT_CHANGES:
                self._messages[header.table.revision] += 1
                self._bytes[header.table.revision] += len(data)
                if header.last_fragment:
                    self._times.setdefault(header.table.revision, []).append(time.time())
                    self._came.set()

    async def receipts(self, revision: int, subscribers: int) -> Receipts:
        """What a revision brought, once all subscribers have it."""
        async with asyncio.timeout(LATE_SECONDS):
            while len(self._times.get(revision, ())) < subscribers:
                await self.next()
        return Receipts(
            self._times.pop(revision), self._messages.pop(revision), self._bytes.pop(revision)
        )

    async def next(self) -> None:
        """Wait until something has come."""
        self._came.clear()
        await self._came.wait()


def _subscribe(address: str, subscribers: int, request: bytes, control: Connection) -> None:
    asyncio.run(_follow_all(address, subscribers, request, control))


async def _follow_all(address: str, subscribers: int, request: bytes, control: Connection) -> None:
    group = Group()
    channels = [grpc.aio.insecure_channel(address, options=OPTIONS) for _ in range(subscribers)]
    # A stream that fails ends the process, and the measurement with it.
    async with asyncio.TaskGroup() as tasks:
        following = [tasks.create_task(group.follow(each, request)) for each in channels]
        async with asyncio.timeout(LATE_SECONDS):
            while group.started < subscribers:
                await group.next()
        control.send(group.started)
        while (revision := await asyncio.to_thread(control.recv)) is not None:
            control.send(await group.receipts(revision, subscribers))
        for each in following:
            each.cancel()
    await asyncio.gather(*(channel.close(None) for channel in channels))


class Subscribers:
    """Many subscribers that read whatever comes."""

    def __init__(self, controls: Sequence[Connection]) -> None:
        self._controls = controls

    def receipts(self, revision: int) -> Receipts:
        """What a revision brought, once all subscribers have it."""
        for control in self._controls:
            control.send(revision)
        found: list[Receipts] = [control.recv() for control in self._controls]
        return Receipts(
            sorted(time for each in found for time in each.times),
            sum(each.messages for each in found),
            sum(each.size for each in found),
        )


@contextmanager
def subscribed(
    address: str, count: int, request: pb.StreamPriceChangesRequest | None = None
) -> Iterator[Subscribers]:
    """Start `count` subscribers; each has received its first message."""
    spawn = multiprocessing.get_context("spawn")
    data = (request or pb.StreamPriceChangesRequest()).SerializeToString()
    controls, processes = [], []
    for number in range(PROCESSES):
        here, there = spawn.Pipe()
        share = count // PROCESSES + (number < count % PROCESSES)
        process = spawn.Process(target=_subscribe, args=(address, share, data, there))
        process.start()
        there.close()
        controls.append(here)
        processes.append(process)
    try:
        for control in controls:
            control.recv()
        yield Subscribers(controls)
        for control in controls:
            control.send(None)
        for process in processes:
            process.join(LATE_SECONDS)
    finally:
        for process in processes:
            process.kill()
            process.join()
