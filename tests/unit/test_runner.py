"""Sync runs: detached from their caller, and failing without telling more than they should."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NoReturn

import pytest
from structlog.testing import capture_logs

from llmpricing.meters import Meter
from llmpricing.rate_card import UNPRICED, PriceState, Rate, RateCard
from pricing_server.domain.errors import (
    DatabaseUnavailable,
    HeldChangeNotFound,
    HeldChangeNotOpen,
    KeyMissing,
    PricingError,
    RunNotRevertible,
    ShuttingDown,
    SourceNotFound,
    SyncInProgress,
    SyncRunNotFound,
)
from pricing_server.domain.fetch_errors import ConnectionFailed, FetchError
from pricing_server.domain.fetch_request import FetchRequest
from pricing_server.domain.head import Head
from pricing_server.domain.held_change import (
    HeldChange,
    HoldDecision,
    HoldReason,
    HoldStatus,
    ResolveOutcome,
    ResolveRequest,
)
from pricing_server.domain.payload import NotModified, Payload, Validators
from pricing_server.domain.price_change import (
    SCHEDULER,
    ChangeKind,
    ChangeOrigin,
    OriginKind,
    PriceChange,
)
from pricing_server.domain.revert import RevertOutcome, RevertRequest
from pricing_server.domain.source import KeyUse, Release, Source, SourceEvidence
from pricing_server.domain.source_listing import Fault, ListedModel, Listing, Notice, SourceError
from pricing_server.domain.sync_run import (
    NO_COUNTS,
    RunOvertaken,
    SyncOutcome,
    SyncRequest,
    SyncStatus,
)
from pricing_server.sync.runner import SyncRunner
from pricing_server.sync.sync_plan import ListingTerms, Plan, make_plan
from pricing_server.sync.sync_store import (
    AppliedPlan,
    LastAnswer,
    Named,
    RunDeclaredDead,
    StartedRun,
    SyncSession,
)
from pricing_server.sync.table_state import TableState

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
LATER = NOON + timedelta(seconds=9)
SECRET = "postgresql://prices:hunter22@db/prices"
CARD = RateCard.of(PriceState.PRICED, [Rate(Meter.INPUT_TOKENS, Decimal(1))])


class Interrupted(Exception):
    """Something of ours is broken; its text is for the log only."""


def read(document: object, received_at: datetime) -> Listing:
    """What the fake source's adapter makes of a document: a list of model ids."""
    if not isinstance(document, list):
        raise SourceError("the payload is not a list of models")
    models = tuple(ListedModel("acme", str(name), CARD, "{}") for name in document)
    faults = (Fault("odd", "pricing is missing", ("acme", "odd")),)
    return Listing(models, faults, (Notice("zero:prompt", "zero", 1, "odd"),), received_at)


ACME = Source(
    "acme", "Acme", 100, read, SourceEvidence.RECORDED, "acme", "https://acme.test/models"
)
KEYED = replace(ACME, slug="keyed-api", key_use=KeyUse.REQUIRED)
HOMELESS = replace(ACME, slug="homeless", endpoint=None)
BUNDLED = replace(
    ACME, slug="bundled", endpoint=None, release=Release("1.0", NOON, lambda: ["from release"])
)
DIVIDED = replace(
    ACME,
    slug="divided",
    endpoint="https://acme.test/{part}.json",
    parts=("one", "two"),
    read=lambda document, at: read(sorted(document), at),  # type: ignore[call-overload]
)
RECORDER = replace(
    ACME, slug="recorder", read=lambda document, at: read(document, at - timedelta(days=90))
)
SOURCES = {each.slug: each for each in (ACME, KEYED, HOMELESS, BUNDLED, DIVIDED, RECORDER)}


HELD = HeldChange(
    12, "acme", "acme", "a", None, 1, HoldReason.RATIO_TO_PAST, (), None, CARD, "{}",
    HoldStatus.REJECTED, NOON, NOON, 41, NOON, "ann", "",
)  # fmt: skip


@dataclass
class Store:
    """The sync log in memory. What is in `breaks` raises instead of working."""

    log: list[str] = field(default_factory=list)
    rows: dict[int, tuple[str, str]] = field(default_factory=dict)
    breaks: dict[str, Exception] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    revision: int = 7
    changes_to_revert: tuple[PriceChange, ...] = ()
    to_unconfirm: int = 0
    kept: dict[str, LastAnswer] = field(default_factory=dict)
    """By what was asked."""
    is_confirmable: bool = True

    def step(self, name: str) -> None:
        self.log.append(name)
        if name in self.breaks:
            raise self.breaks[name]

    @asynccontextmanager
    async def session(self, source: Source) -> AsyncIterator[SyncSession]:
        self.step("session")
        if source.slug in self.held:
            raise SyncInProgress(source.slug, 41)
        self.held.add(source.slug)
        try:
            yield Session(self, source)
        finally:
            self.held.remove(source.slug)
            self.log.append("freed")

    async def resolve(self, request: ResolveRequest) -> ResolveOutcome:
        self.step("resolve")
        return ResolveOutcome(HELD, self.revision, "epoch", ())

    async def revert(self, request: RevertRequest) -> RevertOutcome:
        self.step("revert")
        is_written = bool(self.changes_to_revert or self.to_unconfirm) and not request.dry_run
        if self.changes_to_revert and is_written:
            self.revision += 1
        return RevertOutcome(
            request,
            self.revision,
            "epoch",
            self.changes_to_revert,
            (),
            unconfirmed=self.to_unconfirm,
            is_written=is_written,
        )


class Session:
    """A session of the fake store."""

    def __init__(self, store: Store, source: Source) -> None:
        self._store = store
        self._source = source

    async def head(self) -> tuple[int, str]:
        self._store.step("head")
        return self._store.revision, "epoch"

    async def start(self, origin: ChangeOrigin, newest_run_id: int | None = None) -> StartedRun:
        self._store.step("start")
        if newest_run_id is not None and newest_run_id != max(self._store.rows, default=0):
            raise RunOvertaken
        run_id = 42 + len(self._store.rows)
        self._store.rows[run_id] = ("in_progress", origin.note)
        return StartedRun(run_id, NOON, replace(origin, sync_run_id=run_id))

    async def preview(
        self, listing: Listing, origin: ChangeOrigin, *, register_unknown: bool
    ) -> AppliedPlan:
        self._store.step("preview")
        return self._planned(listing, origin, register_unknown, self._store.revision)

    async def last_answer(self, asked: str) -> LastAnswer | None:
        return self._store.kept.get(asked)

    async def apply(
        self,
        run: StartedRun,
        listing: Listing,
        *,
        register_unknown: bool,
        named: Named | None = None,
    ) -> AppliedPlan:
        self._store.step("apply")
        self._finish(run, "success")
        self._store.revision += 1
        if named is not None and named.validators is not None:
            self._store.kept = {named.asked: LastAnswer(run.sync_run_id, named.validators)}
        return self._planned(listing, run.origin, register_unknown, self._store.revision)

    async def confirm(
        self, run: StartedRun, last: LastAnswer, answer: NotModified
    ) -> AppliedPlan | None:
        self._store.step("confirm")
        if not self._store.is_confirmable:
            return None
        self._finish(run, "success")
        counts = {**NO_COUNTS, "models_fetched": 2, "models_unchanged": 2}
        plan = Plan((), (), (), (), {}, {}, LATER, counts)
        return AppliedPlan(plan, self._store.revision, "epoch", LATER)

    async def fail(self, run: StartedRun, message: str) -> datetime:
        self._store.step("fail")
        self._finish(run, message)
        return LATER

    def _finish(self, run: StartedRun, status: str) -> None:
        before, triggered_by = self._store.rows[run.sync_run_id]
        assert before == "in_progress", "a row moves to its final status once"
        self._store.rows[run.sync_run_id] = (status, triggered_by)

    def _planned(
        self, listing: Listing, origin: ChangeOrigin, register_unknown: bool, revision: int
    ) -> AppliedPlan:
        plan = make_plan(
            TableState({}, {}),
            listing,
            self._source,
            {},
            ListingTerms(origin, LATER, register_unknown),
        )
        return AppliedPlan(plan, revision, "epoch", LATER)


@dataclass
class Api:
    """The other side: answers when it may, or fails."""

    document: object = field(default_factory=lambda: ["a", "b"])
    failure: Exception | None = None
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    validators: Validators | None = None
    """What names the state of the document."""
    known: list[Validators | None] = field(default_factory=list)
    """What came with each request."""

    async def fetch(self, request: FetchRequest) -> Payload | NotModified:
        self.requests.append((request.url, request.api_key))
        self.known.append(request.validators)
        self.asked.set()
        await self.may_answer.wait()
        if self.failure is not None:
            raise self.failure
        if request.validators is not None and request.validators == self.validators:
            return NotModified(LATER)
        return Payload(self.document, NOON, "", request.url, 0, self.validators)


@dataclass
class Operator:
    """What the operator set."""

    urls: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)

    def url_of(self, source: Source) -> str | None:
        return self.urls.get(source.slug, source.endpoint)

    def key_of(self, source: Source) -> str | None:
        return self.keys.get(source.slug)


@dataclass
class Rig:
    """A runner between fakes."""

    store: Store
    api: Api
    operator: Operator
    committed: list[Head]
    runner: SyncRunner

    async def sync(self, source: str = "acme", *, dry_run: bool = False) -> SyncOutcome:
        return await self.runner.sync(SyncRequest(source, dry_run=dry_run, triggered_by="test"))


def new_rig(told: Callable[[Head], None] | None = None) -> Rig:
    store, api, operator = Store(), Api(), Operator()
    committed: list[Head] = []

    def tell(head: Head) -> None:
        committed.append(head)
        if told is not None:
            told(head)

    return Rig(store, api, operator, committed, SyncRunner(store, api, operator, SOURCES, tell))


@pytest.fixture
async def slow() -> Rig:
    """The API answers when `may_answer` is set."""
    return new_rig()


@pytest.fixture
async def rig(slow: Rig) -> Rig:
    """The API answers at once."""
    slow.api.may_answer.set()
    return slow


async def under_way(rig: Rig) -> asyncio.Task[SyncOutcome]:
    """A sync that waits for its API."""
    task = asyncio.create_task(rig.sync())
    await rig.api.asked.wait()
    return task


async def all_ended(rig: Rig) -> None:
    """Let what runs detached come to its end."""
    async with asyncio.timeout(10):
        while rig.store.held:  # noqa: ASYNC110  # There is nothing to wait on, by design.
            await asyncio.sleep(0.001)


# A run that succeeds.


async def test_a_run_reads_applies_tells_and_reports(rig: Rig) -> None:
    outcome = await rig.sync()
    assert rig.store.log == ["session", "start", "apply", "freed"]
    assert rig.committed == [Head(8, "epoch")]
    assert rig.store.rows == {42: ("success", "test")}
    assert rig.api.requests == [("https://acme.test/models", None)]
    assert outcome.status is SyncStatus.SUCCESS
    assert (outcome.source, outcome.sync_run_id, outcome.dry_run) == ("acme", 42, False)
    assert (outcome.revision, outcome.epoch) == (8, "epoch")
    assert (outcome.started_at, outcome.completed_at) == (NOON, LATER)
    assert outcome.counts["models_registered"] == 2
    assert (outcome.counts["models_fetched"], outcome.counts["errors"]) == (3, 1)
    assert [change.model_id for change in outcome.changes] == ["a", "b"]
    assert [fault.model_id for fault in outcome.faults] == ["odd"]
    assert [notice.code for notice in outcome.notices] == ["zero:prompt"]
    assert outcome.error_message is None


async def test_the_process_serves_the_new_prices_before_the_outcome_is_told() -> None:
    outcomes: list[bool] = []
    rig = new_rig(lambda head: outcomes.append(run.done()))
    rig.api.may_answer.set()
    run = asyncio.create_task(rig.sync())
    await run
    assert outcomes == [False]


async def test_a_dry_run_writes_nothing_not_even_a_log_row(rig: Rig) -> None:
    outcome = await rig.sync(dry_run=True)
    assert rig.store.log == ["session", "preview", "freed"]
    assert (rig.store.rows, rig.committed, rig.store.revision) == ({}, [], 7)
    assert (outcome.dry_run, outcome.sync_run_id, outcome.revision) == (True, None, 7)
    assert outcome.status is SyncStatus.SUCCESS
    assert outcome.counts["models_registered"] == 2


async def test_the_policy_for_unknown_models_is_passed_on(rig: Rig) -> None:
    outcome = await rig.runner.sync(SyncRequest("acme", register_unknown=False))
    assert (outcome.counts["models_skipped"], outcome.counts["models_registered"]) == (2, 0)


async def test_the_operator_s_address_and_key_are_used(rig: Rig) -> None:
    rig.operator.urls = {"keyed-api": "http://127.0.0.1:1/"}
    rig.operator.keys = {"keyed-api": "sk-1", "acme": "sk-2"}
    await rig.sync("keyed-api")
    await rig.sync("acme")
    assert rig.api.requests == [
        ("http://127.0.0.1:1/", "sk-1"),
        ("https://acme.test/models", "sk-2"),
    ]


async def test_all_parts_of_a_source_are_one_run(rig: Rig) -> None:
    outcome = await rig.sync("divided")
    assert [url for url, _ in rig.api.requests] == [
        "https://acme.test/one.json",
        "https://acme.test/two.json",
    ]
    assert outcome.status is SyncStatus.SUCCESS
    assert rig.store.log == ["session", "start", "apply", "freed"]


async def test_a_part_that_fails_fails_the_run_since_its_models_would_seem_gone(rig: Rig) -> None:
    rig.api.failure = FetchError("two: HTTP status 404")
    outcome = await rig.sync("divided")
    assert outcome.status is SyncStatus.FAILED
    assert "apply" not in rig.store.log


async def test_an_address_of_parts_has_to_say_where_the_part_goes(rig: Rig) -> None:
    rig.operator.urls = {"divided": "https://mirror.test/all.json"}
    outcome = await rig.sync("divided")
    assert outcome.error_message == "PRICING_DIVIDED_URL does not say where {part} goes"
    assert rig.api.requests == []


def test_parts_and_an_endpoint_with_their_place_go_together() -> None:
    with pytest.raises(ValueError, match="an endpoint has"):
        replace(ACME, parts=("one",))
    with pytest.raises(ValueError, match="an endpoint has"):
        replace(DIVIDED, parts=())


async def test_a_bundled_catalogue_is_read_without_fetching_and_is_as_old_as_its_release(
    rig: Rig,
) -> None:
    outcome = await rig.sync("bundled")
    assert rig.api.requests == []
    assert [change.model_id for change in outcome.changes] == ["from release"]
    assert outcome.changes[0].effective_time == NOON


# Unchanged.

TAG, OTHER_TAG = Validators(etag='"1"'), Validators(etag='"2"')


async def test_an_unchanged_answer_confirms_what_was_applied_and_is_served(rig: Rig) -> None:
    rig.api.validators = TAG
    await rig.sync()
    rig.store.log.clear()
    outcome = await rig.sync()
    assert rig.api.known == [None, TAG]
    assert rig.store.log == ["session", "start", "confirm", "freed"]
    assert outcome.status is SyncStatus.SUCCESS
    assert (outcome.changes, outcome.faults) == ((), ())
    assert outcome.counts["models_unchanged"] == 2
    assert rig.committed == [Head(8, "epoch"), Head(8, "epoch")]


async def test_an_answer_in_another_state_is_applied(rig: Rig) -> None:
    rig.api.validators = TAG
    await rig.sync()
    rig.api.validators = OTHER_TAG
    await rig.sync()
    assert rig.store.log.count("apply") == 2
    assert [last.validators for last in rig.store.kept.values()] == [OTHER_TAG]


async def test_what_cannot_be_confirmed_is_read_in_full_in_the_same_run(rig: Rig) -> None:
    rig.api.validators = TAG
    await rig.sync()
    rig.store.is_confirmable = False
    rig.store.log.clear()
    outcome = await rig.sync()
    assert rig.api.known == [None, TAG, None]
    assert rig.store.log == ["session", "start", "confirm", "apply", "freed"]
    assert outcome.status is SyncStatus.SUCCESS


async def test_a_recording_is_never_confirmed_by_being_served_unchanged(rig: Rig) -> None:
    rig.api.validators = TAG
    await rig.sync("recorder")
    await rig.sync("recorder")
    assert rig.api.known == [None, None]
    assert rig.store.log.count("apply") == 2


async def test_parts_are_asked_for_in_full_each_time(rig: Rig) -> None:
    rig.api.validators = TAG
    await rig.sync("divided")
    await rig.sync("divided")
    assert rig.api.known == [None] * 4


async def test_a_dry_run_asks_for_everything_and_leaves_no_validators(rig: Rig) -> None:
    rig.api.validators = TAG
    await rig.sync(dry_run=True)
    assert rig.store.kept == {}
    await rig.sync()
    await rig.sync(dry_run=True)
    assert rig.api.known == [None, None, None]


async def test_another_address_or_another_use_of_a_key_is_asked_for_everything(rig: Rig) -> None:
    rig.api.validators = TAG
    await rig.sync()
    rig.operator.urls = {"acme": "https://mirror.test/models"}
    await rig.sync()
    rig.operator.keys = {"acme": "sk-1"}
    await rig.sync()
    assert rig.api.known == [None, None, None]


# Detached.


async def test_a_caller_that_goes_away_does_not_end_the_run(slow: Rig) -> None:
    caller = await under_way(slow)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert slow.store.rows == {42: ("in_progress", "test")}
    slow.api.may_answer.set()
    await all_ended(slow)
    assert slow.store.rows == {42: ("success", "test")}
    assert slow.committed == [Head(8, "epoch")]


async def test_a_caller_whose_time_is_up_does_not_end_the_run(slow: Rig) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await slow.sync()
    slow.api.may_answer.set()
    await all_ended(slow)
    assert slow.store.rows == {42: ("success", "test")}


async def test_a_failure_that_no_caller_waits_for_is_logged_and_troubles_nobody(
    slow: Rig,
) -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    slow.store.breaks["fail"] = Interrupted(SECRET)
    slow.api.failure = ConnectionFailed("acme.test: no complete answer")
    caller = await under_way(slow)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    slow.api.may_answer.set()
    await all_ended(slow)
    await asyncio.sleep(0)
    assert complaints == []


async def test_two_sources_run_side_by_side_and_one_source_once(slow: Rig) -> None:
    first = await under_way(slow)
    with pytest.raises(SyncInProgress) as caught:
        await slow.sync()
    assert (caught.value.source, caught.value.sync_run_id) == ("acme", 41)
    assert (await slow.sync("bundled")).status is SyncStatus.SUCCESS
    slow.api.may_answer.set()
    assert (await first).status is SyncStatus.SUCCESS


# No run took place.


async def test_an_unknown_source_is_no_run(rig: Rig) -> None:
    with pytest.raises(SourceNotFound) as caught:
        await rig.sync("acmee")
    assert caught.value.known == tuple(sorted(SOURCES))
    assert rig.store.log == []


@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_missing_key_is_named_and_no_run(rig: Rig, dry_run: bool) -> None:
    with pytest.raises(KeyMissing) as caught:
        await rig.sync("keyed-api", dry_run=dry_run)
    assert caught.value.variable == "PRICING_KEYED_API_API_KEY"
    assert (rig.store.log, rig.api.requests) == ([], [])


@pytest.mark.parametrize("step", ["session", "start"])
async def test_without_the_database_there_is_no_run(rig: Rig, step: str) -> None:
    rig.store.breaks[step] = DatabaseUnavailable()
    with pytest.raises(DatabaseUnavailable):
        await rig.sync()
    assert (rig.store.rows, rig.api.requests, rig.store.held) == ({}, [], set())


async def test_a_dry_run_without_the_database_is_no_run(rig: Rig) -> None:
    rig.store.breaks["preview"] = DatabaseUnavailable()
    with pytest.raises(DatabaseUnavailable):
        await rig.sync(dry_run=True)


# A run that fails.


async def failed(rig: Rig, source: str = "acme", *, dry_run: bool = False) -> str:
    """The message of a run that fails, which changed nothing."""
    outcome = await rig.sync(source, dry_run=dry_run)
    assert outcome.status is SyncStatus.FAILED
    assert rig.committed == []
    assert (outcome.revision, outcome.epoch) == (7, "epoch")
    assert (outcome.changes, outcome.faults) == ((), ())
    assert set(outcome.counts.values()) == {0}
    assert outcome.error_message is not None
    if dry_run:
        assert (outcome.sync_run_id, rig.store.rows) == (None, {})
        assert "fail" not in rig.store.log
    else:
        assert outcome.sync_run_id == 42
        assert rig.store.rows == {42: (outcome.error_message, "test")}
        assert (outcome.started_at, outcome.completed_at) == (NOON, LATER)
    assert rig.store.held == set()
    return outcome.error_message


@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_fetch_that_fails_is_an_outcome_with_its_reason(rig: Rig, dry_run: bool) -> None:
    rig.api.failure = FetchError("https://acme.test/models: HTTP status 503")
    message = await failed(rig, dry_run=dry_run)
    assert message == "https://acme.test/models: HTTP status 503"


@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_senseless_payload_is_an_outcome_with_its_reason(rig: Rig, dry_run: bool) -> None:
    rig.api.document = {"error": "rate limited"}
    assert await failed(rig, dry_run=dry_run) == "the payload is not a list of models"


async def test_a_source_without_an_address_names_the_setting(rig: Rig) -> None:
    assert await failed(rig, "homeless") == "no address is known: set PRICING_HOMELESS_URL"
    rig.operator.urls = {"homeless": "http://127.0.0.1:1/"}
    assert (await rig.sync("homeless")).status is SyncStatus.SUCCESS


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(
    "fault", [Interrupted(SECRET), KeyError(SECRET), RecursionError(SECRET), AssertionError(SECRET)]
)
async def test_a_fault_of_ours_is_an_outcome_with_a_reference_and_nothing_internal(
    rig: Rig, fault: Exception, dry_run: bool
) -> None:
    rig.store.breaks["preview" if dry_run else "apply"] = fault
    message = await failed(rig, dry_run=dry_run)
    assert message.startswith("internal fault, reference ")
    for internal in (SECRET, "hunter22", type(fault).__name__, "Traceback"):
        assert internal not in message


async def test_the_reference_of_a_fault_is_in_the_log_beside_its_cause(
    rig: Rig,
) -> None:
    cause = rig.store.breaks["apply"] = Interrupted("the cause")
    with capture_logs() as logged:
        message = await failed(rig)
    reference = message.removeprefix("internal fault, reference ").split()[0]
    (entry,) = [entry for entry in logged if entry.get("reference") == reference]
    assert (entry["log_level"], entry["exc_info"]) == ("error", cause)


async def test_an_adapter_that_breaks_fails_its_run_and_nothing_else(rig: Rig) -> None:
    def broken(document: object, received_at: datetime) -> NoReturn:
        raise Interrupted(SECRET)

    sources = {"broken": replace(ACME, slug="broken", read=broken), "acme": ACME}
    told: list[int] = []
    runner = SyncRunner(
        rig.store, rig.api, rig.operator, sources, lambda head: told.append(head.revision)
    )
    outcome = await runner.sync(SyncRequest("broken"))
    assert outcome.status is SyncStatus.FAILED
    assert SECRET not in (outcome.error_message or "")
    assert (await runner.sync(SyncRequest("acme"))).status is SyncStatus.SUCCESS
    assert told == [8]


async def test_a_database_that_goes_away_during_a_run_is_an_outcome(rig: Rig) -> None:
    rig.store.breaks |= {step: DatabaseUnavailable() for step in ("apply", "fail")}
    outcome = await rig.sync()
    assert (outcome.status, outcome.sync_run_id) == (SyncStatus.FAILED, 42)
    assert outcome.error_message == "the price database cannot be reached; try again"
    assert rig.committed == []
    assert outcome.completed_at >= outcome.started_at


async def test_a_run_that_took_place_is_an_outcome_even_if_its_row_cannot_be_closed(
    rig: Rig,
) -> None:
    # As when another process declared the run dead in the meantime. An error would
    # tell the caller that no run took place.
    rig.store.breaks |= {"apply": Interrupted("dead"), "fail": Interrupted(SECRET)}
    outcome = await rig.sync()
    assert outcome.status is SyncStatus.FAILED
    assert SECRET not in (outcome.error_message or "")


async def test_a_run_that_was_declared_dead_tells_so_and_that_nothing_changed(rig: Rig) -> None:
    rig.store.breaks |= {step: RunDeclaredDead(42) for step in ("apply", "fail")}
    outcome = await rig.sync()
    assert (outcome.status, outcome.sync_run_id) == (SyncStatus.FAILED, 42)
    assert outcome.error_message == str(RunDeclaredDead(42))
    assert rig.committed == []


# Held changes.


async def test_a_decision_is_served_before_it_is_reported_though_no_price_changed(
    rig: Rig,
) -> None:
    outcome = await rig.runner.resolve(ResolveRequest(12, HoldDecision.REJECT))
    assert outcome.held_change is HELD
    assert [head.revision for head in rig.committed] == [7]


async def test_a_decision_on_nothing_is_an_error(rig: Rig) -> None:
    rig.store.breaks["resolve"] = HeldChangeNotFound("12")
    with pytest.raises(HeldChangeNotFound):
        await rig.runner.resolve(ResolveRequest(12, HoldDecision.APPROVE))
    assert rig.committed == []


@pytest.mark.parametrize(
    ("step", "mistake"),
    [
        ("resolve", HeldChangeNotFound("12")),
        ("resolve", HeldChangeNotOpen("12", "expired")),
        ("revert", SyncRunNotFound("42")),
        ("revert", RunNotRevertible("42", "failed")),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
async def test_a_mistake_of_the_caller_is_nothing_to_log(
    rig: Rig, step: str, mistake: PricingError
) -> None:
    rig.store.breaks[step] = mistake
    with capture_logs() as logged, pytest.raises(type(mistake)):
        await decided(rig, step)
    assert logged == []


@pytest.mark.parametrize("step", ["resolve", "revert"])
async def test_what_did_not_take_place_for_another_reason_is_logged(rig: Rig, step: str) -> None:
    rig.store.breaks[step] = DatabaseUnavailable()
    with capture_logs() as logged, pytest.raises(DatabaseUnavailable):
        await decided(rig, step)
    assert [(entry["event"], entry["log_level"]) for entry in logged] == [
        ("sync.not_run", "warning")
    ]


async def decided(rig: Rig, step: str) -> None:
    """Ask for a decision on a held change, or for a revert."""
    if step == "resolve":
        await rig.runner.resolve(ResolveRequest(12, HoldDecision.REJECT))
    else:
        await rig.runner.revert(RevertRequest(42))


# A revert.


REVERTED = PriceChange(
    ChangeKind.CHANGED,
    "acme",
    "a",
    CARD,
    UNPRICED,
    "acme",
    NOON,
    LATER,
    ChangeOrigin(OriginKind.REVERT, "admin", "test", reverted_run_id=42),
)


async def test_a_revert_is_served_before_it_is_reported(rig: Rig) -> None:
    rig.store.changes_to_revert = (REVERTED,)
    outcome = await rig.runner.revert(RevertRequest(42))
    assert rig.committed == [Head(8, "epoch")]
    assert (outcome.revision, outcome.changes) == (8, (REVERTED,))


@pytest.mark.parametrize(("changes", "dry_run"), [((REVERTED,), True), ((), False)])
async def test_a_revert_that_changes_nothing_clears_nothing(
    rig: Rig, changes: tuple[PriceChange, ...], dry_run: bool
) -> None:
    rig.store.changes_to_revert = changes
    await rig.runner.revert(RevertRequest(42, dry_run=dry_run))
    assert rig.committed == []


async def test_a_revert_that_only_makes_a_price_unconfirmed_is_served_too(rig: Rig) -> None:
    rig.store.to_unconfirm = 1
    await rig.runner.revert(RevertRequest(42, dry_run=True))
    assert rig.committed == []
    await rig.runner.revert(RevertRequest(42))
    assert rig.committed == [Head(7, "epoch")]


async def test_a_revert_that_does_not_take_place_is_an_error(rig: Rig) -> None:
    rig.store.breaks["revert"] = SyncRunNotFound("42")
    with pytest.raises(SyncRunNotFound):
        await rig.runner.revert(RevertRequest(42))
    assert rig.committed == []


# Shutting down.


async def test_a_draining_runner_starts_nothing(rig: Rig) -> None:
    await rig.runner.drain(0)
    with pytest.raises(ShuttingDown):
        await rig.sync()
    with pytest.raises(ShuttingDown):
        await rig.runner.revert(RevertRequest(42))
    assert rig.store.log == []


async def test_a_run_under_way_may_end_while_the_runner_drains(slow: Rig) -> None:
    run = await under_way(slow)
    draining = asyncio.create_task(slow.runner.drain(10))
    await asyncio.sleep(0)
    with pytest.raises(PricingError):
        await slow.sync("bundled")
    slow.api.may_answer.set()
    await draining
    assert (await run).status is SyncStatus.SUCCESS
    assert slow.store.rows == {42: ("success", "test")}


async def test_a_run_that_takes_too_long_is_cancelled_and_says_so_in_the_log(slow: Rig) -> None:
    run = await under_way(slow)
    await slow.runner.drain(0.01)
    with pytest.raises(asyncio.CancelledError):
        await run
    assert slow.store.rows == {42: ("the server was shut down during the sync", "test")}
    assert slow.committed == []
    assert slow.store.held == set()


async def test_a_run_whose_caller_left_is_drained_too(slow: Rig) -> None:
    caller = await under_way(slow)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await slow.runner.drain(0.01)
    assert slow.store.rows == {42: ("the server was shut down during the sync", "test")}


async def test_draining_without_a_run_ends_at_once(rig: Rig) -> None:
    await rig.sync()
    async with asyncio.timeout(1):
        await rig.runner.drain(60)


# Scheduled runs.


def scheduled(newest_run_id: int) -> SyncRequest:
    return SyncRequest("acme", triggered_by=SCHEDULER, newest_run_id=newest_run_id, actor=SCHEDULER)


async def test_a_scheduled_run_takes_place_if_no_other_began_since_it_was_found_due(
    rig: Rig,
) -> None:
    await rig.runner.sync(scheduled(0))
    await rig.sync()
    await rig.runner.sync(scheduled(43))
    assert rig.store.rows == {
        42: ("success", "scheduler"),
        43: ("success", "test"),
        44: ("success", "scheduler"),
    }


async def test_a_scheduled_run_that_was_overtaken_takes_no_place_and_is_no_news(rig: Rig) -> None:
    await rig.sync()
    before = dict(rig.store.rows)
    with capture_logs() as logged, pytest.raises(RunOvertaken):
        await rig.runner.sync(scheduled(0))
    assert rig.store.rows == before
    assert len(rig.api.requests) == 1
    assert not rig.store.held
    assert logged == []


async def test_a_scheduled_run_that_fails_fills_no_log(rig: Rig) -> None:
    rig.api.failure = ConnectionFailed("no complete answer")
    with capture_logs() as logged:
        outcome = await rig.runner.sync(scheduled(0))
    assert outcome.status is SyncStatus.FAILED
    assert {each["log_level"] for each in logged} == {"debug"}


async def test_a_drain_does_not_wait_for_scheduled_runs(slow: Rig) -> None:
    task = asyncio.create_task(slow.runner.sync(scheduled(0)))
    await slow.api.asked.wait()
    # The API never answers: whoever waited for it would wait until the test's timeout.
    await slow.runner.drain(grace_seconds=1_000_000)
    assert slow.store.rows == {42: ("the server was shut down during the sync", "scheduler")}
    with pytest.raises(asyncio.CancelledError):
        await task
