"""What a usage costs: at the price that answers, and at every seller of the same model."""
