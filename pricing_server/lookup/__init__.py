"""Answering what a model costs: cache, price table, bundled catalogue."""
