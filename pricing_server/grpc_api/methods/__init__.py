"""The methods of the contract, one file a subject: check the request, ask, convert the answer."""
