"""What matching is given as data: sellers' prefixes, other names, the catalogue's clauses."""
