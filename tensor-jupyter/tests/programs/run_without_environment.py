"""`PROGRAM ARGUMENT...`: runs another Python program in an empty environment, and prints what that prints."""

import subprocess
import sys


def main() -> None:
    subprocess.run([sys.executable, *sys.argv[1:]], env={})


if __name__ == "__main__":
    main()
