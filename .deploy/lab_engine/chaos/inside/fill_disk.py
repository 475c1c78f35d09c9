"""Fill the disk of the feedback folder, and print how many bytes were free.

The file has no name, so that its space is freed however this process ends. The process exits after 60 s, or when its
standard input is closed.
"""

import os
import select
import sys
import tempfile

_MAX_BYTES = 4 << 30

folder = os.environ.get("TENSOR_REST_FEEDBACK_DIR") or "."
found = os.statvfs(folder)
free = found.f_bavail * found.f_frsize
if free > _MAX_BYTES:
    sys.exit(f"{folder} has {free >> 30} GiB free, and at most 4 GiB are filled: use a small file system")
with tempfile.TemporaryFile(dir=folder) as file:
    os.posix_fallocate(file.fileno(), 0, max(1, found.f_bfree * found.f_frsize - found.f_frsize))
    sys.stdout.write(f"{free}\n")
    sys.stdout.flush()
    select.select([sys.stdin], [], [], 60)
