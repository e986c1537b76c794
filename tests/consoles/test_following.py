"""Logs that are followed, as a browser has them: a real websocket, gunicorn, consoled, and tail(1) of a simulation."""

import json

import pytest

from jails import breakglass
from jails.consoles import following
from jails.freebsd import logs
from jails.models import AuditEntry, ConsoleTicket, Membership
from tests.consoles.house import Shown, until

MESSAGES = "/var/log/messages"


@pytest.fixture
def log(house):
    """Write into a log of the jail."""

    def write(script):
        house.warden.sh(f"jexec www1 sh -c '{script}'")

    write("mkdir -p /var/log; echo before >/var/log/messages")
    yield write
    until(lambda: not house.tails(), "the end of what follows logs in the jail")


def test_lines_as_they_are_written(house, log):
    """Those that are there, then each new one, also of the file that takes its place; nothing is left in the jail."""
    with house.followed("member", MESSAGES) as shown:
        shown.until_line("before")
        assert house.tails()
        log("echo one >>/var/log/messages")
        shown.until_line("one")
        log("mv /var/log/messages /var/log/messages.0; echo two >/var/log/messages")
        shown.until_line("two")
    assert shown.lines() == ["before", "one", "two"]
    until(lambda: not house.tails(), "the end of what follows it")
    assert not AuditEntry.objects.filter(action="inside.read").exists()


def test_only_lines_with_a_text(house, log):
    log('for n in 1 2 3; do echo "get $n"; echo "Post $n"; done >/var/log/messages')
    with house.followed("member", MESSAGES, text="POST") as shown:
        shown.until_line("Post 3")
        log("echo get 4 >>/var/log/messages; echo post 4 >>/var/log/messages")
        shown.until_line("post 4")
    assert shown.lines() == ["Post 1", "Post 2", "Post 3", "post 4"]


def test_it_ends_with_the_membership(house, log):
    with house.followed("member", MESSAGES) as shown:
        Membership.objects.filter(user=house.people["member"]).delete()
        assert shown.ended() == "right"
        until(lambda: not house.tails(), "the end of what follows it")
        log("echo secret >>/var/log/messages")
        shown.rest()
    assert "secret" not in shown.lines()


def test_it_ends_with_the_sign_in_and_with_the_jail(house, log):
    with house.followed("owner", MESSAGES) as shown, house.followed("member", MESSAGES) as other:
        house.client("owner").session.flush()
        assert shown.ended() == "session"
        house.warden.simulation.run("jail", "-r", "www1")
        assert other.ended() in ("jail", "exit")


def test_what_is_no_log_and_a_file_that_is_gone(house, log):
    address = f"/jails/{house.jail.uuid}/logs/ticket"
    for path in ("", "/etc/passwd", "/var/log/../db/x", "/var/log/messages.0.bz2"):
        assert house.client("member").post(address, {"path": path}).status_code == 422
    with house.followed("member", "/var/log/nothing") as shown:
        assert shown.ended() == "failed"
        assert "no file /var/log/nothing" in shown.until_said("words")


def test_a_link_in_the_jail_leads_nowhere_but_into_the_jail(house, log):
    house.warden.sh("mkdir -p /var/log; echo of the host >/var/log/only-here; echo of the host >/etc/only-here")
    log("ln -s /etc/only-here /var/log/a.log; ln -s ../../../../../var/log/only-here /var/log/b.log")
    for path in ("/var/log/a.log", "/var/log/b.log"):
        with house.followed("member", path) as shown:
            assert shown.ended() == "failed"
        assert not shown.lines()


def test_a_ticket_is_for_one_thing_once(house, log):
    client, address = house.client("member"), f"/jails/{house.jail.uuid}/logs/ticket"
    ticket = client.post(address, {"path": MESSAGES}).json()["ticket"]
    console = house.ticket("granted")
    for who, what, token, words in (
        ("granted", "log", console, "for something else"),
        ("member", "console", ticket, "for something else"),
        ("owner", "log", client.post(address, {"path": MESSAGES}).json()["ticket"], "of another sign-in"),
        ("member", "log", ticket, "has been used"),
        ("member", "log", "made-up", "no such ticket"),
    ):
        with house.socket(who, what=what) as made:
            made.send(json.dumps({"ticket": token, "text": "", "columns": 80, "rows": 24}))
            assert words in Shown(made).until_said("refused")
    assert {house.refused("member", what="log", origin=origin) for origin in (None, "http://evil.example")} == {403}
    assert not ConsoleTicket.objects.filter(used_at=None).exists()


def test_staff_who_follow_in_a_tenants_jail_are_in_the_log(house, log):
    with house.followed("administrator", MESSAGES) as shown:
        shown.until_line("before")
    entry = AuditEntry.objects.get(action="inside.read")
    assert (entry.actor, entry.tenant_id, entry.detail) == ("ada", house.acme.pk, MESSAGES)
    assert not breakglass.is_open(house.people["administrator"], house.jail)


def test_so_many_at_once_and_a_consoled_that_is_killed(own_house):
    house = own_house
    house.services.settings |= {"CELLBLOCK_FOLLOWS_PER_USER": "1", "CELLBLOCK_FOLLOW_BYTES": "4000"}
    house.services.start_consoled()
    house.services.start_web()
    house.warden.sh("jexec www1 sh -c 'mkdir -p /var/log; echo before >/var/log/messages'")
    client, address = house.client("member"), f"/jails/{house.jail.uuid}/logs/ticket"
    with house.followed("member", MESSAGES) as shown, house.socket("member", what="log") as second:
        second.send(json.dumps({"ticket": client.post(address, {"path": MESSAGES}).json()["ticket"], "text": ""}))
        assert "You follow 1 logs already" in Shown(second).until_said("refused")
        shown.until_line("before")
        house.warden.sh(
            "jexec www1 sh -c 'for n in 1 2 3 4 5 6 7 8 9; do printf \"%0500d\\n\" $n; done >>/var/log/messages'"
        )
        assert shown.ended() == "time"
    until(lambda: not house.tails(), "the end of what follows it")
    with house.followed("owner", "/var/log/nothing/messages") as shown:
        assert shown.ended() == "failed"
    house.warden.sh("jexec www1 sh -c 'echo short >/var/log/messages'")
    with house.followed("owner", MESSAGES) as shown:
        shown.until_line("short")
        house.services.consoled.kill()
        shown.rest()
    until(lambda: not house.tails(), "the end of what follows it")


# Lines


def taken(*parts):
    lines = following.Lines()
    for part in parts:
        lines.take(part)
    return said(lines.messages(100.0))


def said(messages):
    return [json.loads(message[5:]) for message in messages]


def test_lines_are_whole_short_and_of_text():
    assert taken(b"one\ntw", b"o\r\n\xe2\x82", b"\xac\x1b[31mred\x1b[0m\x07\nnot yet") == [
        {"lines": ["one", "two", "€red\\x07"], "left_out": 0}
    ]
    (long,) = taken(b"x" * 5000, b"y" * 5000, b"\nnext\n")
    assert long["lines"] == ["x" * logs.WIDTH + "…", "next"]


def test_no_message_is_longer_than_a_frame():
    lines = ['\\"\u2603' * 300] * 200
    messages = taken("".join(f"{line}\n" for line in lines).encode())
    assert len(messages) > 1 and sum(len(one["lines"]) for one in messages) == 200


def test_so_many_lines_a_second_and_the_newest_of_them():
    lines = following.Lines()
    lines.take(b"".join(b"%d\n" % number for number in range(5000)))
    (first,) = said(lines.messages(10.0))
    assert first["left_out"] == 5000 - following.AT_ONCE and first["lines"][-1] == "4999"
    lines.take(b"a\nb\n")
    assert lines.messages(10.0) == []
    lines.take(b"c\n")
    (later,) = said(lines.messages(11.0))
    assert later == {"lines": ["c"], "left_out": 2}
