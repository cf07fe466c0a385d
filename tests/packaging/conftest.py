"""A wheel built from what git has, by way of an sdist, and an environment of its own in which it is installed."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest
from checkout_files import ROOT, tracked

BUILD = "import sys, setuptools.build_meta as backend; print(getattr(backend, sys.argv[1])(sys.argv[2]))"


def build(what: str, source: Path, out: Path) -> Path:
    """An sdist or a wheel of a source tree, by the backend that pyproject.toml names."""
    command = [sys.executable, "-c", BUILD, f"build_{what}", str(out)]
    answer = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert "SetuptoolsDeprecationWarning" not in answer.stderr and "absent from the `packages`" not in answer.stderr
    return out / answer.stdout.splitlines()[-1]


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist of the checkout, built from a copy of it."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout: nothing says which files belong to it")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("sdist")
    for name in tracked():
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    return build("sdist", source, out)


@pytest.fixture(scope="session")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that the sdist gives."""
    source = tmp_path_factory.mktemp("unpacked")
    subprocess.run(["tar", "-xf", sdist, "-C", source, "--strip-components", "1"], check=True)
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


@dataclass(frozen=True)
class Environment:
    """A Python that has the wheel, and this one's packages but for the project."""

    folder: Path
    cache: Path

    def run(self, *command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
        """The answer of one of its programs, such as `opt-solve`."""
        hidden = ("PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH", "VIRTUAL_ENV")
        env = {name: value for name, value in os.environ.items() if name not in hidden}
        env |= {"OPT_CACHE_DIR": str(self.cache), "OMP_NUM_THREADS": "1"}
        words = [str(self.folder / "bin" / str(command[0])), *map(str, command[1:])]
        return subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)

    def succeed(self, *command: object, cwd: Path) -> str:
        """What one of its programs prints, which ends well."""
        answer = self.run(*command, cwd=cwd)
        assert answer.returncode == 0, answer.stderr[-3000:]
        return answer.stdout


@pytest.fixture(scope="session")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """A fresh environment with the wheel; the dependencies are this environment's own, so that none is downloaded."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    purelib = folder / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    # a folder on the path is not searched for .pth files, so an editable install of the project stays unseen
    others = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    (purelib / "dependencies.pth").write_text("".join(f"{path}\n" for path in others))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(folder / "bin" / "python")]
    subprocess.run([*pip, "install", "-q", "--no-deps", "--no-index", "--force-reinstall", str(wheel)], check=True)
    return Environment(folder, tmp_path_factory.mktemp("cache"))
