import pytest

from jails.looks import processes

pytestmark = pytest.mark.django_db


def test_what_runs_in_a_jail_with_the_users_of_the_jail_itself(warden, look):
    www1 = warden.make("www1", "192.0.2.11")
    warden.make("db1", "192.0.2.12")
    warden.sh("jexec www1 pw useradd shop -u 1001 -s /bin/sh; jexec -U shop www1 daemon -f sleep 600")
    found = look(www1, "processes")
    assert (found.state, found.problem) == ("done", "")
    rows = {row["command"]: row for row in found.result["rows"]}
    assert found.result["count"] == len(rows) > 1
    assert (
        rows["sleep 600"]["user"] == "shop"
        and next(row for row in rows.values() if "cron" in row["command"])["user"] == "root"
    )
    assert all(row["memory"] > 0 and row["pid"] > 1 for row in rows.values())
    assert not any(command.startswith(("ps ", "timeout ", "[kernel]")) for command in rows)


def test_a_jail_without_processes_has_none(warden, look):
    www1 = warden.make("www1", start=False)
    warden.sh("jail -c name=www1 path=/jail/www1 persist")
    assert look(www1, "processes").result == {"count": 0, "rows": []}


def test_a_stopped_jail_is_not_looked_into(warden, look):
    www1 = warden.make("www1", start=False)
    found = look(www1, "processes")
    assert (found.state, found.problem, found.result) == ("failed", "It does not run.", None)


def test_the_busiest_are_kept_of_too_many(warden, look, monkeypatch):
    www1 = warden.make("www1")
    warden.sh("jexec www1 daemon -f sleep 600")
    monkeypatch.setattr(processes, "MOST", 1)
    found = look(www1, "processes").result
    assert len(found["rows"]) == 1 < found["count"]


def test_a_host_that_does_not_answer_is_not_told_about(warden, look):
    www1 = warden.make("www1")
    warden.row.directory = "/nonexistent"
    warden.row.save()
    assert look(www1, "processes").problem == "Its host could not be reached."
