"""What an error becomes on the wire, alone and in a batch."""

from __future__ import annotations

import re

import pytest
from google.rpc import code_pb2, error_details_pb2

from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.domain import errors
from pricing_server.domain.head import Head
from pricing_server.grpc_api.wire.statuses import DOMAIN, result_error, status_of
from tests.unit.test_contract import PROTO, examples

HEAD = Head(40, "an epoch")
ERRORS = [
    errors.InvalidArgument("read.as_of", "is not a time"),
    errors.TokenRequired("ROLE_ADMIN"),
    errors.TokenInvalid("ROLE_ADMIN"),
    errors.RoleMissing("ROLE_ADMIN", "ROLE_CURATOR"),
    errors.ModelNotFound("gpt-4p", "openai", [("openai", "gpt-4o")]),
    errors.ProviderNotFound("opnai", ["openai"]),
    errors.SourceNotFound("opnrouter", ["genai-prices", "openrouter"]),
    errors.SyncRunNotFound("17"),
    errors.HeldChangeNotFound("4"),
    errors.OverrideNotFound("openai", "gpt-4o"),
    errors.ConfirmRequired(("openai", "gpt-4o"), "prompt", "250.00", "2.50"),
    errors.KeyMissing("groq", "PRICING_GROQ_API_KEY"),
    errors.RunNotRevertible("17", "failed"),
    errors.HeldChangeNotOpen("4", "approved"),
    errors.ModelNotPriced("openrouter", "openrouter/auto", "dynamic"),
    errors.RulesUnknown(2, 1),
    errors.EpochChanged(HEAD),
    errors.SyncInProgress("openrouter", 17),
    errors.RevisionCompacted(3, 120, "an epoch"),
    errors.SlowReader(HEAD),
    errors.TooManyStreams(1000),
    errors.BatchTooLarge(),
    errors.DatabaseUnavailable(),
    errors.RevisionNotReached(40, 41),
    errors.ShuttingDown("the server drains", HEAD),
]


def info_of(error: Exception) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo()
    assert status_of(error).details[0].Unpack(info)
    return info


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_status_has_an_error_info_as_its_reason_documents(
    error: errors.PricingError,
) -> None:
    info = info_of(error)
    assert info.domain == DOMAIN
    example = examples()[info.reason]
    assert info.metadata.keys() == example["metadata"].keys()  # type: ignore[attr-defined]
    code = code_pb2.Code.Name(status_of(error).code)  # type: ignore[arg-type]
    comments = (PROTO / "error_reason.proto").read_text()
    assert re.search(rf"_{info.reason} comes with {code}\b", comments), info.reason


def test_every_error_has_been_looked_at() -> None:
    def below(kind: type[Exception]) -> set[type[Exception]]:
        return {kind} | {each for sub in kind.__subclasses__() for each in below(sub)}

    known = {kind for kind in below(errors.PricingError) if kind.__module__ == errors.__name__}
    assert known == {errors.PricingError, *map(type, ERRORS)}


def test_an_invalid_argument_names_its_field_besides() -> None:
    status = status_of(ERRORS[0])
    bad = error_details_pb2.BadRequest()
    assert status.details[1].Unpack(bad)
    assert [(each.field, each.description) for each in bad.field_violations] == [
        ("read.as_of", "is not a time")
    ]
    assert all(len(status_of(error).details) == 1 for error in ERRORS[1:])


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_result_of_a_batch_carries_what_the_status_would(error: errors.PricingError) -> None:
    status, result, info = status_of(error), result_error(error), info_of(error)
    assert (result.code, result.message) == (status.code, status.message)
    assert pb.ErrorReason.Name(result.reason) == f"ERROR_REASON_{info.reason}"
    assert dict(result.metadata) == dict(info.metadata)
    assert result.HasField("field") == isinstance(error, errors.InvalidArgument)


def test_what_is_none_of_ours_is_internal_and_stays_in_the_log() -> None:
    status = status_of(RuntimeError("a secret"))
    assert status.code == code_pb2.INTERNAL
    assert "secret" not in str(status)
    assert info_of(RuntimeError("x")).metadata["reference"]
