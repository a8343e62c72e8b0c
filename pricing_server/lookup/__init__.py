"""Answering what a model costs: cache, price table, and the layers behind it."""
