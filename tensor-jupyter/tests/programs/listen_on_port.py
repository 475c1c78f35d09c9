"""`PORT ...`: listens there for a minute, at a free port for 0, and prints the port; more arguments mean nothing."""

import socket
import sys
import time


def main() -> None:
    with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
        sys.stdout.write(f"{server.getsockname()[1]}\n")
        sys.stdout.flush()
        time.sleep(60)


if __name__ == "__main__":
    main()
