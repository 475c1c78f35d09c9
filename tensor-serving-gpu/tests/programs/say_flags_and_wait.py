"""`end|ignore FLAG...`: stands in for the real binary: writes its flags to stderr, and ends at TERM or ignores it."""

import signal
import sys


def main() -> None:
    at_term, *flags = sys.argv[1:]
    if at_term == "ignore":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.stderr.write(" ".join(["FLAGS", *flags]) + "\n")
    sys.stderr.flush()
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
