"""`python -m tensor_jupyter` is the command `lab`."""

from tensor_jupyter.cli import main

main()
