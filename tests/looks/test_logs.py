import pytest

from jails.freebsd import logs
from jails.looks import kind as kinds
from jails.looks import looking
from jails.looks.kind import Refused
from jails.models import AuditEntry, Look, Membership, Tenant, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def www1(warden):
    www1 = warden.make("www1", "192.0.2.11")
    warden.sh(
        'jexec www1 sh -c \'mkdir -p /var/log/nginx; for n in 1 2 3; do echo "line $n" >>/var/log/messages; done; '
        'echo "GET /a%20b 200" >/var/log/nginx/access.log\''
    )
    return www1


def test_the_files_below_var_log(www1, look):
    found = look(www1, "logs")
    assert (found.state, found.problem) == ("done", "")
    files = {file["path"]: file for file in found.result["files"]}
    assert (
        files["/var/log/nginx/access.log"]["size"] == len("GET /a%20b 200\n")
        and files["/var/log/messages"]["changed"] > 10**9
    )
    assert found.result["all"]


def test_the_end_of_a_file_and_lines_with_a_text(www1, look):
    assert look(www1, "log", path="/var/log/messages").result["lines"][-3:] == ["line 1", "line 2", "line 3"]
    found = look(www1, "log", path="/var/log/messages", text="LINE 2").result
    assert found == {"lines": ["line 2"], "cut": False}
    assert look(www1, "log", path="/var/log/messages", text="-e").result["lines"] == []
    assert look(www1, "log", path="/var/log/messages", text="line .").result["lines"] == []


def test_of_a_long_file_the_newest_lines(www1, warden, look, monkeypatch):
    monkeypatch.setattr(logs, "LINES", 2)
    found = look(www1, "log", path="/var/log/messages").result
    assert found == {"lines": ["line 2", "line 3"], "cut": True}


def test_a_file_that_is_gone_and_one_that_never_ends(www1, warden, look):
    assert "no file" in look(www1, "log", path="/var/log/nothing").problem
    assert "no file" in look(www1, "log", path="/var/log/nginx").problem


def test_a_link_in_the_jail_leads_nowhere_but_into_the_jail(www1, warden, look):
    """/etc of the host is not what /etc in the jail is; `messages` may lead anywhere and still stays inside."""
    warden.sh("echo the host >/etc/only-here; mkdir -p /var/log/deep; echo host log >/var/log/deep/host.log")
    warden.sh(
        "jexec www1 sh -c 'ln -sf /etc/only-here /var/log/a.log; ln -sf ../../../../etc/only-here /var/log/b.log; "
        "ln -s /var/log /var/log/deep'"
    )
    for path in ("/var/log/a.log", "/var/log/b.log", "/var/log/deep/host.log"):
        found = look(www1, "log", path=path)
        assert found.state == "failed" and "no file" in found.problem and found.result is None
    assert not any("host" in file["path"] for file in look(www1, "logs").result["files"])


def test_nothing_of_a_terminal_and_no_endless_line_gets_through(www1, warden, look):
    warden.sh("jexec www1 sh -c 'printf \"a\\033[31mred\\033[0m\\n\" >/var/log/x.log'")
    assert look(www1, "log", path="/var/log/x.log").result["lines"] == ["ared"]


def test_what_is_kept_fits(monkeypatch):
    from jails.looks import log

    kept = log._newest(['\x7f"\\' * 700] * 400)
    assert 0 < len(kept) < 400
    assert sum(len(line) for line in kept) < kinds.RESULT


NO_LOGS = ("", "/etc/passwd", "/var/log", "/var/log/", "/var/log/../db", "/var/log//x", "/var/log/a\nb", "/var/log/./x")


@pytest.mark.parametrize("path", [*NO_LOGS, "/var/log/" + "x" * 300, "var/log/x", "/var/logs/x"])
def test_a_path_that_is_none_is_refused_everywhere(path):
    with pytest.raises(Refused):
        kinds.get("log").clean({"path": path})
    with pytest.raises(ValueError):
        logs.read(path)
    with pytest.raises(ValueError):
        logs.follow(path)


def test_a_text_that_is_no_line_is_refused():
    for text in ("a\nb", "x" * 201, "\0"):
        with pytest.raises(Refused):
            kinds.get("log").clean({"path": "/var/log/x", "text": text})


def test_names_that_are_no_files_are_left_out():
    printed = b"12 1700000000 /var/log/a\n12 1700000000 /etc/passwd\n12 1700000000 /var/log/b\nrest\nx\n\n"
    assert [file.path for file in logs.parse_list(printed)] == ["/var/log/a", "/var/log/b"]


# Who reads


def reader(role="", **fields):
    return User.objects.create_user(f"reader{User.objects.count()}", role=role, **fields)


def read(jail, user, host):
    found = looking.ask(jail, "log", {"path": "/var/log/messages"}, user=user)
    Look.objects.filter(pk=found.pk).update(state=Look.State.WAITING)
    looking.run(found.pk, connection=lambda _: host)
    found.refresh_from_db()
    return found


def test_staff_who_read_in_a_tenants_jail_are_in_the_log_and_its_members_are_not(www1, warden, admin):
    acme = Tenant.objects.create(slug="acme", name="Acme")
    www1.tenant = acme
    www1.save()
    owner = reader()
    Membership.objects.create(tenant=acme, user=owner, role="owner")
    assert read(www1, owner, warden.connection).state == "done"
    assert not AuditEntry.objects.filter(action="inside.read").exists()
    first = read(www1, admin, warden.connection)
    read(www1, admin, warden.connection)
    entry = AuditEntry.objects.get(action="inside.read")
    assert (entry.actor, entry.tenant_id, entry.detail) == (admin.username, acme.pk, "/var/log/messages")
    other = reader("administrator")
    assert read(www1, other, warden.connection).pk != first.pk
    assert AuditEntry.objects.filter(action="inside.read").count() == 2


def test_a_jail_of_nobody_is_the_hosts_own(www1, warden, admin):
    assert read(www1, admin, warden.connection).state == "done"
    assert not AuditEntry.objects.filter(action="inside.read").exists()


def test_an_auditor_reads_nothing(www1, warden):
    found = read(www1, reader("auditor"), warden.connection)
    assert found.state == "failed" and found.result is None
