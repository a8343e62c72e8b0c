"""From whatever name a caller has to a model: the service's data, and the matcher."""
