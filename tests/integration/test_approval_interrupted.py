"""An approval whose process is killed at any step is done as a whole or not at all."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import grpc
import pytest

from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.runtime.fault_points import FaultPoint
from tests.integration._poll import until
from tests.integration._runs import Bench, ServerProcess, bench_on
from tests.integration._server import CALL_SECONDS

pytestmark = pytest.mark.integration

MODELS = [f"acme/{at}" for at in range(8)]


@pytest.fixture
def bench(cluster: str, catalogue_template: str) -> Iterator[Bench]:
    with bench_on(cluster, catalogue_template) as bench:
        yield bench
        bench.assert_whole()


def held_feed(server: ServerProcess) -> pb.HeldChange:
    (entry,) = server.stub.ListHeldChanges(
        pb.ListHeldChangesRequest(), timeout=CALL_SECONDS
    ).held_changes
    return entry


def approve(server: ServerProcess, held_change_id: str) -> pb.ResolveHeldChangeResponse:
    request = pb.ResolveHeldChangeRequest(
        held_change_id=held_change_id, decision=pb.HOLD_DECISION_APPROVE, resolved_by="ann"
    )
    return server.stub.ResolveHeldChange(request, timeout=CALL_SECONDS)


@pytest.mark.parametrize(
    ("point", "is_done"),
    [
        (FaultPoint.AFTER_STAGE, False),
        (FaultPoint.BEFORE_COMMIT, False),
        (FaultPoint.AFTER_COMMIT, True),
    ],
)
def test_a_killed_approval_of_a_feed_is_whole_or_nothing(
    bench: Bench, point: FaultPoint, is_done: bool
) -> None:
    server = bench.start()
    bench.feed.prices = dict.fromkeys(MODELS, 1)
    server.synced()
    bench.feed.prices = dict.fromkeys(MODELS, 1_000)
    assert server.synced().run.models_held == len(MODELS)
    entry = held_feed(server)
    revision = server.get(MODELS[0]).table.revision
    doomed = bench.start(PRICING_FAULT_POINT=point.value)
    with pytest.raises(grpc.RpcError):
        approve(doomed, entry.held_change_id)
    assert doomed.process.wait(30) == -signal.SIGKILL

    def is_decided() -> bool:
        # Postgres notices the death of an open transaction within milliseconds.
        (row,) = bench.rows(
            "SELECT status FROM held_changes WHERE held_change_id = %s", int(entry.held_change_id)
        )
        return bool(row["status"] == "approved")

    if is_done:
        until(is_decided, "the commit")
    else:
        done = until(lambda: approve(server, entry.held_change_id), "an approval")
        assert done.table.revision == revision + 1
        assert len(done.price_changes) == len(MODELS)
    expected = "1000.00"
    until(lambda: server.prompt(MODELS[0]) == expected, "the new price")
    assert {server.prompt(name) for name in MODELS} == {expected}
    (told,) = bench.rows(
        "SELECT count(*) AS changes, count(DISTINCT revision) AS revisions"
        " FROM model_pricing_history WHERE held_change_id = %s AND note = 'ann'",
        int(entry.held_change_id),
    )
    assert told == {"changes": len(MODELS), "revisions": 1}
    assert server.stub.ListHeldChanges(pb.ListHeldChangesRequest()).held_changes == []
    assert server.synced().run.models_unchanged == len(MODELS)
