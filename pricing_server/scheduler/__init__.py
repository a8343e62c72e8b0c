"""When sources are synced automatically, and the alerts when that fails."""
