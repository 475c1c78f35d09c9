"""Make serving_pb2.py and its type stub from serving.proto: `python -m tensor_rest.backend.protos.generate [FOLDER]`.

Needs grpcio-tools, which only developers have; the made files are committed, and a test compares them with a fresh run.
"""

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[3]
PROTO = "tensor_rest/backend/protos/serving.proto"


def generate(folder: Path) -> None:
    """Write the modules under `folder`, at the path of their package. Raises CalledProcessError if protoc refuses."""
    protoc = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROJECT}"]
    subprocess.run([*protoc, f"--python_out={folder}", f"--pyi_out={folder}", PROTO], check=True)


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else PROJECT)
