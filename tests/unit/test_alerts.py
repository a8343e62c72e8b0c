"""Alerts say what happened, and a webhook that is down delays nothing and is not told more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from pricing_server.domain.errors import DatabaseUnavailable
from pricing_server.domain.source import Source
from pricing_server.scheduler.alerts import (
    MAX_ERROR,
    AlertNotice,
    Alerts,
    IncidentChange,
    IncidentEvent,
    IncidentKind,
    Noted,
    document_of,
)
from pricing_server.scheduler.sync_schedule import Schedule

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
FAILING = IncidentChange(
    incident_id=5,
    kind=IncidentKind.FAILING,
    event=IncidentEvent.OPENED,
    source="acme",
    display_name="Acme",
    opened_at=NOON,
    recovered_at=None,
    failures_in_a_row=3,
    last_error="https://acme.test/models: HTTP status 503",
    last_success_time=NOON - timedelta(hours=7),
    verified_time=NOON - timedelta(hours=8),
)
HEALED = replace(
    FAILING, event=IncidentEvent.RECOVERED, recovered_at=NOON, failures_in_a_row=0, last_error=None
)
STALE = replace(FAILING, kind=IncidentKind.STALE)


class Unset:
    """An operator who set nothing."""

    def url_of(self, source: Source) -> str | None:
        return None

    def key_of(self, source: Source) -> str | None:
        return None

    def interval_of(self, source: Source) -> timedelta | None:
        return None


@dataclass
class Incidents:
    """What changes at the next looks."""

    changes: list[IncidentChange] = field(default_factory=list)
    documents: list[Mapping[str, Any]] = field(default_factory=list)

    async def note(
        self,
        stale_after: Mapping[str, timedelta],
        after_failures: int,
        document: Callable[[IncidentChange], Mapping[str, Any]],
    ) -> Noted:
        changes, self.changes = self.changes, []
        self.documents += [document(change) for change in changes]
        return Noted(changes, has_unsent=True)


@dataclass
class Notices:
    """What waits; `claimed` is set when nothing does any more."""

    waiting: list[AlertNotice] = field(default_factory=list)
    arrived: list[int] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    empty: asyncio.Event = field(default_factory=asyncio.Event)

    async def claim(self) -> AlertNotice | None:
        if self.failures:
            self.empty.set()
            raise self.failures.pop(0)
        if not self.waiting:
            self.empty.set()
            return None
        return self.waiting.pop(0)

    async def sent(self, notice: AlertNotice) -> None:
        self.arrived.append(notice.notice_id)


@dataclass
class Hook:
    """Answers in turn, then accepts."""

    refusals: list[str | None] = field(default_factory=list)
    told: list[Mapping[str, Any]] = field(default_factory=list)

    async def post(self, document: Mapping[str, Any]) -> str | None:
        self.told.append(document)
        return self.refusals.pop(0) if self.refusals else None


@dataclass
class Rig:
    incidents: Incidents
    notices: Notices
    hook: Hook
    alerts: Alerts

    async def delivered(self) -> None:
        """Look, and wait until nothing is left to deliver."""
        self.notices.empty.clear()
        await self.alerts.look()
        await self.notices.empty.wait()


@asynccontextmanager
async def delivering(**parts: Any) -> AsyncIterator[Rig]:
    incidents, notices, hook = Incidents(), Notices(**parts), Hook()
    alerts = Alerts(Schedule(Unset(), {}, NOON), incidents, notices, hook, after_failures=3)
    task = asyncio.create_task(alerts.deliver())
    try:
        async with asyncio.timeout(10):
            yield Rig(incidents, notices, hook, alerts)
    finally:
        task.cancel()
        await asyncio.wait({task})


def notice(number: int, *, is_last_attempt: bool = False) -> AlertNotice:
    return AlertNotice(number, {"text": f"notice {number}"}, is_last_attempt)


# What is said.


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            FAILING,
            "Acme (acme): 3 syncs in a row have failed. Last: https://acme.test/models: HTTP "
            "status 503. Its newest data is of 2026-11-20 04:00 UTC.",
        ),
        (
            replace(FAILING, failures_in_a_row=1, verified_time=None),
            "Acme (acme): 1 sync has failed. Last: https://acme.test/models: HTTP status 503. "
            "No sync of it has ever succeeded.",
        ),
        (
            STALE,
            "Acme (acme): prices are out of date. Its newest data is of 2026-11-20 04:00 UTC.",
        ),
        (
            HEALED,
            "Acme (acme): syncs succeed again. They had been failing since 2026-11-20 12:00 UTC.",
        ),
        (
            replace(HEALED, kind=IncidentKind.STALE),
            "Acme (acme): prices are up to date again. They had not been since "
            "2026-11-20 12:00 UTC.",
        ),
    ],
)
def test_an_alert_says_what_happened_to_whom_and_how_old_the_prices_are(
    change: IncidentChange, text: str
) -> None:
    assert document_of(change)["text"] == text


def test_an_alert_has_its_facts_as_fields_too() -> None:
    document = document_of(FAILING)
    assert {name: document[name] for name in ("alert", "kind", "source", "incident_id")} == {
        "alert": "opened",
        "kind": "failing",
        "source": "acme",
        "incident_id": "5",
    }
    assert document["opened_time"] == "2026-11-20T12:00:00+00:00"
    assert document["recovered_time"] is None


def test_what_a_source_says_mentions_nobody_in_a_chat() -> None:
    hostile = 'not readable as JSON, begins "<!channel> @here &lt; `x` *x*"'
    text = document_of(replace(FAILING, last_error=hostile))["text"]
    assert not set(text) & set("<>@&`*")
    long = document_of(replace(FAILING, last_error="x" * 10_000))
    assert len(long["last_error"]) == MAX_ERROR
    assert len(long["text"]) < 2 * MAX_ERROR


async def test_each_change_is_logged_once_an_incident_as_a_warning() -> None:
    async with delivering() as rig:
        with capture_logs() as logged:
            for change in (FAILING, HEALED):
                rig.incidents.changes = [change]
                await rig.alerts.look()
                await rig.alerts.look()
    assert [(each["event"], each["log_level"], each["source"]) for each in logged] == [
        ("alert.opened", "warning", "acme"),
        ("alert.recovered", "info", "acme"),
    ]
    assert [each["alert"] for each in rig.incidents.documents] == ["opened", "recovered"]


# Delivering.


async def test_what_waits_is_delivered_and_then_said_to_have_arrived() -> None:
    async with delivering(waiting=[notice(1), notice(2)]) as rig:
        await rig.delivered()
        assert [each["text"] for each in rig.hook.told] == ["notice 1", "notice 2"]
        assert rig.notices.arrived == [1, 2]


async def test_what_was_refused_has_not_arrived_and_is_logged_once() -> None:
    async with delivering(waiting=[notice(1), notice(2), notice(3)]) as rig:
        rig.hook.refusals = ["HTTP status 500", "HTTP status 500", None]
        with capture_logs() as logged:
            await rig.delivered()
        assert rig.notices.arrived == [3]
        assert [each["event"] for each in logged] == ["alert.not_delivered"]


async def test_the_last_attempt_that_fails_is_logged_with_what_was_to_be_said() -> None:
    async with delivering(waiting=[notice(1, is_last_attempt=True)]) as rig:
        rig.hook.refusals = ["HTTP status 500"]
        with capture_logs() as logged:
            await rig.delivered()
        assert [(each["event"], each["text"]) for each in logged] == [
            ("alert.given_up", "notice 1")
        ]


@pytest.mark.parametrize(
    ("error", "events"), [(DatabaseUnavailable(), []), (RuntimeError("x"), ["alert.broken"])]
)
async def test_a_fault_while_delivering_does_not_end_it(
    error: Exception, events: list[str]
) -> None:
    async with delivering(failures=[error], waiting=[notice(1)]) as rig:
        with capture_logs() as logged:
            await rig.delivered()
            await rig.delivered()
        assert rig.notices.arrived == [1]
        assert [each["event"] for each in logged] == events


async def test_without_a_webhook_nothing_is_claimed() -> None:
    notices = Notices(waiting=[notice(1)])
    alerts = Alerts(Schedule(Unset(), {}, NOON), Incidents(), notices, None, after_failures=3)
    await alerts.look()
    await alerts.deliver()
    assert len(notices.waiting) == 1


async def test_a_process_that_stops_notes_what_the_webhook_accepts_meanwhile() -> None:
    asked, answers = asyncio.Event(), asyncio.Event()

    class SlowHook(Hook):
        async def post(self, document: Mapping[str, Any]) -> str | None:
            asked.set()
            await answers.wait()
            return await super().post(document)

    notices = Notices(waiting=[notice(1)])
    schedule = Schedule(Unset(), {}, NOON)
    alerts = Alerts(schedule, Incidents(), notices, SlowHook(), after_failures=3)
    delivering = asyncio.create_task(alerts.deliver())
    await alerts.look()
    await asked.wait()
    delivering.cancel()
    await asyncio.sleep(0)
    answers.set()
    await asyncio.wait({delivering})
    assert delivering.cancelled()
    assert notices.arrived == [1]
