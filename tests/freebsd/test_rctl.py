import json

import pytest

from jails.freebsd import rctl

from .samples import FOLDER, outputs


def test_what_freebsd_printed():
    session = json.loads((FOLDER.parent / "limits.session.json").read_text())
    texts = {one["stdout"] for one in session["commands"] if one["argv"] == ["rctl"] and one["rc"] == 0}
    found = [rctl.parse(text.encode()) for text in texts]
    assert () in found
    rules = max(found, key=len)
    assert {str(rule) for rule in rules} >= {"jail:www1:pcpu:deny=50", "jail:www1:memoryuse:deny=268435456"}
    for text in texts:
        assert "".join(f"{rule}\n" for rule in rctl.parse(text.encode())) == text


def test_of_a_jail_with_a_limit_per_user():
    (rule,) = rctl.parse(b"jail:a:b c:maxproc:sigterm=10/user\n")
    assert (rule.who, rule.resource, rule.action, rule.amount, rule.per) == ("a:b c", "maxproc", "sigterm", 10, "user")


@pytest.mark.parametrize("line", ["", "jail:www1", "jail:www1:maxproc:deny", "host:x:maxproc:deny=1", "jail:w:a:b=1"])
def test_anything_else_is_refused(line):
    with pytest.raises(ValueError, match="rctl"):
        rctl.parse(f"{line}\nx".encode())


def test_commands_are_of_one_rule():
    rule = rctl.Rule("jail", "www1", "memoryuse", "deny", 268435456)
    assert rctl.remove(rule) == ("rctl", "-r", "jail:www1:memoryuse:deny=268435456")
    assert rctl.add(rule) == ("rctl", "-a", "jail:www1:memoryuse:deny=268435456")


@pytest.mark.parametrize("who", ["", "a:b", "a b", "a=1", "a,b", "a\nb"])
def test_a_name_that_rctl_would_read_otherwise_is_refused(who):
    with pytest.raises(ValueError, match="who"):
        rctl.remove(rctl.Rule("jail", who, "maxproc", "deny", 1))


def test_a_rule_that_is_none_is_refused():
    with pytest.raises(ValueError, match="rctl"):
        rctl.remove(rctl.Rule("jail", "www1", "-r", "deny", 1))
    assert outputs("00-system.json", "rctl") == [b""]


# Limits of a jail

LIMITS = {"memory": 256 << 20, "cpu": 50, "processes": 100}


def test_limits_are_rules_that_deny():
    recorded = next(
        one["stdout"]
        for one in json.loads((FOLDER.parent / "limits.session.json").read_text())["commands"]
        if one["argv"] == ["rctl"] and one["stdout"]
    )
    rules = rctl.parse(recorded.encode())
    assert set(rules) == set(rctl.rules("www1", LIMITS))
    assert rctl.in_force(rules, "www1") == LIMITS and rctl.in_force(rules, "www") == {}


def test_only_rules_that_deny_the_jail_as_a_whole_are_limits():
    text = b"jail:w:maxproc:deny=5/user\njail:w:memoryuse:log=6\nuser:w:pcpu:deny=7\njail:w:nthr:deny=8\n"
    assert rctl.in_force(rctl.parse(text), "w") == {}


def test_commands_for_limits():
    assert rctl.set_limits("www1", {"cpu": 50, "memory": None}) == ("rctl", "-a", "jail:www1:pcpu:deny=50")
    assert rctl.clear_limits("www1", ["cpu", "memory"]) == (
        "rctl", "-r", "jail:www1:pcpu:deny", "jail:www1:memoryuse:deny",
    )  # fmt: skip
    with pytest.raises(ValueError, match="limits"):
        rctl.set_limits("www1", {"cpu": None})


def test_what_is_written_is_read_again():
    before, after = rctl.prestart("www1", LIMITS), rctl.poststop("www1", LIMITS)
    assert before == (
        "rctl -a jail:www1:memoryuse:deny=268435456 jail:www1:pcpu:deny=50 jail:www1:maxproc:deny=100 || true"
    )
    assert after == "rctl -r jail:www1:memoryuse:deny jail:www1:pcpu:deny jail:www1:maxproc:deny || true"
    assert rctl.limits_of_prestart("www1", before) == LIMITS and rctl.is_poststop("www1", after)


@pytest.mark.parametrize(
    ("command", "limits"),
    [
        ("/usr/bin/rctl -a jail:w:memoryuse:deny=1g/jail", {"memory": 1 << 30}),
        ("rctl  -a jail:w:maxproc:deny=50", {"processes": 50}),
        ("rctl -a jail:other:maxproc:deny=50", None),
        ("rctl -a jail:w:maxproc:deny=50 jail:w:nthr:deny=5", None),
        ("rctl -a jail:w:maxproc:deny=50 jail:w:maxproc:deny=60", None),
        ("rctl -a jail:w:maxproc:log=50", None),
        ("rctl -a jail:w:maxproc:deny=50; reboot", None),
        ("rctl -a jail:w:maxproc:deny=50 || reboot", None),
        ("rctl -a jail:w:pcpu:deny=9999999", None),
        ("rctl -a", None),
        ("", None),
    ],
)
def test_what_a_person_wrote(command, limits):
    assert rctl.limits_of_prestart("w", command) == limits


@pytest.mark.parametrize("command", ["rctl -r jail:w", "rctl -r", "rctl -r jail:o:pcpu:deny", "rm -r jail:w:pcpu:deny"])
def test_what_takes_more_away_is_somebody_elses(command):
    assert not rctl.is_poststop("w", command)
