"""The pages and the files they need."""
