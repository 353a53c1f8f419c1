"""The package as users get it: built, and installed where the repository is not."""

import os
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest

from tests.processes import on_one_core

ROOT = Path(__file__).parents[2]


class Installed:
    """An environment with the wheel, and beside it what it depends on.

    Args:
        folder: Where to make it.
        wheel: What to install.
    """

    def __init__(self, folder, wheel):
        self.folder = folder
        self._run(sys.executable, "-m", "venv", "--without-pip", folder)
        self.programs = folder / ("Scripts" if os.name == "nt" else "bin")
        pip = [sys.executable, "-m", "pip", "--python", self.programs / "python"]
        self._run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel)
        names = {"base": str(folder), "platbase": str(folder)}
        packages = Path(sysconfig.get_path("purelib", vars=names))
        # What .pth files in there name, as the repository, is not added.
        (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))

    def run(self, *command, cwd, home, **variables):
        """Run a program of the environment, where nothing is set but a home."""
        program, *arguments = command
        with on_one_core():
            return subprocess.run(
                [self.programs / program, *arguments],
                cwd=cwd,
                env={"PATH": os.defpath, "HOME": str(home), "DO_NOT_TRACK": "1", **variables},
                capture_output=True,
                text=True,
                timeout=300,
            )

    @staticmethod
    def _run(*command):
        subprocess.run([str(word) for word in command], check=True, capture_output=True)


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    """The source distribution."""
    folder = tmp_path_factory.mktemp("sdist")
    _build(ROOT, "sdist", folder)
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="session")
def sdist(archive, tmp_path_factory):
    """The source distribution, unpacked."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    (root,) = folder.iterdir()
    return root


@pytest.fixture(scope="session")
def wheel(sdist, tmp_path_factory):
    """The wheel, built from the source distribution."""
    folder = tmp_path_factory.mktemp("wheel")
    _build(sdist, "wheel", folder)
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    return Installed(tmp_path_factory.mktemp("installed"), wheel)


def _build(root, target, folder):
    command = [sys.executable, "-m", "hatchling", "build", "--target", target]
    done = subprocess.run(
        [*command, "--directory", str(folder)], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
