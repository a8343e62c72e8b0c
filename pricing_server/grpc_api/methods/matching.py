"""ExplainMatch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from llmpricing.matching import Match, Name, NoMatch, Outcome
from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.grpc_api.wire.prices import MATCH_RULES
from pricing_server.grpc_api.wire.requests import check_name, optional_name
from pricing_server.lookup.lookup import Lookup

MAX_CANDIDATES: Final = 20

_OUTCOMES: Final = {one: pb.MatchOutcome.Value(f"MATCH_OUTCOME_{one.name}") for one in Outcome}


async def explain_match(lookup: Lookup, request: pb.ExplainMatchRequest) -> pb.ExplainMatchResponse:
    """Answer ExplainMatch."""
    name = check_name("name", request.name)
    explained = await lookup.explain_match(name, optional_name(request, "provider"))
    response = pb.ExplainMatchResponse(
        tried=[
            pb.TriedRule(
                rule=MATCH_RULES[each.rule],
                outcome=_OUTCOMES[each.outcome],
                candidates=_candidates(each.found[:MAX_CANDIDATES]),
            )
            for each in explained.tried
        ]
    )
    match explained.result:
        case Match(provider=seller, model_id=model_id, rule=rule):
            found = pb.Match(provider=seller, model_id=model_id, rule=MATCH_RULES[rule])
            response.match.CopyFrom(found)
        case NoMatch(suggestions=suggestions):
            response.suggestions.extend(_candidates(suggestions))
    return response


def _candidates(names: Iterable[Name]) -> list[pb.MatchCandidate]:
    return [pb.MatchCandidate(provider=at, model_id=model_id) for at, model_id in names]
