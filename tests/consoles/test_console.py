"""Consoles as a browser has them: a real websocket, gunicorn, consoled, and a terminal of a simulated jail."""

import json
import time
from datetime import timedelta

import pytest
from django.utils import timezone

from jails import breakglass
from jails.consoles import cast, client, tickets
from jails.consoles.records import path_of as settings_path
from jails.models import AuditEntry, Console, ConsoleTicket, Membership, User
from tests.consoles.house import ORIGIN, PROMPT, Shown, until


def test_a_shell_in_the_jail_and_its_recording(house):
    with house.console("granted") as shown:
        shown.type("echo hello; hostname; tty\n")
        shown.until("/dev/pts/0\r\n")
        shown.type("exit 3\n")
        assert shown.ended() == "exit"
        shown.rest()
    assert "hello\r\nwww1.example.org\r\n" in shown.output.decode()
    console = house.ended()
    header, *events = house.recording(console)
    assert header["version"] == 2 and header["cellblock"]["person"] == "greta"
    assert "".join(text for _, kind, text in events if kind == "o") == shown.output.decode()
    assert (console.status, console.ended, console.login) == (3, "exit", "root")
    opened = AuditEntry.objects.get(action="console.open")
    assert (opened.actor, opened.object_name, opened.tenant) == ("greta", "www1", "acme")
    closed = AuditEntry.objects.get(action="console.close")
    assert closed.after["recording_sha256"] == console.digest != ""
    assert closed.after["status"] == 3


def test_a_ticket_opens_one_console(house):
    ticket = house.ticket("granted")
    with house.socket("granted") as first:
        first.send(json.dumps({"ticket": ticket, "columns": 80, "rows": 24}))
        Shown(first).until(PROMPT)
        with house.socket("granted") as second:
            second.send(json.dumps({"ticket": ticket, "columns": 80, "rows": 24}))
            assert "has been used" in Shown(second).until_said("refused")
    refusal = AuditEntry.objects.get(action="console.open", outcome="refused")
    assert (refusal.actor, refusal.object_name) == ("greta", "www1")


def test_tickets_that_open_nothing(house):
    stolen = house.ticket("granted")
    late = house.ticket("granted")
    ConsoleTicket.objects.filter(pk=ConsoleTicket.objects.latest("pk").pk).update(expires_at=timezone.now())
    for who, ticket, words in (
        ("owner", stolen, "of another sign-in"),
        ("granted", late, "has expired"),
        ("granted", "made-up", "no such ticket"),
    ):
        with house.socket(who) as made:
            made.send(json.dumps({"ticket": ticket, "columns": 80, "rows": 24}))
            assert words in Shown(made).until_said("refused")
    # The thief has used it up: the one it was for has to ask again.
    with house.socket("granted") as made:
        made.send(json.dumps({"ticket": stolen, "columns": 80, "rows": 24}))
        assert "has been used" in Shown(made).until_said("refused")
    assert not Console.objects.exists()


def test_who_gets_no_further_than_the_handshake(house):
    assert house.refused("granted") == 101
    assert house.refused("granted", origin="http://evil.example") == 403
    assert house.refused("granted", origin="http://127.0.0.1:8001") == 403
    assert house.refused("granted", origin=None) == 403
    assert house.refused("granted", cookie="") == 403
    assert house.refused("granted", cookie="session=madeup") == 403


def test_consoled_asks_again_what_the_web_process_should_have(house):
    """Whoever has taken over the web process: its word for the origin and the session is not enough."""
    for request, words in (
        ({"origin": "http://evil.example"}, "from elsewhere"),
        ({"session": house.client("owner").session.session_key}, "of another sign-in"),
        ({"session": ""}, "of another sign-in"),
    ):
        wanted = {
            "ticket": house.ticket("granted"),
            "session": house.client("granted").session.session_key,
            "origin": ORIGIN,
            "source": "192.0.2.9",
            "text": "id",
        }
        with pytest.raises(tickets.Refused, match=words):
            client.run({**wanted, **request})
    assert not Console.objects.exists()


@pytest.mark.parametrize("who", ["member", "stranger", "auditor", "administrator"])
def test_who_gets_no_ticket(house, who):
    answer = house.client(who).post(f"/jails/{house.jail.uuid}/console/ticket", {"login": "root"})
    assert answer.status_code == (404 if who in ("member", "stranger") else 403)


def test_another_tenants_jail_by_a_forged_row(house):
    """A ticket row that the database was made to hold: the policy is asked of the jail it names."""
    shop = house.warden.make("shop", tenant=house.globex)
    session = house.client("granted").session.session_key
    token = tickets.issue(house.people["granted"], session, shop, login="root", origin=ORIGIN)
    with house.socket("granted") as made:
        made.send(json.dumps({"ticket": token, "columns": 80, "rows": 24}))
        assert "may not open a console" in Shown(made).until_said("refused")


def test_it_ends_with_the_right(house):
    with house.console("granted") as shown:
        shown.type("sleep 300\n")
        Membership.objects.filter(user=house.people["granted"]).update(rights=["power"])
        assert shown.ended() == "right"
    until(lambda: not house.inside(), "the end of what ran inside")
    assert house.ended().ended == "right"


def test_it_ends_with_the_sign_in(house):
    with house.console("granted") as shown:
        house.client("granted").logout()
        assert shown.ended() == "session"


def test_it_ends_with_the_membership_and_with_the_account(house):
    with house.console("granted") as one, house.console("owner") as two:
        Membership.objects.filter(user=house.people["granted"]).delete()
        User.objects.filter(pk=house.people["owner"].pk).update(is_active=False)
        assert one.ended() == "right"
        assert two.ended() == "session"


def test_it_ends_with_the_jail(house):
    with house.console("granted") as shown:
        house.warden.simulation.run("jail", "-r", "www1")
        assert shown.ended() in ("exit", "host")
        shown.rest()


def test_it_ends_with_break_glass(house):
    row = breakglass.enter(house.jail, "The site is down at night", timedelta(hours=1), user=house.admin)
    with house.console("administrator") as shown:
        shown.type("whoami\n")
        shown.until("root")
        breakglass.end(row, user=house.admin)
        assert shown.ended() == "right"
    assert AuditEntry.objects.get(action="console.open").approval == f"break-glass {row.pk}"


def test_a_closed_page_ends_what_runs_on_the_terminal(house):
    with house.console("granted") as shown:
        shown.type("sleep 300\n")
        shown.until("sleep 300")
    assert house.ended().ended == "left"
    until(lambda: not house.inside(), "the end of what ran inside")


def test_what_runs_inside_ends_with_a_killed_consoled(own_house):
    house = own_house
    house.services.start_consoled()
    house.services.start_web()
    with house.console("granted") as shown:
        shown.type("sleep 300\n")
        shown.until("sleep 300\r\n")
        assert house.inside()
        house.services.consoled.kill()
        shown.rest()
    until(lambda: not house.inside(), "the end of what ran inside")
    console = house.last()
    assert console.is_open
    house.services.start_consoled()
    assert house.ended().ended == "service"
    assert "sleep 300" in "".join(event[2] for event in house.recording(console)[1:])
    assert AuditEntry.objects.get(action="console.close").after["recording_sha256"] == house.last().digest != ""


@pytest.mark.slow
def test_a_stopped_consoled_says_so_and_finishes_recordings(own_house):
    house = own_house
    house.services.start_consoled()
    house.services.start_web()
    with house.console("granted") as shown:
        house.services.consoled.terminate()
        assert shown.ended() == "service"
    house.services.consoled.wait(20)
    console = house.ended()
    assert console.digest and cast.digest_of(settings_path(console))[0] == console.digest


@pytest.mark.slow
def test_two_consoleds_do_not_serve_one_socket(house):
    second = house.services.start("django", "consoled")
    assert second.wait(30) == 1
    with house.console("granted") as shown:
        shown.type("exit\n")
        assert shown.ended() == "exit"


@pytest.mark.slow
def test_idle_and_total_time(own_house):
    house = own_house
    house.services.settings |= {"CELLBLOCK_CONSOLE_IDLE_SECONDS": "3", "CELLBLOCK_CONSOLE_TOTAL_SECONDS": "6"}
    house.services.start_consoled()
    house.services.start_web()
    with house.console("granted") as idle:
        assert idle.until_said("ends_in") <= 3
        assert idle.ended() == "idle"
    with house.console("granted") as busy:
        for _ in range(7):
            busy.type(" ")
            time.sleep(1)
        assert busy.ended() == "time"


@pytest.mark.slow
def test_how_many_at_once(own_house):
    house = own_house
    house.services.settings |= {"CELLBLOCK_CONSOLES_PER_USER": "1", "CELLBLOCK_CONSOLES_PER_TENANT": "2"}
    house.services.start_consoled()
    house.services.start_web()
    with house.console("granted"), house.console("owner"), house.socket("granted") as third:
        third.send(json.dumps({"ticket": house.ticket("granted"), "columns": 80, "rows": 24}))
        assert "You have 1 consoles open" in Shown(third).until_said("refused")
    house.ended()
    until(lambda: Console.objects.filter(ended_at=None).count() == 0, "all ended")


def test_the_size_follows_the_window(house):
    with house.console("granted") as shown:
        shown.type("stty size\n")
        shown.until("24 80")
        shown.say(columns=132, rows=43)
        until(lambda: shown.size() == "43 132", "the new size")
    assert [len(event[2].split("x")) for event in house.recording(house.ended())[1:] if event[1] == "r"] == [2]


@pytest.mark.slow
def test_a_browser_that_is_behind_is_not_flooded(house):
    """Nothing more is taken from the jail than the browser has said it showed, and a little."""
    with house.console("granted") as shown:
        shown.type("while :; do echo 0123456789012345678901234567890123456789012345678901234567890123456789; done\n")
        ahead = 256 * 1024 + 2 * 65536
        shown.until("0123456789\r\n")
        time.sleep(3)
        before = len(shown.output)
        while shown._next(time.monotonic() + 1.5):
            pass
        assert before < len(shown.output) <= ahead
        shown.say(seen=len(shown.output))
        shown.until("0123456789\r\n")
        shown.type("\x03")


def test_a_host_that_cannot_be_reached(house):
    house.warden.fault(offline=True)
    with house.socket("granted") as made:
        made.send(json.dumps({"ticket": house.ticket("granted"), "columns": 80, "rows": 24}))
        shown = Shown(made)
        assert shown.ended(30) == "host"
    assert "warden1" not in json.dumps(shown.said)
    assert house.ended().ended == "host"


def test_a_jail_that_stopped_or_is_another_one(house):
    for command, words in (
        ("-r www1", "does not run"),
        ("-c name=www1 path=/ persist", "Another jail runs under its name"),
    ):
        house.warden.simulation.run("jail", *command.split())
        with house.socket("granted") as made:
            made.send(json.dumps({"ticket": house.ticket("granted"), "columns": 80, "rows": 24}))
            shown = Shown(made)
            assert shown.ended() == "jail"
            assert words in json.dumps(shown.said)


def test_a_user_that_the_jail_does_not_know(house):
    with house.socket("granted") as made:
        made.send(json.dumps({"ticket": house.ticket("granted", login="nosuch"), "columns": 80, "rows": 24}))
        shown = Shown(made)
        assert shown.ended() == "failed"
        assert "nosuch" in shown.output.decode()


def test_what_is_typed_unseen_is_not_recorded(house):
    with house.console("granted") as shown:
        shown.type("stty -echo; echo un$((6 * 7)); read secret; stty echo\n")
        shown.until("un42")
        shown.type("xyzzy-hidden\n")
        shown.until(PROMPT)
        shown.type("echo ${#secret}\n")
        shown.until("12")
    assert "xyzzy" not in json.dumps(house.recording(house.ended()))


@pytest.mark.slow
def test_a_full_recording_says_that_it_is_cut(own_house):
    house = own_house
    house.services.settings["CELLBLOCK_CONSOLE_RECORDING_BYTES"] = "4000"
    house.services.start_consoled()
    house.services.start_web()
    with house.console("granted") as shown:
        shown.type("for i in 1 2 3 4 5 6 7 8 9; do printf '%0500d\\n' $i; done; echo over\n")
        shown.until("\r\nover\r\n")
    console = house.ended()
    assert console.cut and console.size <= 4000
    assert [text for _, kind, text in house.recording(console)[1:] if kind == "m"][:1] == [cast.CUT]
    assert AuditEntry.objects.get(action="console.close").detail == cast.CUT
