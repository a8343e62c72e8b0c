"""Syncing a source: read its listing, plan the changes, apply them in one transaction."""
