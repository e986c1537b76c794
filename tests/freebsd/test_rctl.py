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
