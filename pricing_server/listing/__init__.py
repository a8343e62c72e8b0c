"""Prices as lists: all of one state of the price table, filtered, in order, page by page."""
