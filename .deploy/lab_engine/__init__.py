"""The engines of tensor-lab: what `bin/compose.sh` does with the four services, in Docker or as local processes.

The package needs only Python's standard library, because it makes the environment that everything else is installed in.
"""
