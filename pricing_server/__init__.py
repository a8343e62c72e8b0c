"""A gRPC service that answers what language models cost."""
