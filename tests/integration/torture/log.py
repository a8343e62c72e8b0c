"""What a subscriber was told and what it saved, in a form that is cheap to keep and compare."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

Model = tuple[str, str]
"""Provider and model id."""


class Event(StrEnum):
    STARTED = "started"
    SNAPSHOT = "snapshot"
    CHANGES = "changes"
    PROGRESS = "progress"


class Change(NamedTuple):
    """One change, with all that is compared of it. What is absent is empty."""

    revision: int
    provider: str
    model_id: str
    kind: str
    source: str = ""
    origin: str = ""
    """Its kind, actor, note and references."""
    sync_run_id: str = ""
    old_card: str = ""
    new_card: str = ""
    old_input: str = ""
    """USD per 1M tokens, and the one below."""
    new_input: str = ""

    @property
    def model(self) -> Model:
        return self.provider, self.model_id


class Held(NamedTuple):
    """A price in force: the card, and the revision that put it there."""

    card: str
    revision: int
    is_delisted: bool

    @classmethod
    def after(cls, change: Change) -> Held:
        return cls(change.new_card, change.revision, change.kind == "delisted")


@dataclass(frozen=True, slots=True)
class Narrow:
    """A subscriber's filters; an empty set does not criteria."""

    providers: frozenset[str] = frozenset()
    model_ids: frozenset[str] = frozenset()

    def passes(self, model: Model) -> bool:
        provider, model_id = model
        return (not self.providers or provider in self.providers) and (
            not self.model_ids or model_id in self.model_ids
        )


@dataclass(frozen=True, slots=True)
class Message:
    event: Event
    revision: int
    epoch: str
    is_last: bool
    changes: tuple[Change, ...] = ()
    prices: tuple[tuple[Model, Held], ...] = ()

    def __str__(self) -> str:
        shown = f"{self.event} {self.revision}"
        if self.changes:
            first = self.changes[0]
            shown += f" ({len(self.changes)} changes from {first.provider}:{first.model_id} on)"
        if self.prices:
            shown += f" ({len(self.prices)} prices)"
        return shown if self.is_last else f"{shown}, to be continued"


@dataclass(slots=True)
class Stream:
    """One connection: what was asked of which server, what came, and how it ended."""

    server: str
    after_revision: int | None = None
    epoch: str = ""
    snapshot: bool = False
    messages: list[Message] = field(default_factory=list)
    end: str = ""
    """The reason of a failure, else what the subscriber did."""
    resume: int | None = None
    """Where to resume, as the failure says."""
    saved: int | None = None
    """What the subscriber had saved when the stream ended."""

    @property
    def start(self) -> int | None:
        """The revision at which the stream began; None if it did not."""
        return self.messages[0].revision if self.messages else None


@dataclass(frozen=True, slots=True)
class Saved:
    """What was written down at one last fragment."""

    revision: int
    changes: tuple[Change, ...]


@dataclass(slots=True, repr=False)
class Log:
    """One subscriber's life: it follows the one rule of the contract and no other."""

    name: str
    criteria: Narrow = field(default_factory=Narrow)
    is_slow: bool = False
    """Whether the subscriber at times reads nothing for longer than servers wait."""
    streams: list[Stream] = field(default_factory=list)
    saved: list[Saved] = field(default_factory=list)
    """Without those of no change."""
    began: int | None = None
    """The revision behind which its changes begin."""
    snapshot: dict[Model, Held] | None = None
    cursor: int | None = None
    epoch: str = ""
    is_over: bool = False
    """Whether the subscriber lost its memory, and did not follow to the end."""
    _changes: list[Change] = field(default_factory=list)
    _prices: list[tuple[Model, Held]] = field(default_factory=list)

    def open(self, server: str, *, snapshot: bool = False, after: int | None = None) -> Stream:
        """A new stream, which resumes if anything was saved; what was not saved is forgotten."""
        self._changes, self._prices = [], []
        if self.cursor is None:
            stream = Stream(server, after, snapshot=snapshot)
        else:
            stream = Stream(server, self.cursor, self.epoch)
        self.streams.append(stream)
        return stream

    def take(self, message: Message) -> None:
        """Save revision and epoch together with what came before, at a last fragment only."""
        stream = self.streams[-1]
        stream.messages.append(message)
        self._changes += message.changes
        self._prices += message.prices
        if not message.is_last:
            return
        if self.cursor is None:
            self.began = message.revision
            if stream.snapshot:
                self.snapshot = dict(self._prices)
        if self._changes:
            self.saved.append(Saved(message.revision, tuple(self._changes)))
        self.cursor, self.epoch = message.revision, message.epoch
        self._changes, self._prices = [], []

    def end(self, how: str, resume: int | None = None) -> None:
        stream = self.streams[-1]
        stream.end, stream.resume, stream.saved = how, resume, self.cursor
