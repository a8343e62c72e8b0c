"""Writes to the price table and the log, in their caller's transaction."""
