"""The contract keeps its own rules: names, shapes, and what each error carries."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, FileDescriptor

from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.grpc_api.wire import statuses

PROTO = Path(__file__).parents[2] / "proto/llmpricing/v1"
FILES: list[FileDescriptor] = list(pb.DESCRIPTOR.public_dependencies)
MESSAGES = [message for file in FILES for message in file.message_types_by_name.values()]
RESPONSES = [message for message in MESSAGES if message.name.endswith("Response")]
CHANGE_METHODS = (
    "SyncProvider",
    "RevertSyncRun",
    "ListPriceChanges",
    "ResolveHeldChange",
    "SetPriceOverride",
    "ClearPriceOverride",
)


def fields(message: Descriptor) -> Iterator[FieldDescriptor]:
    """The fields of a message that is no entry of a map."""
    if not message.GetOptions().map_entry:
        yield from message.fields


def type_of(field: FieldDescriptor) -> str:
    """The name of the message or enum that a field is."""
    kind: Descriptor | EnumDescriptor | None = field.message_type or field.enum_type
    return kind.full_name if kind is not None else ""


def test_everything_is_importable_from_one_place() -> None:
    for file in FILES:
        for name in (*file.message_types_by_name, *file.enum_types_by_name):
            assert hasattr(pb, name)
        for enum in file.enum_types_by_name.values():
            assert all(hasattr(pb, value.name) for value in enum.values)
    assert {Path(file.name).name for file in FILES} | {"pricing.proto"} == {
        path.name for path in PROTO.glob("*.proto")
    }


def test_an_instant_ends_in_time() -> None:
    instants = {
        field.name
        for message in MESSAGES
        for field in fields(message)
        if type_of(field) == "google.protobuf.Timestamp"
    }
    assert instants - {"as_of", "known_at"} == {name for name in instants if name.endswith("_time")}


def test_a_state_of_the_price_table_is_one_message_by_one_name() -> None:
    for message in MESSAGES:
        for field in fields(message):
            if type_of(field) == "llmpricing.v1.TableRevision":
                assert field.name in ("table", "after"), field.full_name
            assert field.name != "epoch" or message.name == "TableRevision", field.full_name
    reflecting = {message.name for message in RESPONSES if "table" in message.fields_by_name}
    assert reflecting == {
        "GetPricingResponse",
        "ListPricingResponse",
        "ListUpcomingChangesResponse",
        "CalculateCostResponse",
        "ComparePricesResponse",
        "ExplainPriceResponse",
        "RevertSyncRunResponse",
        "ResolveHeldChangeResponse",
        "SetPriceOverrideResponse",
        "ClearPriceOverrideResponse",
        "StreamPriceChangesResponse",
    }


def test_reads_share_their_options_and_costs_their_message() -> None:
    by_name = {message.name: message for message in MESSAGES}
    for name in ("GetPricing", "CalculateCost", "ComparePrices", "ExplainPrice", "ListPricing"):
        assert type_of(by_name[f"{name}Request"].fields_by_name["read"]).endswith(".ReadOptions")
    for name in ("CalculateCostResponse", "ReplayReceiptResponse", "ComparedPrice", "CostResult"):
        assert type_of(by_name[name].fields_by_name["cost"]).endswith(".Cost")
    for name in CHANGE_METHODS:
        assert type_of(by_name[f"{name}Request"].fields_by_name["view"]).endswith(".ChangeView")


def test_the_counts_of_a_sync_come_last_where_a_terminal_shows_them() -> None:
    names = [field.name for field in pb.SyncProviderResponse.DESCRIPTOR.fields]
    assert names == ["price_changes", "price_changes_truncated", "dry_run", "run"]
    numbers = [field.number for field in pb.SyncRun.DESCRIPTOR.fields]
    assert numbers == sorted(numbers)
    assert [field.name for field in pb.SyncRun.DESCRIPTOR.fields][-1] == "errors"


def test_names_that_old_consumers_know_stay() -> None:
    request = pb.GetPricingRequest.DESCRIPTOR.fields_by_name
    assert (request["model_id"].number, request["provider"].number) == (1, 2)
    assert {"prompt", "completion", "request", "image"} <= {
        *pb.ModelPricing.DESCRIPTOR.fields_by_name
    }
    assert {"old_input", "old_output", "new_input", "new_output"} <= {
        *pb.PriceChange.DESCRIPTOR.fields_by_name
    }
    assert "model" in pb.ComparePricesRequest.DESCRIPTOR.fields_by_name


def test_nothing_but_the_request_of_a_sync_calls_a_source_a_provider() -> None:
    for message in (pb.SyncRun, pb.ListSyncRunsRequest, pb.SyncProviderResponse):
        assert "provider" not in message.DESCRIPTOR.fields_by_name
    assert "provider" in pb.SyncProviderRequest.DESCRIPTOR.fields_by_name


def examples() -> dict[str, dict[str, object]]:
    """The example in the comment of each reason, by the reason's name."""
    text = (PROTO / "error_reason.proto").read_text()
    found: dict[str, dict[str, object]] = {}
    for comment, name in re.findall(r"((?: +//.*\n)+) +ERROR_REASON_(\w+) = \d+;", text):
        lines = "\n".join(line.strip().removeprefix("//") for line in comment.splitlines())
        if "{" in lines:
            found[name] = json.loads(lines[lines.index("{") :])
    return found


@pytest.mark.parametrize("name", pb.ErrorReason.keys()[1:])
def test_each_reason_shows_what_it_carries(name: str) -> None:
    reason = name.removeprefix("ERROR_REASON_")
    assert examples()[reason]["reason"] == reason


def test_each_reason_is_of_an_error_and_comes_with_one_code() -> None:
    rows = statuses._ROWS.values()
    reasons = [row.reason for row in rows]
    assert len(reasons) == len(set(reasons))
    named = {pb.ErrorReason.Name(reason) for reason in reasons} | {"ERROR_REASON_INTERNAL"}
    assert named == set(pb.ErrorReason.keys()[1:])
