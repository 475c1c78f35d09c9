"""The local engine: the four services as supervised processes, without Docker and without root."""
