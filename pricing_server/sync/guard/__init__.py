"""The guard: which stated prices are suspicious, and what becomes of them."""
