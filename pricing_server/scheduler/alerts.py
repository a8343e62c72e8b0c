"""Alerts once when a source goes wrong and once when it recovers, for all processes.

An incident is a row that one process wins, and the notice for the webhook is written with
it. So a restart does not repeat it, and whichever process comes first delivers it: at least
once, since a process may die between sending a notice and recording that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Protocol

import structlog

from pricing_server.domain.errors import DatabaseUnavailable
from pricing_server.scheduler.sync_schedule import Schedule

MAX_ERROR: Final = 300
"""Characters of a sync's error in an alert."""

LAST_SECONDS: Final = 2.0
"""How long a process that stops waits for a notice that it is sending."""

_MARKUP: Final = str.maketrans(dict.fromkeys("<>@&`*", "?"))
"""What chat programs read as a mention, a link or a tag. An error may quote a source."""

log = structlog.get_logger(__name__)


class IncidentKind(StrEnum):
    """What is wrong with a source."""

    FAILING = "failing"
    """Too many syncs in a row have failed."""
    STALE = "stale"
    """Its data is older than it should be, or there never was any."""


class IncidentEvent(StrEnum):
    """What happened to an incident."""

    OPENED = "opened"
    RECOVERED = "recovered"


@dataclass(frozen=True, slots=True)
class IncidentChange:
    """An incident that this process has just opened or closed."""

    incident_id: int
    kind: IncidentKind
    event: IncidentEvent
    source: str
    display_name: str
    opened_at: datetime
    recovered_at: datetime | None
    failures_in_a_row: int
    last_error: str | None
    last_success_time: datetime | None
    verified_time: datetime | None
    """When the newest data was obtained."""


@dataclass(frozen=True, slots=True)
class AlertNotice:
    """A message for the webhook, claimed by this process for one attempt."""

    notice_id: int
    document: Mapping[str, Any]
    is_last_attempt: bool


@dataclass(frozen=True, slots=True)
class Noted:
    """What changed, and whether notices wait to be delivered."""

    changes: Sequence[IncidentChange]
    has_unsent: bool


class IncidentStore(Protocol):
    """Opens and closes incidents."""

    async def note(
        self,
        stale_after: Mapping[str, timedelta],
        after_failures: int,
        document: Callable[[IncidentChange], Mapping[str, Any]],
    ) -> Noted:
        """Compare the log of these sources with the open incidents, in one transaction.

        Each change is stored with its document. May raise DatabaseUnavailable.
        """


class NoticeStore(Protocol):
    """Keeps notices until they are delivered; each method may raise DatabaseUnavailable."""

    async def claim(self) -> AlertNotice | None:
        """The oldest notice that is due; no other process gets it for the next seconds."""

    async def sent(self, notice: AlertNotice) -> None:
        """Record that the notice arrived."""


class Webhook(Protocol):
    """Delivers alerts; see `pricing_server.fetch.webhook`."""

    async def post(self, document: Mapping[str, Any]) -> str | None:
        """Why it was not accepted, in a line without secrets; None if it was."""


class Alerts:
    """Watches the sources of a schedule."""

    def __init__(
        self,
        schedule: Schedule,
        incidents: IncidentStore,
        notices: NoticeStore,
        webhook: Webhook | None,
        *,
        after_failures: int,
    ) -> None:
        self._stale_after = {source: schedule.stale_after(source) for source in schedule.intervals}
        self._incidents = incidents
        self._notices = notices
        self._webhook = webhook
        self._after_failures = after_failures
        self._unsent = asyncio.Event()

    async def look(self) -> None:
        """One look at all sources. May raise DatabaseUnavailable."""
        noted = await self._incidents.note(self._stale_after, self._after_failures, document_of)
        for change in noted.changes:
            document = document_of(change)
            if change.event is IncidentEvent.OPENED:
                log.warning("alert.opened", **document)
            else:
                log.info("alert.recovered", **document)
        if noted.has_unsent:
            self._unsent.set()

    async def deliver(self) -> None:
        """Deliver until cancelled, in the background: a dead webhook delays nothing."""
        if self._webhook is None:
            return
        is_refused = False
        while True:
            await self._unsent.wait()
            self._unsent.clear()
            try:
                while (notice := await self._notices.claim()) is not None:
                    refusal = await self._post_or_finish(self._webhook, notice)
                    if refusal is not None and notice.is_last_attempt:
                        log.error(
                            "alert.given_up",
                            notice=notice.notice_id,
                            error=refusal,
                            text=notice.document.get("text"),
                        )
                    elif refusal is not None and not is_refused:
                        log.warning("alert.not_delivered", error=refusal)
                    is_refused = refusal is not None
            except DatabaseUnavailable:
                continue  # Nothing is lost: the next look finds what waits.
            except Exception as error:
                log.error("alert.broken", exc_info=error)

    async def _post_or_finish(self, webhook: Webhook, notice: AlertNotice) -> str | None:
        """Why the webhook did not accept the notice; None if it did, which is recorded.

        If the process stops meanwhile, this waits a moment for the end of both. Otherwise
        another process would send the notice again.
        """
        posting = asyncio.create_task(self._post(webhook, notice))
        try:
            return await asyncio.shield(posting)
        except asyncio.CancelledError:
            await asyncio.wait({posting}, timeout=LAST_SECONDS)
            posting.cancel()
            raise

    async def _post(self, webhook: Webhook, notice: AlertNotice) -> str | None:
        refusal = await webhook.post(notice.document)
        if refusal is None:
            await self._notices.sent(notice)
        return refusal


def document_of(change: IncidentChange) -> Mapping[str, Any]:
    """What the webhook and the log get."""
    return {
        "text": _text(change),
        "alert": change.event.value,
        "kind": change.kind.value,
        "source": change.source,
        "display_name": change.display_name,
        "incident_id": str(change.incident_id),
        "opened_time": _written(change.opened_at),
        "recovered_time": _written(change.recovered_at),
        "failures_in_a_row": change.failures_in_a_row,
        "last_error": _shortened(change.last_error),
        "last_success_time": _written(change.last_success_time),
        "verified_time": _written(change.verified_time),
    }


def _text(change: IncidentChange) -> str:
    name = f"{change.display_name} ({change.source})"
    since = f"since {_said(change.opened_at)}"
    match change.event, change.kind:
        case [IncidentEvent.OPENED, IncidentKind.FAILING]:
            count = change.failures_in_a_row
            failed = "sync has failed" if count == 1 else "syncs in a row have failed"
            error = _shortened(change.last_error) or "no reason is known"
            text = f"{name}: {count} {failed}. Last: {error}. {_data_of(change)}"
        case [IncidentEvent.OPENED, IncidentKind.STALE]:
            text = f"{name}: prices are out of date. {_data_of(change)}"
        case [_, IncidentKind.FAILING]:
            text = f"{name}: syncs succeed again. They had been failing {since}."
        case [_, IncidentKind.STALE]:
            text = f"{name}: prices are up to date again. They had not been {since}."
    return text.translate(_MARKUP)


def _data_of(change: IncidentChange) -> str:
    if change.verified_time is None:
        return "No sync of it has ever succeeded."
    return f"Its newest data is of {_said(change.verified_time)}."


def _shortened(error: str | None) -> str | None:
    if error is None or len(error) <= MAX_ERROR:
        return error
    return error[: MAX_ERROR - 1] + "…"


def _said(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _written(instant: datetime | None) -> str | None:
    return None if instant is None else instant.astimezone(UTC).isoformat()
