"""Reads of the price table, its history and the log."""
