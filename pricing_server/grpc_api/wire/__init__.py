"""Messages of the contract as domain objects, and the other way round; cards: llmpricing.wire."""
