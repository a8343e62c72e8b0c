"""The methods of the contract, by subject: check the request, ask, answer."""
