"""Asking, joining, taking, losing and forgetting looks, with a kind that reads what it is told to."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from jails import tasks
from jails.freebsd.command import Pipeline
from jails.hosts.connection import CommandTimeout, HostUnavailable, Result, Unavailable
from jails.looks import kind as kinds
from jails.looks import looking
from jails.looks.kind import Refused
from jails.models import Jail, Look, Membership
from jails.operations import queue
from tests.panel.fleet import Fleet, make_fleet

pytestmark = pytest.mark.django_db
JLS = '{"jail-information": {"jail": [{"jid": 7, "name": "www1", "path": "/jail/www1", "dying": false}]}}'


class Echo(kinds.Kind):
    name = "processes"

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer or (lambda place, parameters: {"said": parameters["word"], "jid": place.jid})

    def clean(self, parameters: Any) -> dict[str, Any]:
        if parameters.get("word") == "no":
            raise Refused("Not that word.")
        return {"word": parameters.get("word", "")}

    def look(self, place: kinds.Place, parameters: Any) -> dict[str, Any]:
        return self.answer(place, parameters)


class Inside(Echo):
    needs_running = True


class Host:
    """A connection: every command prints what it is given, a jls what is in `jls`."""

    def __init__(self, jls: str | None = JLS) -> None:
        self.jls, self.ran = jls, []

    def run(self, pipeline: Pipeline, *, timeout: float, **_: Any) -> Result:
        self.ran.append(pipeline.argvs[0])
        if pipeline.argvs[0][0] == "jls":
            return Result(0, self.jls.encode()) if self.jls is not None else Result(1, b"", b"jls: not found")
        return Result(0, b"out")

    def close(self) -> None: ...


@pytest.fixture
def fleet() -> Fleet:
    return make_fleet()


@pytest.fixture
def sent(monkeypatch):
    found: list[tuple[str, str]] = []
    monkeypatch.setattr(
        queue, "_send", lambda task, argument, name, countdown=0: bool(found.append((argument, name))) or True
    )
    return found


@pytest.fixture
def use(monkeypatch):
    def use(kind: kinds.Kind) -> None:
        monkeypatch.setattr(kinds, "get", lambda name: kind)

    use(Echo())
    return use


@pytest.fixture
def ask(fleet, sent, use, django_capture_on_commit_callbacks):
    def ask(word: str = "a", role: str = "member", jail: str = "www1", **options: Any) -> Look:
        with django_capture_on_commit_callbacks(execute=True):
            return looking.ask(fleet.jails[jail], "processes", {"word": word}, user=fleet.people[role], **options)

    return ask


def take(look: Look, host: Host | None = None) -> Look:
    looking.run(look.pk, connection=lambda _: host or Host())
    look.refresh_from_db()
    return look


def later(**delta: float) -> None:
    for look in Look.objects.all():
        ago = timedelta(**delta)
        values = {
            name: at - ago
            for name in ("asked_at", "sent_at", "taken_at", "ended_at", "expires_at")
            if (at := getattr(look, name)) is not None
        }
        Look.objects.filter(pk=look.pk).update(**values)


def test_it_is_sent_to_the_hosts_worker_with_nothing_but_its_id(ask, sent):
    look = ask()
    assert sent == [(str(look.pk), "refresh")] and look.is_open
    assert take(look).result == {"said": "a", "jid": 0}
    assert look.state == Look.State.DONE and look.seen_at is not None and look.problem == ""


def test_one_serves_all_that_ask_the_same(ask, sent):
    first, second, other = ask("a"), ask("a", "owner"), ask("b")
    assert first.pk == second.pk != other.pk
    assert [argument for argument, _ in sent] == [str(first.pk), str(other.pk)]


def test_a_fresh_answer_is_not_asked_for_again_and_an_old_one_stays_meanwhile(ask, sent):
    take(ask())
    assert ask().state == Look.State.DONE and len(sent) == 1
    later(seconds=30)
    again = ask()
    again.refresh_from_db()
    assert again.state == Look.State.WAITING and len(sent) == 2
    assert again.result == {"said": "a", "jid": 0} and again.seen_at is not None


def test_the_worker_asks_the_policy_of_who_asked_as_of_now(ask, fleet):
    look = ask(role="member")
    Membership.objects.filter(user=fleet.people["member"]).delete()
    assert take(look).state == Look.State.FAILED
    assert look.problem == "Who asked for it may not see it any more." and look.result is None


def test_who_joins_before_it_is_taken_is_who_counts(ask, fleet):
    look = ask(role="member")
    ask(role="owner")
    Membership.objects.filter(user=fleet.people["member"]).delete()
    assert take(look).state == Look.State.DONE


def test_a_forged_row_of_somebody_who_may_not_is_refused(fleet, use):
    now = timezone.now()
    look = Look.objects.create(
        jail=fleet.jails["loghost"], kind="processes", key="x", asked_by=fleet.people["member"],
        asked_at=now, expires_at=now + timedelta(hours=1), parameters={"word": "a"},
    )  # fmt: skip
    host = Host()
    assert take(look, host).state == Look.State.FAILED and host.ran == []


def test_parameters_are_checked_by_the_worker_too(ask):
    with pytest.raises(Refused):
        ask("no")
    look = ask("yes")
    Look.objects.update(parameters={"word": "no"})
    assert take(look).problem == "Not that word."


def test_an_unknown_kind_is_refused(fleet, ask, monkeypatch):
    look = ask()
    monkeypatch.undo()
    Look.objects.update(kind="../etc")
    assert take(look).state == Look.State.FAILED and "../etc" in look.problem


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (HostUnavailable(Unavailable.REFUSED, "192.0.2.2 said no"), "could not be reached"),
        (CommandTimeout(20, Result(124)), "still running after 20 s"),
        (Refused("It is on UFS."), "It is on UFS."),
        (RuntimeError("secret"), "the worker's log"),
    ],
)
def test_what_goes_wrong_is_said_and_the_last_answer_kept(ask, use, error, words):
    take(ask())

    def fail(place: Any, parameters: Any) -> None:
        raise error

    use(Echo(fail))
    later(seconds=30)
    look = take(ask())
    assert look.state == Look.State.FAILED and words in look.problem
    assert "192.0.2.2" not in look.problem and "secret" not in look.problem
    assert look.result == {"said": "a", "jid": 0}


def test_more_than_can_be_kept_is_refused(ask, use):
    use(Echo(lambda place, parameters: {"said": "x" * kinds.RESULT}))
    assert "more of it" in take(ask()).problem


def test_what_a_database_refuses_is_kept_all_the_same(ask, use):
    use(Echo(lambda place, parameters: {"said": "a\0b\udcff"}))
    assert take(ask()).result == {"said": "a\ufffdb?"}


def test_inside_is_by_the_jid_of_the_jail_that_runs_now(ask, use):
    use(Inside(lambda place, parameters: {"out": place.inside(("/bin/ps",)).text}))
    host = Host()
    assert take(ask(), host).result == {"out": "out"}
    assert host.ran[0] == ("jls", "-j", "www1", "--libxo=json", "-n")
    assert host.ran[1][:3] == ("timeout", "-k", "2") and host.ran[1][4:] == ("jexec", "-l", "7", "/bin/ps")


@pytest.mark.parametrize(
    ("jls", "words"),
    [
        (None, "It does not run."),
        (JLS.replace("false", "true"), "It does not run."),
        (JLS.replace("/jail/www1", "/elsewhere"), "Another jail runs under its name."),
        ("{}", "does not tell"),
    ],
)
def test_another_jail_of_its_name_is_not_looked_into(ask, use, jls, words):
    use(Inside())
    host = Host(jls)
    assert words in take(ask(), host).problem and len(host.ran) == 1


def test_a_look_that_does_not_say_that_it_needs_a_running_jail_gets_into_none(ask, use):
    use(Echo(lambda place, parameters: {"out": place.inside(("/bin/ps",)).text}))
    assert take(ask()).state == Look.State.FAILED


def test_two_workers_take_it_once(ask):
    look, calls = ask(), []
    looking.run(look.pk, connection=lambda _: calls.append(1) or Host())
    looking.run(look.pk, connection=lambda _: calls.append(1) or Host())
    assert len(calls) == 1


def test_an_answer_that_comes_after_it_was_asked_for_again_is_not_kept(ask, use):
    def slow(place: Any, parameters: Any) -> dict[str, Any]:
        later(minutes=3)
        ask()
        return {"said": "late"}

    use(Echo(slow))
    look = take(ask())
    assert look.state == Look.State.WAITING and look.result is None


def test_one_that_was_forgotten_is_sent_again_and_one_that_nobody_answers_given_up(ask, sent):
    look = ask()
    looking.sweep()
    assert len(sent) == 1
    later(seconds=20)
    looking.sweep()
    assert sent == [(str(look.pk), "refresh")] * 2
    later(minutes=3)
    looking.sweep()
    look.refresh_from_db()
    assert look.state == Look.State.FAILED and "No worker" in look.problem and len(sent) == 2


def test_a_lost_one_is_asked_for_again_by_a_person_and_not_by_a_page(ask, sent):
    ask()
    later(minutes=3)
    assert ask(patient=True).is_lost and len(sent) == 1
    assert ask().is_open and len(sent) == 2


def test_what_is_old_is_removed(ask):
    take(ask())
    looking.sweep()
    assert Look.objects.exists()
    later(minutes=16)
    looking.sweep()
    assert not Look.objects.exists()


def test_only_so_many_may_wait_for_a_jail(ask, sent):
    for number in range(looking.MOST):
        ask(str(number))
    look = ask("one more")
    assert look.state == Look.State.FAILED and "Too much" in look.problem
    assert Look.objects.count() == len(sent) == looking.MOST
    assert ask("one more", jail="www2").state == Look.State.WAITING


def test_the_task_takes_any_id_and_only_what_its_worker_serves(ask, fleet, monkeypatch):
    ran: list[Any] = []
    monkeypatch.setattr(looking, "run", lambda pk: ran.append(pk))
    for text in ("", "x", "00000000-0000-0000-0000-000000000000"):
        tasks.take_look(text)
    look = ask()
    tasks.take_look(str(look.pk))
    assert ran == [look.pk]
    Jail.objects.get(pk=look.jail_id).host.__class__.objects.update(worker="elsewhere")
    tasks.take_look(str(look.pk))
    assert ran == [look.pk]


def test_looks_go_with_the_jail(ask, fleet):
    ask()
    fleet.jails["www1"].delete()
    assert not Look.objects.exists()
