"""When sources are synced by themselves, and what is said when that goes wrong."""
