"""One command, who was where, and recordings, as pages show them; consoled is a real one."""

import json
from urllib.parse import quote

import pytest
from django.utils import timezone

from jails.consoles.records import path_of
from jails.models import AuditEntry, Console


def run(house, who, text, login="root"):
    return house.client(who).post(f"/jails/{house.jail.uuid}/console/run", {"login": login, "text": text})


def test_one_command(house):
    text = "hostname; echo oops >&2; echo '<b>'; exit 3"
    page = run(house, "granted", text).content.decode()
    assert "Exit status 3" in page
    assert "www1.example.org\noops\n&lt;b&gt;\n" in page
    entry = AuditEntry.objects.get(action="console.run")
    assert (entry.actor, entry.object_name) == ("greta", "www1")
    assert len(entry.after["command_sha256"]) == 64
    assert "oops" not in "".join(map(str, AuditEntry.objects.values_list("after", "detail")))
    console = house.ended()
    assert (console.kind, console.status, console.ended) == ("command", 3, "exit")
    assert "".join(event[2] for event in house.recording(console)[1:]) == "www1.example.org\r\noops\r\n<b>\r\n"


def test_a_command_has_nothing_to_read_and_no_terminal(house):
    page = run(house, "granted", "cat; tty; read x || echo nothing").content.decode()
    assert "not a tty\nnothing\n" in page


def test_commands_that_are_hostile_to_a_host(house):
    page = run(house, "granted", "echo \"$0\" '$(id)' `hostname` ; echo 'a'\\''!b'\n\nexit 0").content.decode()
    assert "www1.example.org" in page and "a&#x27;!b" in page


def test_a_command_that_takes_too_long(own_house):
    house = own_house
    house.services.settings["CELLBLOCK_CONSOLE_COMMAND_SECONDS"] = "1"
    house.services.start_consoled()
    page = run(house, "granted", "echo begun; sleep 60; echo done").content.decode()
    assert "It and all that it had started was ended after 1 seconds." in page and "begun\n" in page
    assert "sleep 60" not in house.warden.simulation.run("ps", "-ax", "-o", "command")


def test_what_is_no_command(house):
    for text, words in (("", "required"), ("a\0b", "Null characters"), ("x" * 9000, "at most 8000")):
        answer = run(house, "granted", text)
        assert answer.status_code == 422 and words in answer.content.decode()
    assert run(house, "granted", "id", login="Root;id").status_code == 422
    assert not Console.objects.exists()


def test_a_user_that_is_not_there(house):
    page = run(house, "granted", "id", login="nosuch").content.decode()
    assert "no such user" in page
    assert house.ended().ended == "failed"


def test_nothing_runs_that_cannot_be_recorded(own_house):
    house = own_house
    house.services.start_consoled()
    house.services.recordings.write_text("a file where the folder should be")
    answer = run(house, "granted", "touch /tmp/ran")
    assert "Nothing can be recorded" in answer.content.decode()
    assert house.ended().ended == "failed"
    assert not (house.folder / "warden1/root/jail/www1/tmp/ran").exists()


def test_no_consoled(own_house):
    answer = run(own_house, "granted", "id")
    assert answer.status_code == 422
    assert "does not answer" in answer.content.decode()


def test_asked_who_one_is_when_that_is_long_ago(house, settings):
    settings.ACCOUNT_REAUTHENTICATION_TIMEOUT = 0
    house.people["granted"].set_password("correct horse battery")
    house.people["granted"].save()
    house.clients.clear()
    answer = run(house, "granted", "echo s3cret")
    assert answer.status_code == 302 and "reauthenticate" in answer["Location"]
    # The command may hold a secret: it is kept nowhere while it asks.
    assert answer["Location"].endswith(quote(f"/jails/{house.jail.uuid}/console", safe=""))
    assert "echo s3cret" not in json.dumps(dict(house.client("granted").session.items()))
    asked = house.client("granted").post(f"/jails/{house.jail.uuid}/console/ticket", {"login": "root"})
    assert asked.status_code == 403 and asked.json() == {"prove": f"/jails/{house.jail.uuid}/console/prove"}
    assert "reauthenticate" in house.client("granted").get(asked.json()["prove"])["Location"]
    assert not Console.objects.exists()


def test_reading_is_an_entry_and_shows_a_changed_file(house):
    run(house, "granted", "echo seen; echo gone")
    console = house.ended()
    page = house.client("auditor").get(f"/consoles/{console.pk}/text").content.decode()
    assert "seen\ngone\n" in page and "not the one that was recorded" not in page
    answer = house.client("administrator").get(f"/consoles/{console.pk}/file")
    content = b"".join(answer.streaming_content)
    assert content == path_of(console).read_bytes() and answer["X-Recording-Whole"] == "yes"
    assert sorted(AuditEntry.objects.filter(action="recording.read").values_list("actor", flat=True)) == ["ada", "uma"]
    path_of(console).write_bytes(content.replace(b"gone", b"good"))
    page = house.client("auditor").get(f"/consoles/{console.pk}/text").content.decode()
    assert "not the one that was recorded" in page
    last = AuditEntry.objects.filter(action="recording.read").latest("sequence")
    assert last.detail == "The file is not the one that was recorded."
    answer = house.client("auditor").get(f"/consoles/{console.pk}/file")
    assert answer["X-Recording-Whole"] == "no" and b"".join(answer.streaming_content)


def test_who_may_not_read_gets_nothing_from_consoled_either(house):
    from jails.consoles import client, tickets

    run(house, "granted", "echo seen")
    console = house.ended()
    for who in ("granted", "owner", "stranger"):
        assert house.client(who).get(f"/consoles/{console.pk}/text").status_code == 404
        key = house.client(who).session.session_key
        with pytest.raises(tickets.Refused, match="may not read"):
            client.read({"console": str(console.pk), "session": key, "source": "192.0.2.9"})
    with pytest.raises(tickets.Refused, match="no such recording"):
        client.read({"console": "../../etc/passwd", "session": key, "source": ""})
    assert not AuditEntry.objects.filter(action="recording.read", outcome="done").exists()


def test_a_recording_that_is_gone(house):
    run(house, "granted", "echo seen")
    console = house.ended()
    path_of(console).unlink()
    page = house.client("auditor").get(f"/consoles/{console.pk}/text").content.decode()
    assert "Its file is gone." in page


def test_the_list(house):
    for jail, who in ((house.jail, "greta"), (house.warden.make("shop", tenant=house.globex, start=False), "stan")):
        more = {"opened_at": timezone.now(), "ended_at": timezone.now(), "ended": "exit"}
        Console.objects.create(
            jail=jail, jail_name=jail.name, username=who, login="root", tenant=jail.tenant, host_name="warden1", **more
        )
    page = house.client("owner").get("/consoles/").content.decode()
    assert "greta" in page and "stan" not in page and "warden1" not in page and "Recording of" not in page
    page = house.client("auditor").get("/consoles/").content.decode()
    assert "greta" in page and "stan" in page and "Recording of greta in www1" in page
    assert "greta" not in house.client("auditor").get("/consoles/?who=stan").content.decode()
    assert "No such console" in house.client("auditor").get("/consoles/?jail=nosuch").content.decode()
    assert house.client("granted").get("/consoles/").status_code == 404


def test_the_page_of_a_jail_that_does_not_run(house):
    house.jail.state = "stopped"
    house.jail.save()
    page = house.client("owner").get(f"/jails/{house.jail.uuid}/console").content.decode()
    assert "www1 does not run" in page and "data-console" not in page


def test_the_page_keeps_the_policy_of_content_without_exception(house):
    page = house.client("owner").get(f"/jails/{house.jail.uuid}/console")
    policy = page["Content-Security-Policy"]
    assert "unsafe" not in policy and "nonce" not in policy and "style-src" not in policy
    assert "<style" not in page.content.decode() and "style=" not in page.content.decode()
