"""`STEP,STEP...`: runs these steps as `lab pipeline run` does, and prints the outcome of each as JSON."""

import json
import sys

from tensor_jupyter.pipeline import runner
from tensor_jupyter.pipeline.parameters import Parameters
from tensor_jupyter.settings import Settings


def main() -> None:
    plan = runner.Plan(tuple(sys.argv[1].split(",")))
    results = runner.Run(plan, Parameters.read(), Settings.read(), lambda *_: None).start()
    json.dump({name: result.state for name, result in results.items()}, sys.stdout)


if __name__ == "__main__":
    main()
