"""The log in words."""

import re
from pathlib import Path

import pytest

from jails import policy
from jails.models import AuditEntry
from panel import words
from panel.templatetags import cellblock

SOURCES = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"action": "session.sign_in", "outcome": "done"}, "signed in"),
        ({"action": "jail.power", "outcome": "done", "operation": "x", "source": "worker"}, "ran"),
        ({"action": "operation.confirm", "outcome": "refused", "operation": "x", "source": "192.0.2.9"}, "confirmed"),
        ({"action": "host.forget", "outcome": "refused"}, "wanted to forget (host)"),
        ({"action": "jail.console", "outcome": "refused"}, "wanted to open a console in"),
        ({"action": "something.new", "outcome": "done"}, "something.new"),
    ],
)
def test_what_somebody_did(fields, said):
    assert words.did(AuditEntry(**fields)) == said


def test_what_somebody_wanted_is_an_action_of_the_policy():
    assert words.TO_DO.keys() <= policy.ACTIONS.keys()


@pytest.mark.parametrize(
    ("action", "said"), [("console.run", "ran a command in"), ("jail.size_change", "jail size change")]
)
def test_an_action_to_choose(action, said):
    assert words.of_action(action) == said


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("is not a size.", "It is not a size."),
        ("has 300 characters.", "It has 300 characters."),
        ("contains “/”.", "It contains “/”."),
        ("must begin with “/”.", "It must begin with “/”."),
        ("Choose another.", "Choose another."),
        ("issues are none.", "issues are none."),
        ("", ""),
    ],
)
def test_what_is_wrong_with_a_field_is_a_sentence(message, said):
    assert cellblock.sentence(message) == said


def test_there_are_words_for_all_that_is_recorded():
    code = "".join(path.read_text() for room in ("jails", "panel") for path in (SOURCES / room).rglob("*.py"))
    recorded = set(re.findall(r'audit\.(?:record|entry)\(\s*"([a-z_]+\.[a-z_]+)"', code))
    assert len(recorded) > 10 and recorded - {"operation.run"} <= words.DID.keys() | {"jail.give"}
