"""Software bills of materials (CycloneDX 1.6, JSON) of the images and the lock files.

A build-time tool: bin/push-docker.sh runs it in an environment of its own, and no other package imports it.
"""
