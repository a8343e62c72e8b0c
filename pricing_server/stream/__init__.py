"""The change stream: every change of the price table once, in order, to many subscribers."""
