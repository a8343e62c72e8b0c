"""Messages of the contract as domain objects, and the other way round.

Server and client read rate cards, conditions, quantities and instants here, and nowhere else.
What the contract does not allow is a `WireFault` with the path of its field.
"""
