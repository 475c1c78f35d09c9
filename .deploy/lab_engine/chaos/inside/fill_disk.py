"""Fill the disk of the feedback folder, and print how many bytes were free.

The file has no name, so that its space is freed however this process ends. The process exits after 60 s, or when its
standard input is closed.
"""

import errno
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
    # The figures do not say how much this user may take: some blocks are for root, some for the file system itself.
    filled, step = 0, found.f_bfree * found.f_frsize
    while step >= found.f_frsize:
        try:
            os.posix_fallocate(file.fileno(), filled, step)
            filled += step
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            step //= 2
    sys.stdout.write(f"{free}\n")
    sys.stdout.flush()
    select.select([sys.stdin], [], [], 60)
