"""What the price table has behind its prices: log, audit trail, held changes, evidence."""
