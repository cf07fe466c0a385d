"""What a network is: its code where it has a source, its compiled form where it was typed at a prompt."""

from __future__ import annotations

import functools
import hashlib

import torch
from torch import nn

from problems.workloads.identity import code_of, update_with_network

TYPED = """
class Net(Base):
    def forward(self, x):
        return self.layer({change})
"""


def digest(network):
    result = hashlib.sha256()
    update_with_network(result, network)
    return result.hexdigest()


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 3)


def typed(change, base=Base):
    names = {"Base": base, "__name__": "__main__"}
    exec(TYPED.format(change=change), names)
    return names["Net"]()


def test_networks_typed_at_a_prompt_differ_by_what_they_compute():
    assert digest(typed("x * 2")) == digest(typed("x * 2"))
    for change in ("x * 3", "x + 2", "x.abs()"):
        assert digest(typed(change)) != digest(typed("x * 2"))


def test_what_a_network_inherits_is_part_of_it():
    class Changed(Base):
        def extra(self):
            return 1

    assert digest(typed("x", Changed)) != digest(typed("x"))


def test_functions_of_any_kind_have_code():
    def power(outputs, targets, exponent):
        return (outputs - targets) ** exponent

    class Called:
        def __call__(self, outputs, targets):
            return outputs - targets

    kinds = [power, functools.partial(power, exponent=2), functools.partial(power, exponent=3), Called(), torch.relu]
    assert len({code_of(kind) for kind in kinds}) == len(kinds) and code_of(None) == ""
