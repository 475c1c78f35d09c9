"""The local engine of tensor-lab: the four services as supervised processes, without Docker and without root.

It runs on the standard library alone, because it is what makes the environment that everything else is installed in.
"""
