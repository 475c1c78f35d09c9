"""The Docker engine: the four services as containers, from images of a private registry, wired by Compose."""
