"""What an LLM costs: rate cards and their rules, and the contract of the price service.

The domain has no input or output and knows nothing of protobuf; the generated
messages and the gRPC stub are in ``llmpricing.v1``, and ``llmpricing.receipts`` is
the bridge between the two.
"""

__version__ = "0.1.0"
