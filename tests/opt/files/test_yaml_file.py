"""Config and study files that nobody should have written: refused in one line, within a moment."""

from __future__ import annotations

import time

import pytest

from opt import UsageError
from opt.files.yaml_file import read_yaml

LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 31))
MERGES = "a0: &a0 {k: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 31))
STRANGE = {
    "more than 20000 values, with its aliases": {"billion laughs": LAUGHS, "billion merges": MERGES},
    "more than 20000 values": {"many values": "a: [" + "1," * 100_000 + "1]"},
    "nested deeper than 30 levels": {
        "flow nested deep": "a: " + "[" * 10_000 + "]" * 10_000,
        "flow left open": "{" * 20_000,
        "dashes": "- " * 20_000,
    },
    "nested deeper than 30 levels in line 31": {"blocks nested deep": "\n".join(" " * i + "a:" for i in range(600))},
    "alias *a in line 1 stands for nothing before it": {"alias of itself": "&a [*a]"},
    "alias *b in line 1 stands for nothing before it": {"no such alias": "a: *b"},
    "the name 'a' stands twice, the second time in line 3": {"a name twice": "a: 1\nb: 2\na: 3"},
    "the name 'c' stands twice": {"a name twice inside": "p: {a: 1, b: {c: 1, c: 2}}"},
    "the name '1' stands twice": {"a number twice": "1: 1\n'1': 2"},
    "a name in line 1 is no text": {"a list as a name": "? [a]\n: 1"},
    "asks for more than a plain value": {
        "an object": "a: !!python/object/apply:os.system [ls]",
        "bytes": "a: !!binary aGFsbG8=",
    },
    "the tag '!x' in line 1": {"a tag of one's own": "a: !x 1"},
    "a value holds a NUL": {"NUL in other words": 'a: ["b\\0c"]', "NUL in a name": '"a\\0": 1'},
    "is not YAML": {
        "NUL": "a: b\0c",
        "an escape": "a: b\x1b[31m",
        "half a character": 'a: "\\ud800"',
        "5,000 digits": "a: " + "9" * 5000,
        "a merge of a number": "<<: 5",
        "a tab": "a:\n\tb: 1",
    },
    "is not YAML: month must be in 1..12": {"a month 13": "a: 2020-13-45"},
    "expected a single document": {"two documents": "a: 1\n---\nb: 2"},
}
"""Files by what the error says of them, each under a name."""
FILES = {name: (text, part) for part, texts in STRANGE.items() for name, text in texts.items()}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("option", ["--config", "--study"])
def test_strange_yaml_is_refused_in_a_line_within_a_second(option, name, solve, sample, tmp_path):
    text, part = FILES[name]
    file = tmp_path / "asked.yaml"
    file.write_text(text, encoding="utf-8")
    began = time.perf_counter()
    answer = solve(*([sample("Bowl")] if option == "--config" else []), option, file)
    assert time.perf_counter() - began < 1.0
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert part in answer.err and str(file) in answer.err
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("option", ["--config", "--study"])
def test_a_huge_file_is_refused_before_it_is_read(option, solve, sample, tmp_path):
    file = tmp_path / "asked.yaml"
    with open(file, "wb") as out:
        out.truncate(100_000_000)
    began = time.perf_counter()
    answer = solve(*([sample("Bowl")] if option == "--config" else []), option, file)
    assert time.perf_counter() - began < 1.0
    assert answer.code == 2 and answer.err == (
        f"error: cannot read {option[2:]} file {file}: longer than 262144 bytes\n"
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing\n", None),
        ("a: 1\nb: [x, 2.5, true, null]\n", {"a": 1, "b": ["x", 2.5, True, None]}),
        ("\ufeffa: é", {"a": "é"}),
        ("on: 1\n5: 2\n~: 3", {"on": 1, "5": 2, "~": 3}),
        ("x: &x {p: 1, r: 3}\ny: {<<: *x, p: 2}", {"x": {"p": 1, "r": 3}, "y": {"p": 2, "r": 3}}),
        # the source of a merge is made later than what is merged from it
        ("x: &x {p: 1}\na: {b: {c: &y {<<: *x, p: 2}}}\nz: {<<: *y}",
         {"x": {"p": 1}, "a": {"b": {"c": {"p": 2}}}, "z": {"p": 2}}),
        ("a: !!str 5", {"a": "5"}),
    ],
)  # fmt: skip
def test_ordinary_yaml_is_what_it_says(text, value, tmp_path):
    file = tmp_path / "asked.yaml"
    file.write_text(text, encoding="utf-8")
    assert read_yaml(file, "config file") == value


def test_without_the_reader_in_c_it_is_the_same(tmp_path, monkeypatch):
    import yaml

    import opt.files.yaml_file

    monkeypatch.setattr(opt.files.yaml_file, "_Loader", yaml.SafeLoader)
    file = tmp_path / "asked.yaml"
    for text, _ in FILES.values():
        file.write_text(text, encoding="utf-8")
        with pytest.raises(UsageError):
            read_yaml(file, "config file")
    file.write_text("a: [1, {b: c}]")
    assert read_yaml(file, "config file") == {"a": [1, {"b": "c"}]}
