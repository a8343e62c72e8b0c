"""Messages of the contract from domain objects, and back."""
