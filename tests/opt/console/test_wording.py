"""Words that several messages share."""

from __future__ import annotations

import pytest

from opt.console.wording import some


@pytest.mark.parametrize(
    ("n", "more", "shown"),
    [
        (0, {}, ""),
        (3, {}, "a, b, c"),
        (5, {}, "a, b, c and 2 more"),
        (5, {"at_most": 4, "separator": "; "}, "a; b; c; d and 1 more"),
    ],
)
def test_what_is_not_shown_is_counted(n, more, shown):
    assert some(list("abcdefg")[:n], **more) == shown
