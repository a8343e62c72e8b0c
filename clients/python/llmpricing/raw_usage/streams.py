"""The one body of a stream or an envelope that states the usage of the whole request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from llmpricing.raw_usage.flavour import ApiFlavour
from llmpricing.raw_usage.reading import list_at, mapping_at
from llmpricing.raw_usage.result import RawUsageError

Body = Mapping[object, object]

USAGES: Final = (
    "usage",
    "usageMetadata",
    "usage_metadata",
    "usage_info",
    "amazon-bedrock-invocationMetrics",
)
"""Keys of a body under which a usage object may be."""

_NOT_FINAL: Final = "the stream ends before its usage is final"


def final_body(document: Body | Sequence[object], flavour: ApiFlavour) -> tuple[Body, bool]:
    """What to read, and whether it is a result of a batch.

    A list is the events of one stream, in order. Raises RawUsageError if it has no final
    usage or belongs to several requests.
    """
    if isinstance(document, Mapping):
        return _unwrapped(document)
    events: list[Body] = []
    for event in document:
        if not isinstance(event, Mapping):
            raise RawUsageError("not a stream: an event is no object")
        events.append(event)
    if any(event.get("type") == "message_start" for event in events):
        return _of_messages(events), False
    bodies = [_unwrapped(event)[0] for event in events if not _is_early(event)]
    stating = [body for body in bodies if any(mapping_at(body, key) for key in USAGES)]
    if not stating:
        raise RawUsageError(f"no usage in the body: {_NOT_FINAL}")
    if len(stating) > 1 and not _of_one_response(stating, flavour):
        raise RawUsageError("a list of several responses: each is read by itself")
    return _grounded(stating[-1], bodies) if flavour is ApiFlavour.GEMINI else stating[-1], False


def _of_one_response(bodies: Sequence[Body], flavour: ApiFlavour) -> bool:
    """Whether chunks that each state the counts so far belong to one response."""
    ids: set[str | None] = set()
    for body in bodies:
        found = [body.get(key) for key in ("id", "responseId", "response_id")]
        ids.add(next((one for one in found if isinstance(one, str)), None))
    # Older chunks of Gemini have no id; those of other APIs have one id, or one usage.
    return len(ids) == 1 and (None not in ids or flavour is ApiFlavour.GEMINI)


def _unwrapped(body: Body) -> tuple[Body, bool]:
    """The response in an event or in a line of a batch's results."""
    if body.get("type") == "message_start":
        raise RawUsageError(f"no usage in the body: {_NOT_FINAL}")
    if _is_event(body):
        return mapping_at(body, "response"), False
    for key in ("custom_id", "key", "request"):
        if key in body:
            for path in (("response", "body"), ("result", "message"), ("response",)):
                found = mapping_at(body, *path)
                if found:
                    return found, True
    for path in (("metadata",), ("delta",), ("response",)):  # Bedrock, Cohere 2 and 1
        found = mapping_at(body, *path)
        if not mapping_at(body, "usage") and (
            mapping_at(found, "usage") or mapping_at(found, "meta")
        ):
            return found, False
    return body, False


def _is_event(body: Body) -> bool:
    kind = body.get("type")
    return isinstance(kind, str) and kind.startswith("response.") and "response" in body


def _is_early(event: Body) -> bool:
    """Whether an event of a response is not its last; what it states is not final."""
    return _is_event(event) and event.get("type") in ("response.created", "response.in_progress")


def _of_messages(events: Sequence[Body]) -> Body:
    """The message of this stream: counts of later events replace earlier ones."""
    starts = [event for event in events if event.get("type") == "message_start"]
    deltas = [event for event in events if event.get("type") == "message_delta"]
    if len(starts) > 1:
        raise RawUsageError("a list of several responses: each is read by itself")
    if not any(mapping_at(delta, "usage") for delta in deltas):
        raise RawUsageError(f"no usage in the body: {_NOT_FINAL}")
    message = mapping_at(starts[0], "message")
    usage = dict(mapping_at(message, "usage"))
    for delta in deltas:
        usage |= {
            key: value for key, value in mapping_at(delta, "usage").items() if value is not None
        }
    return {**message, "usage": usage}


def _grounded(last: Body, bodies: Sequence[Body]) -> Body:
    """The last chunk, with the candidates of the chunk that states searches."""
    for body in reversed(bodies):
        for candidate in list_at(body, "candidates"):
            if isinstance(candidate, Mapping) and (
                "groundingMetadata" in candidate or "grounding_metadata" in candidate
            ):
                return {**last, "candidates": list_at(body, "candidates")}
    return last
