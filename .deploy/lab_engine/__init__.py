"""The engines of tensor-lab: what `bin/compose.sh` does with the four services, in Docker or as local processes.

It runs on Python's standard library alone, because it makes the environment that everything else is installed in.
"""
