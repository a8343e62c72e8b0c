"""The contract ``llmpricing.v1``: generated messages and gRPC stub.

Everything else here is written by ``scripts/generate_stubs.sh``.
"""
