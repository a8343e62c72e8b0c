"""Raw usage: from a provider's own response, or its `usage` object, to meters.

`read_usage` understands one flavour of body at a time and says what it understood:
each count of the usage object becomes part of a meter, or restates others and is in
`ReadUsage.ignored`, or is in `ReadUsage.unknown`. No count is dropped silently.
"""

from llmpricing.raw_usage.flavour import ApiFlavour
from llmpricing.raw_usage.read import read_usage
from llmpricing.raw_usage.result import RawUsageError, ReadUsage, Stated

__all__ = ["ApiFlavour", "RawUsageError", "ReadUsage", "Stated", "read_usage"]
