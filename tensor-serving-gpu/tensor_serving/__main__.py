"""`python -m tensor_serving generate|watch|run|seed|serve`."""

import sys

from tensor_serving.cli import main

sys.exit(main(sys.argv[1:]))
