"""What the parts of a process share: clock, bounded waits, breaker, fault points."""
