"""The programs of a server taken out of its image, where they run on whatever this machine is."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

# What a server consists of, with the libraries and the loader that it was built for; links are followed.
_PACK = """
set -e
cd /
server=$(command -v mariadbd || command -v mysqld)
libraries=$(ldd "$server" | grep -o '/[^ ]*')
found=
for path in "$server" usr/bin/mariadb-install-db usr/bin/my_print_defaults usr/bin/resolveip \
    usr/share/mysql usr/share/mariadb $libraries; do
  [ ! -e "$path" ] || found="$found ${path#/}"
done
exec tar -chf - $found
"""
_RUN = """#!/bin/sh
exec {loader} --library-path {libraries} {program} "$@"
"""


def programs_of(image: str, directory: Path) -> Path:
    """Unpack the server of `image` into `directory`, for everyone to run; where its server is."""
    pack = [
        "docker",
        "run",
        "--rm",
        "--network=none",
        "--log-driver=none",
        "--entrypoint=sh",
        image,
        "-c",
        _PACK,
    ]
    with subprocess.Popen(pack, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            archive.extractall(directory / "image", filter="data")
    assert process.returncode == 0
    return _runnable(directory)


def _runnable(directory: Path) -> Path:
    """Each program behind a script that starts it with its own loader and libraries."""
    image, libraries = directory / "image", directory / "libraries"
    libraries.mkdir()
    for path in [*image.rglob("*.so"), *image.rglob("*.so.*")]:
        if path.is_file() and "plugin" not in path.parts:
            path.rename(libraries / path.name)
    loader = next(libraries.glob("ld-linux*"))
    for place in ("sbin", "bin"):
        (directory / place).mkdir()
        for program in (image / "usr" / place).glob("*"):
            there = directory / place / program.name
            if program.read_bytes()[:2] == b"#!":
                program.rename(there)
            else:
                there.write_text(_RUN.format(loader=loader, libraries=libraries, program=program))
            there.chmod(0o755)
    (image / "usr" / "share").rename(directory / "share")
    for path in [directory, *directory.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
    return directory / "sbin"
