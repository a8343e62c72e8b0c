"""Comparison: which sellers have the same model, and what a usage costs at each."""
