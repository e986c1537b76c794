"""The table of docs/asvs.md: whole, and each test that it names is there."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
TEXT = (TOP / "docs" / "asvs.md").read_text()
ROWS = re.findall(r"^\| ([0-9]+\.[0-9]+\.[0-9]+) \| ([12]) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", TEXT, re.MULTILINE)
TESTS = sorted(set(re.findall(r"`(tests/[^`]+\.py)::(test_[a-z0-9_]+)`", TEXT)))
WANTED = {
    1: "1.1-2 2.1-9 3.1-11 4.1-3 5.1-2",
    2: "1.1-3 2.1-3 3.1-4 4.1-1",
    3: "2.1-2 3.1-4 4.1-6 5.1-5 7.1-2",
    4: "1.1-3 2.1-1 3.1-2 4.1-4",
    5: "1.1-1 2.1-3 3.1-2 4.1-3",
    6: "1.1-3 2.1-12 3.1-4 4.1-4 5.1-5 6.1-3 8.1-4",
    7: "1.1-3 2.1-4 3.1-2 4.1-5 5.1-2 6.1-2",
    8: "1.1-2 2.1-3 3.1-1 4.1-1",
    9: "1.1-3 2.1-4",
    10: "1.1-2 2.1-2 3.1-4 4.1-11 5.1-5 6.1-2 7.1-3",
    11: "1.1-2 2.1-3 3.1-3 4.1-4 5.1-1 6.1-1",
    12: "1.1-3 2.1-2 3.1-4",
    13: "1.1-1 2.1-5 3.1-2 4.1-5",
    14: "1.1-2 2.1-4 3.1-3",
    15: "1.1-3 2.1-3 3.1-7",
    16: "1.1-1 2.1-5 3.1-4 4.1-3 5.1-3",
    17: "1.1-1 2.1-4 3.1-2",
}
"""Chapter → its sections with the requirements of levels 1 and 2; those of level 3 come last in each."""


def test_every_requirement_of_levels_1_and_2_has_one_line() -> None:
    wanted = []
    for chapter, sections in WANTED.items():
        for section, first, last in re.findall(r"([0-9]+)\.([0-9]+)-([0-9]+)", sections):
            wanted += [f"{chapter}.{section}.{number}" for number in range(int(first), int(last) + 1)]
    assert [row[0] for row in ROWS] == wanted
    assert Counter(row[1] for row in ROWS) == {"1": 70, "2": 183}


def test_each_line_has_a_verdict_and_a_test_or_a_reason() -> None:
    verdicts = Counter(row[3] for row in ROWS)
    assert set(verdicts) <= {"met", "in part", "not met", "does not apply"}
    assert all(len(row[4]) > 3 for row in ROWS)
    summary = re.search(
        r"^([0-9]+) are met, ([0-9]+) in part, ([0-9]+) not met, ([0-9]+) do not apply", TEXT, re.MULTILINE
    )
    assert summary is not None
    counted = [verdicts[name] for name in ("met", "in part", "not met", "does not apply")]
    assert [int(number) for number in summary.groups()] == counted


@cache
def named_in(path: str) -> set[str]:
    return set(re.findall(r"^ *def (test_[a-z0-9_]+)\(", (TOP / path).read_text(), re.MULTILINE))


@pytest.mark.parametrize(("path", "name"), TESTS)
def test_a_test_that_is_named_is_there(path: str, name: str) -> None:
    assert name in named_in(path)


def test_tests_are_named() -> None:
    assert len(TESTS) > 100
