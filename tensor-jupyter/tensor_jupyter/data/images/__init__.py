"""Images from file bytes to the pixels a model takes, as the gateway does it."""
