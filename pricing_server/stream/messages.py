"""Messages of the change stream as bytes, made once and shared by all streams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from pricing_server.domain.head import Head
from pricing_server.domain.price import Price
from pricing_server.domain.price_change import PriceChange

MAX_MESSAGE_BYTES: Final = 256 * 1024
"""Size of the pieces in one message, unless a single piece is larger. A stream that waits for
its reader keeps one message in memory."""

PLACE_BYTES: Final = 450
"""Memory that Python needs to remember the place of a change and find it by its names."""


class Event(StrEnum):
    """What a message is."""

    STARTED = "started"
    SNAPSHOT = "snapshot"
    CHANGES = "changes"
    PROGRESS = "progress"


class Encoder(Protocol):
    """Encodes messages: pieces followed by a trailer are a message."""

    def trailer(self, event: Event, head: Head, *, is_last: bool) -> bytes:
        """The end of a message: its event, its revision, and whether it is the last one."""

    def change(self, change: PriceChange) -> bytes:
        """A piece with one change."""

    def price(self, price: Price) -> bytes:
        """A piece with one price of a snapshot."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which models a stream is about; an empty set means any."""

    providers: frozenset[str] = frozenset()
    model_ids: frozenset[str] = frozenset()

    @property
    def is_open(self) -> bool:
        """Whether everything passes."""
        return not self.providers and not self.model_ids

    def passes(self, provider: str, model_id: str) -> bool:
        """Whether a model passes."""
        return (not self.providers or provider in self.providers) and (
            not self.model_ids or model_id in self.model_ids
        )


EVERYTHING: Final = Filter()


class MessageCutter:
    """Joins pieces into messages of bounded size, and marks the last one."""

    def __init__(self, encoder: Encoder, event: Event, head: Head) -> None:
        self.head = head
        self._encoder = encoder
        self._event = event
        self._pieces: list[bytes] = []
        self.size = 0
        """Bytes of the pieces that wait for their message."""

    def add(self, piece: bytes) -> bytes | None:
        """Take a piece; returns the message of the earlier pieces if they fill one."""
        full = None
        if self._pieces and self.size + len(piece) > MAX_MESSAGE_BYTES:
            full = self._message(is_last=False)
            self._pieces, self.size = [], 0
        self._pieces.append(piece)
        self.size += len(piece)
        return full

    def last(self) -> bytes:
        """The last message; it is empty if there were no pieces."""
        return self._message(is_last=True)

    def _message(self, *, is_last: bool) -> bytes:
        trailer = self._encoder.trailer(self._event, self.head, is_last=is_last)
        return b"".join([*self._pieces, trailer])


@dataclass(frozen=True, slots=True)
class Place:
    """Where a change is in the messages of its revision."""

    provider: str
    model_id: str
    message: int
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class EncodedRevision:
    """One revision of the price table, encoded once for every stream."""

    head: Head
    messages: tuple[bytes, ...]
    places: tuple[Place, ...]
    by_provider: Mapping[str, Sequence[Place]]
    by_model_id: Mapping[str, Sequence[Place]]
    size: int
    """Approximate size in memory, in bytes."""

    def matching(self, criteria: Filter, encoder: Encoder) -> Iterator[bytes]:
        """The messages with the changes that pass, made one by one."""
        places = [] if criteria.is_open else self._passing(criteria)
        if criteria.is_open or len(places) == len(self.places):
            yield from self.messages
            return
        cutter = MessageCutter(encoder, Event.CHANGES, self.head)
        for place in places:
            piece = self.messages[place.message][place.first : place.end]
            if (full := cutter.add(piece)) is not None:
                yield full
        if places:
            yield cutter.last()

    def _passing(self, criteria: Filter) -> list[Place]:
        return [
            place
            for place in self._near(criteria)
            if criteria.passes(place.provider, place.model_id)
        ]

    def _near(self, criteria: Filter) -> Sequence[Place]:
        """The places that may pass, in order, so that a thousand streams need not check all."""
        index, names = self.by_provider, criteria.providers
        if criteria.model_ids:
            index, names = self.by_model_id, criteria.model_ids
        if len(names) * 8 > len(self.places):
            return self.places  # Checking all costs no more than sorting.
        near = [place for name in names for place in index.get(name, ())]
        return near if len(names) == 1 else sorted(near, key=_position)


class RevisionEncoder:
    """Encodes the changes of one revision one by one, up to a size."""

    def __init__(self, encoder: Encoder, head: Head, max_bytes: int) -> None:
        self.head = head
        self._encoder = encoder
        self._max_bytes = max_bytes
        self._cutter = MessageCutter(encoder, Event.CHANGES, head)
        self._messages: list[bytes] = []
        self._places: list[Place] = []
        self._by_provider: dict[str, list[Place]] = {}
        self._by_model_id: dict[str, list[Place]] = {}
        self._size = 0

    def extend(self, changes: Iterable[PriceChange]) -> None:
        """Take the next changes."""
        for change in changes:
            if self._size > self._max_bytes:
                return
            piece = self._encoder.change(change)
            if (full := self._cutter.add(piece)) is not None:
                self._messages.append(full)
            end, number = self._cutter.size, len(self._messages)
            place = Place(change.provider, change.model_id, number, end - len(piece), end)
            self._places.append(place)
            self._by_provider.setdefault(change.provider, []).append(place)
            self._by_model_id.setdefault(change.model_id, []).append(place)
            self._size += len(piece) + PLACE_BYTES

    def build(self) -> EncodedRevision | None:
        """The whole revision; None if it is larger than `max_bytes`."""
        if self._size > self._max_bytes:
            return None
        messages = (*self._messages, self._cutter.last())
        return EncodedRevision(
            self.head,
            messages,
            tuple(self._places),
            self._by_provider,
            self._by_model_id,
            self._size,
        )


def _position(place: Place) -> tuple[int, int]:
    return place.message, place.first
