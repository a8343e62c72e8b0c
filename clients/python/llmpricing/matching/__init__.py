"""Matching: from whatever name a caller has to (seller, model id), by named rules.

`ModelIndex` knows all listed models; what is known of sellers, other names and a catalogue's
clauses is given to it as data. A near miss matches nothing: it becomes a suggestion.
"""

from llmpricing.matching.alias import Aliases, SameModel
from llmpricing.matching.clause_index import ClauseIndex
from llmpricing.matching.index import MAX_NAME_LENGTH, ModelIndex
from llmpricing.matching.listed import ListedModels
from llmpricing.matching.outcome import (
    Explanation,
    Match,
    MatchRule,
    Name,
    NoMatch,
    Outcome,
    Standing,
    Tried,
)
from llmpricing.matching.prefix import Prefixes

__all__ = [
    "MAX_NAME_LENGTH",
    "Aliases",
    "ClauseIndex",
    "Explanation",
    "ListedModels",
    "Match",
    "MatchRule",
    "ModelIndex",
    "Name",
    "NoMatch",
    "Outcome",
    "Prefixes",
    "SameModel",
    "Standing",
    "Tried",
]
