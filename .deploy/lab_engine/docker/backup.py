"""Backup and restore of a lab's volumes, by GNU tar in a container of the workbench, as the user it runs as."""

import subprocess
from pathlib import Path

from .. import archive
from ..errors import EngineError
from ..settings import Settings
from .deployment import Deployment, notebook_user

# An archive is unpacked beside the present files and replaces them once all of it is there. Its files are made writable
# for the group, and its folders setgid, wherever the archive was made.
_UNPACK = r"""
umask 002
rm -rf /*/.restoring
exec tar -C / -xpf - --no-same-owner --transform='flags=rh;s,^\([^/]*\),\1/.restoring,'
"""
_SWAP = """
set -e
for folder in /models /logs /data /feedback; do
  cd $folder
  [ -d .restoring ] || continue
  chmod -R ug+rwX .restoring
  find .restoring -type d -exec chmod g+s {} +
  replaced=$(mktemp -d .replaced.XXXXXX)  # beside those of a restore that failed here: they may hold what was there
  find . -mindepth 1 -maxdepth 1 ! -name .restoring ! -name '.replaced.*' -exec mv -t $replaced {} +
  find .restoring -mindepth 1 -maxdepth 1 -exec mv -t . {} +
  rm -rf .restoring .replaced.*
done
"""
_CLEAR = "rm -rf /*/.restoring"


def write(path: Path, settings: Settings, deployment: Deployment) -> int:
    """Write a backup of the volumes, and of the host's folders, to a new file. Returns its size in bytes."""
    volumes = [*_run(deployment, "ro"), "tar", "-C", "/", "-cf", "-", "--exclude=models/.staging", *archive.VOLUMES]
    host = archive.folders_command(settings.home, archive.HOST_FOLDERS)
    return archive.write(path, archive.about(settings, "docker"), [volumes, host])


def restore(path: Path, settings: Settings, deployment: Deployment) -> None:
    """Replace the volumes and the host's folders by those of a checked backup. No container of the lab may run."""
    container = _run(deployment, "rw")
    try:
        archive.unpack(path, archive.VOLUMES, [*container, "sh", "-c", _UNPACK])
    except BaseException:
        subprocess.run([*container, "sh", "-c", _CLEAR], check=False)
        raise
    if subprocess.run([*container, "sh", "-c", _SWAP], check=False).returncode:
        raise EngineError(
            "the volumes could not be replaced; the reason is above. Mend it and restore again; until then, what was "
            "there is in the folders .replaced.* of the volumes"
        )
    archive.replace(path, settings.home, archive.HOST_FOLDERS)


def _run(deployment: Deployment, mode: str) -> list[str]:
    user = ["--user", f"{notebook_user()}:100", "--cap-drop", "ALL", "--read-only", "--network", "none"]
    mounts = [f"--volume={deployment.prefix}tensor-{name}:/{name}:{mode}" for name in archive.VOLUMES]
    image = deployment.images["tensor-jupyter"]
    return ["docker", "run", "--rm", "--interactive", *user, *mounts, "--entrypoint=", image]
