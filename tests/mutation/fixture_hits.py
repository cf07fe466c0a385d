"""A pytest plugin for mutmut: what a fixture calls counts for every test that uses the fixture.

mutmut runs against a mutant only the tests that called the mutated function. Of a fixture that is set up once for a
module it sees the calls in the first test alone, so that all others would be left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator

import pytest
from mutmut.state import state

_functions: defaultdict[pytest.FixtureDef, set[str]] = defaultdict(set)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef) -> Generator[None, object, object]:
    """Remember the functions that are called while a fixture is set up."""
    called = state()._stats
    before = set(called)
    called.clear()
    try:
        return (yield)
    finally:
        _functions[fixturedef] |= called
        called |= before


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Function) -> None:
    """Count them for this test, before mutmut reads what the test has called."""
    for fixturedefs in item._fixtureinfo.name2fixturedefs.values():
        for fixturedef in fixturedefs:
            state()._stats.update(_functions[fixturedef])
