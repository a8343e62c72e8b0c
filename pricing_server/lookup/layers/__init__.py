"""What answers where the price table has no price, or cannot be asked."""
