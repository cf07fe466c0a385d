"""Networks of eight kinds, each a few lines of the user's, go through every task and prove true."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "docs" / "scripts" / "kinds_table.py"


def script():
    spec = importlib.util.spec_from_file_location("kinds_table", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["kinds_table"] = module
    spec.loader.exec_module(module)
    return module


TABLE = script()
KINDS = TABLE.kinds()
FULLY_CONNECTED = ("mlp", "regression")


@functools.cache
def workload(kind):
    return KINDS[kind]()


def test_a_network_of_ones_own_takes_forty_lines():
    assert len(KINDS) == 8
    module = inspect.getmodule(KINDS["cnn"])
    shared = sum(len(inspect.getsource(f).splitlines()) for f in (module.trained,))
    own = {"residual": module.Residual, "waves": module.Listener, "autoencoder": module.Autoencoder}
    for name, make in KINDS.items():
        lines = len(inspect.getsource(make).splitlines())
        lines += len(inspect.getsource(own[name]).splitlines()) if name in own else 0
        assert lines + 10 <= 40, f"{name} has {lines} lines"  # and its share of the shared ones
    assert shared <= 30


@pytest.mark.parametrize("task", ["threshold", "masks", "filters", "alds"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_searched_is_what_is_saved(kind, task):
    verdict, told = TABLE.tried(task, workload(kind))
    assert verdict == "yes", told


@pytest.mark.parametrize("kind", KINDS)
def test_ecomp_takes_what_is_fully_connected_and_refuses_the_rest(kind):
    verdict, told = TABLE.tried("ecomp", workload(kind))
    assert verdict == ("yes" if kind in FULLY_CONNECTED else "refused")
    assert verdict == "yes" or told.startswith("EComp needs hidden layers")
    assert "\n" not in told
