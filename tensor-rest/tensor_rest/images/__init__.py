"""Images from file bytes to the pixels a model takes."""
