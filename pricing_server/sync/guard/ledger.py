"""What becomes of held changes when a listing is applied: which open, stay, end or lapse."""

from __future__ import annotations

from dataclasses import dataclass

from pricing_server.domain.held_change import HoldReason, Suspicion
from pricing_server.domain.names import ModelName
from pricing_server.domain.source_listing import ListedModel
from pricing_server.sync.table_state import Holds, OpenFeed, OpenHold


@dataclass(frozen=True, slots=True)
class NewHold:
    """A held change of a model that is to be opened."""

    listed: ListedModel
    card_id: str
    suspicion: Suspicion
    is_of_feed: bool
    """Whether it belongs to the held feed."""


@dataclass(frozen=True, slots=True)
class HoldingPlan:
    """Everything that a run writes of held changes."""

    opened: tuple[NewHold, ...] = ()
    feed: Suspicion | None = None
    """Of the feed that is held now; None if none is."""
    same_feed: int | None = None
    """Its open entry, if it was held for this reason before."""
    again: tuple[int, ...] = ()
    """Entries that the listing states again."""
    expired: tuple[int, ...] = ()
    released: tuple[int, ...] = ()
    lapsed: tuple[int, ...] = ()
    """Rejections of prices that the source no longer states."""


@dataclass(frozen=True, slots=True)
class _HeldAgain:
    """A model that is held, with its entry before, if there is one."""

    new: NewHold
    own: OpenHold | None
    is_same: bool
    """Whether both are of the same prices."""


class Holding:
    """Keeps the books of one listing. `feed` is what is suspicious in all of it."""

    def __init__(self, holds: Holds, feed: Suspicion | None) -> None:
        self._holds = holds
        self._feed = feed
        self._is_same_feed = _is_same_finding(holds.feed, feed)
        self._is_shrunk = feed is not None and feed.reason is HoldReason.FEED_SHRUNK
        self._of_feed: list[_HeldAgain] = []
        self._opened: list[NewHold] = []
        self._again: list[int] = []
        self._expired: list[int] = []
        self._released: list[int] = []
        self._lapsed: list[int] = []
        self._released_of_feed = 0
        self._untouched_of_feed: list[int] = []

    def hold(
        self,
        listed: ListedModel,
        card_id: str,
        suspicion: Suspicion,
        *,
        is_same: bool,
        is_near: bool,
    ) -> None:
        """A model is held; `is_same` says that its open entry is of the same prices, `is_near`
        that it is of about the same."""
        own = self._holds.own.get(listed.key)
        held = _HeldAgain(NewHold(listed, card_id, suspicion, self._feed is not None), own, is_same)
        if self._feed is None:
            self._write(held, stays=own is not None and is_same and own.feed_id is None)
            return
        self._of_feed.append(held)
        # Whoever approves a feed approves what it was when it was looked at: it may lose
        # models, but with a new one, or another price, it is another finding.
        self._is_same_feed &= own is not None and own.feed_id is not None and is_near

    def end(self, key: ModelName, *, is_applied: bool) -> None:
        """A model is not held: what was held of it is in force now, or no longer stated."""
        own = self._holds.own.get(key)
        if own is None:
            return
        (self._released if is_applied else self._expired).append(own.held_change_id)
        self._released_of_feed += is_applied and own.feed_id is not None

    def leave(self, key: ModelName) -> None:
        """Nothing is known of what the source states of a model: what is held of it stays, of a
        feed as long as that does."""
        own = self._holds.own.get(key)
        if own is not None and own.feed_id is not None:
            self._untouched_of_feed.append(own.held_change_id)

    def release(self, held_change_id: int) -> None:
        """The held change of another source is in force now."""
        self._released.append(held_change_id)

    def lapse(self, held_change_id: int) -> None:
        """The source states another price than the rejected one."""
        self._lapsed.append(held_change_id)

    def plan(self) -> HoldingPlan:
        """What is to be written."""
        before = self._holds.feed
        # A shrunk feed is held for what it does not list, unless somebody has rejected that.
        is_held = self._of_feed or (self._is_shrunk and not self._holds.rejected_shrinking)
        feed = self._feed if is_held else None
        if not self._is_shrunk:
            self._lapsed += self._holds.rejected_shrinking
        for held in self._of_feed:
            self._write(held, stays=self._is_same_feed and held.is_same)
        is_same = self._is_same_feed and feed is not None
        if before is not None:
            if is_same or (feed is None and self._untouched_of_feed):
                self._again.append(before.held_change_id)
            elif (
                self._released_of_feed
                and feed is None
                and before.reason is not HoldReason.FEED_SHRUNK
            ):
                self._released.append(before.held_change_id)
            else:
                self._expired += [before.held_change_id, *self._untouched_of_feed]
        return HoldingPlan(
            opened=tuple(self._opened),
            feed=feed,
            same_feed=before.held_change_id if before is not None and is_same else None,
            again=tuple(self._again),
            expired=tuple(self._expired),
            released=tuple(self._released),
            lapsed=tuple(self._lapsed),
        )

    def _write(self, held: _HeldAgain, *, stays: bool) -> None:
        if held.own is not None:
            (self._again if stays else self._expired).append(held.own.held_change_id)
        if not stays:
            self._opened.append(held.new)


def _is_same_finding(before: OpenFeed | None, feed: Suspicion | None) -> bool:
    """Whether a feed is held for what its open entry says: of one that shrank, no more is gone."""
    if before is None or feed is None or before.reason is not feed.reason:
        return False
    if feed.reason is not HoldReason.FEED_SHRUNK:
        return True
    return feed.evidence[0].ratio >= before.evidence[0].ratio
