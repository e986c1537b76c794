"""The fleet as a file: what is read, what is refused, and that applying it gives the same jails."""

from __future__ import annotations

import shutil
import tomllib
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from jails.models import (
    Address,
    AuditEntry,
    AuditHead,
    Host,
    Jail,
    Network,
    Operation,
    Release,
    Template,
    Tenant,
    User,
    Worker,
)
from jails.models.audit_triggers import drop_triggers, make_triggers
from jails.operations import queue
from jails.operations.jail_change import DEFAULT_LIMITS
from panel.fleet import apply, document, export, plan
from tests.operations.warden import Warden, prepare
from tests.operations.world import RELEASE, World, blank

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return blank(tmp_path_factory.mktemp("fleet") / "blank")


@pytest.fixture(autouse=True)
def no_messages(monkeypatch):
    monkeypatch.setattr(queue, "_send", lambda *arguments, **options: None)


@pytest.fixture
def ada(db):
    return User.objects.create_user("ada", role=User.Role.ADMINISTRATOR)


@pytest.fixture
def world(folder, tmp_path, ada):
    return World(folder, tmp_path / "warden1", ada)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("fleet") / "prepared")


@pytest.fixture
def warden(prepared, tmp_path, ada, workers):
    """A host on which jails can be made by hand, looked after by the workers."""
    workers.hosts["warden1"] = Warden(prepared, tmp_path / "warden1", ada)
    return workers.hosts["warden1"]


class Workers:
    """Whoever waits lets them do what there is to do on `hosts`, World by name."""

    def __init__(self) -> None:
        self.hosts: dict[str, World] = {}

    def pause(self, seconds: float) -> None:
        self.live()
        for host in Host.objects.all():
            self.look_after(host, self.hosts[host.name])

    def live(self) -> None:
        Worker.objects.update_or_create(name="default", defaults={"seen_at": timezone.now()})

    def look_after(self, host: Host, world: World) -> None:
        world.row = host
        if host.refresh_wanted_at and (not host.refreshed_at or host.refreshed_at < host.refresh_wanted_at):
            world.refresh()
        for operation in Operation.objects.filter(host=host, status__in=Operation.OPEN):
            world.work(operation)


@pytest.fixture
def workers(monkeypatch):
    workers = Workers()
    workers.live()
    monkeypatch.setattr(apply, "pause", workers.pause)
    return workers


def fleet(*words: str, **options: object) -> str:
    out = StringIO()
    try:
        call_command("fleet", *words, stdout=out, **options)
    except CommandError as error:
        raise CommandError(f"{error}\n{out.getvalue()}") from error
    return out.getvalue()


def planned(path: Path, *words: str) -> tuple[int, str]:
    """Exit status and output."""
    out = StringIO()
    try:
        call_command("fleet", "plan", str(path), *words, stdout=out)
    except SystemExit as ended:
        return ended.code, out.getvalue()
    except CommandError as error:
        return error.returncode, str(error)
    return 0, out.getvalue()


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "fleet.toml"
    path.write_text(text)
    return path


def forget_everything() -> None:
    """As a new panel. The log refuses to be emptied, but by who owns the database."""
    for model in (Operation, Address, Jail, Template, Release, Network, Host, Tenant):
        model.objects.all().delete()
    drop_triggers(connection)
    AuditEntry.objects.all().delete()
    AuditHead.objects.all().delete()
    make_triggers(connection)


def told_of(jail: Jail) -> dict[str, object]:
    names = ("name", "kind", "storage", "hostname", "boot", "path", "dataset", "state", "touched")
    return {name: getattr(jail, name) for name in names} | {
        "limits": {**DEFAULT_LIMITS, **jail.limits},
        "base": (jail.template or jail.release).name,
        "tenant": jail.tenant and jail.tenant.slug,
        "addresses": list(jail.addresses.order_by("pk").values_list("network__name", "ip", "interface")),
    }


# The whole way


@pytest.mark.slow
def test_a_file_gives_the_same_jails_on_a_fresh_host(world, workers, folder, tmp_path, monkeypatch):
    workers.hosts["warden1"] = world
    acme = Tenant.objects.create(slug="acme", name="Acme & Söhne")
    private = Network.objects.create(name="lan", cidr="10.9.0.0/24", host=world.row)
    world.release = world.fetched()
    world.made(
        name="gold",
        addresses=[{"network": private.pk, "ip": "10.9.0.5"}, *world.at("192.0.2.30")],
        limits={"quota": 1 << 30, "securelevel": 1},
    )
    gold = Jail.objects.get(name="gold")
    world.done("template_create", jail=str(gold.uuid), name="web", tenant=None)
    template = Template.objects.get(name="web")
    world.done("template_publish", template=template.pk)
    world.done("jail_start", jails=[str(gold.uuid)])
    made = {"kind": "thin", "storage": "zfs", "hostname": "www1.example.org", "start": True, "boot": True}
    world.done(
        "jail_create", name="www1", template=template.pk, tenant=acme.pk, addresses=world.at("192.0.2.10"), **made
    )
    before = {jail.name: told_of(jail) for jail in Jail.objects.all()}

    text = fleet("export")
    assert text == fleet("export")
    path = written(tmp_path, text)
    assert planned(path) == (0, "Nothing would change.\n")

    forget_everything()
    shutil.rmtree(world.simulation.directory)
    shutil.copytree(folder, world.simulation.directory, symlinks=True)
    status, words = planned(path)
    assert status == 2 and not Host.objects.exists()
    assert [line.strip() for line in words.splitlines() if "create the" in line or "template" in line] == [
        "create the jail gold",
        "make the template web of gold",
        "publish the template web",
        "create the jail www1",
    ]

    said = fleet("apply", str(path), "--yes")
    assert "changes made" in said and "FAILED" not in said
    world.row = Host.objects.get(name="warden1")
    world.refresh()
    assert {jail.name: told_of(jail) for jail in Jail.objects.all()} == before
    assert Tenant.objects.get().name == "Acme & Söhne"
    assert Template.objects.get().published_at is not None
    assert world.running().keys() == {"gold", "www1"}
    assert fleet("export") == text

    # Once more: nothing.
    assert planned(path) == (0, "Nothing would change.\n")
    count = Operation.objects.count()
    assert fleet("apply", str(path), "--yes") == "Nothing would change.\n"
    assert Operation.objects.count() == count
    entries = AuditEntry.objects.filter(actor="ada", source="command line")
    assert {"host.add", "tenant.add", "network.add", "operation.confirm"} <= {entry.action for entry in entries}


# What a plan says, and what is done, on a host that has jails


BASE = """\
format = 1
[tenants.acme]
name = "Acme"
[networks.lan]
cidr = "192.0.2.0/24"
"""


@pytest.fixture
def stocked(world, workers):
    """A host with a release as a row alone: enough for plans."""
    workers.hosts["warden1"] = world
    world.refresh()
    Release.objects.create(
        host=world.row, name=RELEASE, architecture="amd64", storage="zfs", state="ready", path="/r",
        dataset="zroot/cellblock/releases/r", snapshot="zroot/cellblock/releases/r@cellblock",
    )  # fmt: skip
    return world


@pytest.fixture
def www1(stocked):
    acme = Tenant.objects.create(slug="acme", name="Acme")
    Tenant.objects.create(slug="blue", name="Blue")
    jail = Jail.objects.create(
        host=stocked.row, name="www1", kind="thin", storage="zfs", managed=True, tenant=acme, state="running",
        hostname="www1.example.org", path="/jail/www1", release=Release.objects.get(),
        limits={"quota": 1 << 30, "children_max": 0, "securelevel": -1, "enforce_statfs": 2},
    )  # fmt: skip
    Address.objects.create(network=stocked.network, ip="192.0.2.10", jail=jail, interface="em0")
    return jail


def plan_of(text: str, **options: bool) -> plan.Plan:
    return plan.plan(document.read(text.encode()), **options)


def words_of(text: str, **options: bool) -> list[str]:
    made = plan_of(text, **options)
    assert not made.problems
    return [f"{change.words}: {', '.join(change.details)}" for change in made.changes]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("www1.example.org", "w1.example.org", "change the jail www1: hostname: www1.example.org → w1.example.org"),
        ("boot = false", "boot = true", "change the jail www1: boot: no → yes"),
        ('quota = "1 GiB"', 'quota = "none"', "change the jail www1: quota: 1 GiB → none"),
        ('quota = "1 GiB"', "quota = 2147483648", "change the jail www1: quota: 1 GiB → 2 GiB"),
        ("securelevel = -1", "securelevel = 2", "change the jail www1: securelevel: -1 → 2"),
        ("192.0.2.10", "192.0.2.11", "change the jail www1: addresses: 192.0.2.10 → 192.0.2.11"),
        ('tenant = "acme"', 'tenant = "blue"', "give the jail www1 to blue: tenant: acme → blue"),
        ('tenant = "acme"', 'tenant = ""', "take the jail www1 back to nobody: tenant: acme → none"),
        ("running = true", "running = false", "stop the jail www1: "),
    ],
)  # fmt: skip
def test_one_value_is_one_change(www1, old, new, words):
    text = export.export()
    assert words_of(text) == [] and old in text
    assert words_of(text.replace(old, new)) == [words]


@pytest.mark.parametrize(
    "line", ['hostname = "www1.example.org"', "boot = false", 'quota = "1 GiB"', 'tenant = "acme"', "running = true"]
)
def test_a_key_that_is_not_there_means_as_it_is(www1, line):
    assert words_of(export.export().replace(f"{line}\n", "")) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('kind = "thin"', 'kind = "thick"', "hosts.warden1.jails.www1.kind: www1 was made so: thin."),
        (f'release = "{RELEASE}"\nhost', 'release = "14.1-RELEASE"\nhost', "hosts.warden1.jails.www1.release: "),
        ('tenant = "acme"', 'tenant = "nobody"', "hosts.warden1.jails.www1.tenant: there is no tenant nobody."),
        ('network = "lan"', 'network = "wan"', "hosts.warden1.jails.www1.addresses: 192.0.2.10: warden1 has no"),
        ('cidr = "192.0.2.0/24"', 'cidr = "192.0.2.0/25"', "networks.lan.cidr: it is 192.0.2.0/24, which cannot be"),
        ('name = "Acme"', 'name = "Acne"', "tenants.acme.name: it is called 'Acme', which cannot be changed."),
        ('kind = "simulated"', 'kind = "local"', "hosts.warden1.kind: warden1 is simulated, which cannot be changed."),
        ('quota = "1 GiB"', "quota = 5", "hosts.warden1.jails.www1.quota: must be"),
    ],
)  # fmt: skip
def test_what_cannot_be_changed_is_said_at_its_key(www1, tmp_path, old, new, problem):
    text = export.export()
    assert old in text
    made = plan_of(text.replace(old, new))
    assert any(line.startswith(problem) for line in made.problems), made.problems
    status, words = planned(written(tmp_path, text.replace(old, new)))
    assert status == 1 and problem in words


def test_what_is_not_in_the_file_stays(www1):
    text = export.export()
    made = plan_of(text[: text.index("[hosts.warden1.jails")])
    assert made.changes == made.problems == []
    assert made.left == ["jail www1 on warden1: not in the file"]


def test_a_jail_goes_only_where_its_table_says_so_and_with_prune(www1):
    text = export.export()
    absent = f"{text}absent = true\n"
    made = plan_of(absent)
    assert made.changes == [] and "--prune" in made.left[0]
    (words,) = words_of(absent, prune=True)
    assert words.startswith("DESTROY the jail www1: all that is in it")
    assert words_of(text[: text.index("[hosts.warden1.jails")], prune=True) == []
    Jail.objects.update(managed=False, adoption=Jail.Adoption.IN_PLACE)
    assert "not its to destroy" in plan_of(absent, prune=True).problems[0]


def test_an_address_is_free_before_another_jail_gets_it(www1):
    jail = Jail.objects.create(
        host=www1.host,
        name="a1",
        kind="thin",
        storage="zfs",
        managed=True,
        state="stopped",
        hostname="a1",
        path="/jail/a1",
    )
    Address.objects.create(network=Network.objects.get(), ip="192.0.2.20", jail=jail)
    text = export.export().replace("192.0.2.10", "192.0.2.30").replace("192.0.2.20", "192.0.2.10")
    assert [words.partition(":")[0] for words in words_of(text)] == ["change the jail www1", "change the jail a1"]


def test_an_adopted_jail_is_given_and_started_only(www1):
    Jail.objects.update(managed=False, adoption=Jail.Adoption.IN_PLACE)
    text = export.export()
    assert tomllib.loads(text)["hosts"]["warden1"]["jails"]["www1"] == {
        "adopted": True, "tenant": "acme", "running": True,
    }  # fmt: skip
    assert words_of(text.replace("running = true", "running = false")) == ["stop the jail www1: "]
    with pytest.raises(document.Unreadable, match=r"hosts\.warden1\.jails\.www1\.boot: is not the panel's to decide"):
        plan_of(f"{text}boot = true\n")


def test_a_jail_that_others_made_is_a_comment(www1):
    Jail.objects.create(host=www1.host, name="evil\n[hosts.x]\u202e", kind="found", path="/x", state="stopped")
    text = export.export()
    assert text.splitlines()[-1].startswith("# Not the panel's, on warden1: evil")
    assert tomllib.loads(text)["hosts"].keys() == {"warden1"}
    Jail.objects.update(managed=False)
    assert "adopt it first" in plan_of(text).problems[0]


def test_a_template_of_a_jail_that_is_made_of_it_is_refused(stocked):
    text = """format = 1
[hosts.warden1.templates.web]
jail = "www1"
[hosts.warden1.jails.www1]
kind = "thin"
template = "web"
"""
    assert "made of itself" in plan_of(text).problems[0]


def test_one_network_of_two_with_the_same_name(www1):
    Network.objects.create(name="lan", cidr="10.0.0.0/24", host=www1.host)
    text = export.export()
    assert "shared = true" in text and words_of(text) == []
    (words,) = words_of(text.replace(", shared = true", ""))
    assert words.startswith("change the jail www1: addresses: ")


# Doing it


def test_changes_are_ordinary_operations(warden, tmp_path):
    warden.make("www1", "192.0.2.10")
    warden.refresh()
    text = export.export()
    text = text.replace("www1.example.org", "w.example.org").replace("running = true", "running = false")
    Tenant.objects.create(slug="acme", name="Acme")
    text = text.replace('tenant = ""', 'tenant = "acme"')
    path = written(tmp_path, text)
    assert planned(path)[0] == 2
    said = fleet("apply", str(path), "--yes", "--user", "ada")
    assert "3 of 3 changes made." in said
    jail = Jail.objects.get()
    assert (jail.hostname, jail.state, jail.tenant.slug) == ("w.example.org", "stopped", "acme")
    assert warden.running() == {}
    done = list(Operation.objects.order_by("created_at").values_list("kind", "status", "confirmed_by__username"))
    assert done == [(kind, "done", "ada") for kind in ("jail_give", "jail_change", "jail_stop")]
    assert planned(path)[0] == 0


def test_a_jail_is_destroyed_by_an_operation_that_names_it(warden, tmp_path):
    warden.make("www1", start=False)
    warden.make("www2", start=False)
    warden.refresh()
    path = written(tmp_path, "format = 1\n[hosts.warden1.jails.www1]\nabsent = true\n")
    assert fleet("apply", str(path), "--yes").endswith("Nothing would change.\n")
    fleet("apply", str(path), "--yes", "--prune")
    assert [jail.name for jail in Jail.objects.all()] == ["www2"]
    assert Operation.objects.get().parameters["name"] == "www1"
    assert planned(path, "--prune")[0] == 0


def test_it_stops_at_the_first_failure_unless_told_otherwise(warden, tmp_path):
    warden.make("a1")
    warden.make("b1")
    warden.refresh()
    warden.fail("jail -f /etc/jail.conf.d/a1.conf -q -r a1")
    path = written(tmp_path, export.export().replace("running = true", "running = false"))
    with pytest.raises(CommandError, match=r"(?s)Not all of it.*FAILED.*0 of 2 changes made"):
        fleet("apply", str(path), "--yes")
    assert warden.running().keys() == {"a1", "b1"}
    with pytest.raises(CommandError, match="1 of 2 changes made"):
        fleet("apply", str(path), "--yes", "--keep-going")
    assert warden.running().keys() == {"a1"}


def test_without_a_worker_nothing_is_confirmed(warden, tmp_path):
    warden.make("www1")
    warden.refresh()
    Worker.objects.all().delete()
    path = written(tmp_path, export.export().replace("running = true", "running = false"))
    with pytest.raises(CommandError, match="no worker default is running, which serves warden1: start it"):
        fleet("apply", str(path), "--yes")
    assert not Operation.objects.exists()


def test_a_host_that_changes_meanwhile_is_planned_anew(warden, tmp_path):
    """The worker meets another host than the one that was planned for; the file is what was confirmed."""
    warden.make("www1", "192.0.2.10")
    warden.refresh()
    path = written(tmp_path, export.export().replace("192.0.2.10", "192.0.2.11"))
    calls = []

    def by_hand() -> None:
        if Operation.objects.filter(status="queued").exists() and not calls:
            calls.append(1)
            warden.sh("jail -q -f /etc/jail.conf.d/www1.conf -r www1")

    pause = apply.pause
    apply.pause = lambda seconds: (by_hand(), pause(seconds))
    said = fleet("apply", str(path), "--yes")
    assert calls and "planned anew" in said and "1 of 1 changes made." in said
    assert [str(address) for address in Jail.objects.get().addresses.all()] == ["192.0.2.11"]


def test_only_an_administrator_applies(ada, tmp_path):
    path = written(tmp_path, BASE)
    User.objects.create_user("olga", role=User.Role.OPERATOR)
    with pytest.raises(CommandError, match="'olga' is no administrator"):
        fleet("apply", str(path), "--yes", "--user", "olga")
    User.objects.create_user("bob", role=User.Role.ADMINISTRATOR)
    with pytest.raises(CommandError, match="say which one with --user"):
        fleet("apply", str(path), "--yes")
    User.objects.update(is_active=False)
    with pytest.raises(CommandError, match="no administrator yet"):
        fleet("apply", str(path), "--yes")
    assert not Tenant.objects.exists()


def test_nobody_is_asked_where_nobody_sits(ada, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", StringIO("yes\n"))
    with pytest.raises(CommandError, match="say --yes"):
        fleet("apply", str(written(tmp_path, BASE)))
    assert not Tenant.objects.exists()


def test_a_host_is_changed_as_its_page_would(www1, tmp_path):
    text = export.export().replace('interface = "em0"\nworker', 'interface = "em1"\nworker')
    assert words_of(text) == ["change the host warden1: interface: em0 → em1"]
    fleet("apply", str(written(tmp_path, text)), "--yes")
    assert Host.objects.get().interface == "em1"
    entry = AuditEntry.objects.get(action="host.change")
    assert (entry.before["interface"], entry.after["interface"], entry.source) == ("em0", "em1", "command line")
    assert words_of(text) == []


def test_a_host_comes_with_its_key(ada, tmp_path):
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
    text = (
        f'format = 1\n[hosts.far]\nkind = "ssh"\naddress = "far.example.org"\nusername = "root"\nhost_key = "{key}"\n'
    )
    fleet("apply", str(written(tmp_path, text)), "--yes")
    host = Host.objects.get()
    assert (host.kind, host.port, host.host_key, host.jail_root) == ("ssh", 22, key, "/jail")
    assert [entry.action for entry in AuditEntry.objects.order_by("sequence")] == ["host.add", "host.pin"]
    assert words_of(export.export()) == []


@pytest.mark.parametrize(
    ("before", "file", "after"),
    [
        (("root", ""), 'username = "cellblock"\nbecome = "doas"', ("cellblock", "doas")),
        (("cellblock", "doas"), 'username = "cellblock"\nbecome = "sudo"', ("cellblock", "sudo")),
        (("cellblock", "doas"), 'username = "root"\nbecome = ""', ("root", "")),
        (("cellblock", ""), 'username = "other"', ("other", "")),
        (("cellblock", "sudo"), "port = 2222", ("cellblock", "sudo")),
    ],
)
def test_how_a_host_is_reached_is_changed(ada, tmp_path, before, file, after):
    Host.objects.create(name="far", kind="ssh", address="far.example.org", username=before[0], become=before[1])
    text = f"format = 1\n[hosts.far]\n{file}\n"
    assert words_of(export.export()) == []
    fleet("apply", str(written(tmp_path, text)), "--yes")
    host = Host.objects.get()
    assert (host.username, host.become) == after
    assert words_of(text) == words_of(export.export()) == []


def test_root_needs_no_detour(ada):
    text = 'format = 1\n[hosts.far]\nkind = "ssh"\naddress = "far.example.org"\nbecome = "doas"\n'
    assert plan_of(text).problems[0].startswith("hosts.far.username: root needs no detour")
    text = text.replace("ssh", "simulated").replace("address", "#")
    assert plan_of(text).problems == [
        "hosts.far.become: must be empty: a simulated host lets its worker do everything."
    ]


def test_the_example_of_the_manual_can_be_read_and_planned(ada):
    text = (Path(plan.__file__).parents[2] / "docs/backup.md").read_text()
    example = text.partition("```toml\n")[2].partition("```")[0]
    made = plan_of(example, prune=True)
    assert made.problems == [] and [change.words for change in made.changes][-4:] == [
        "create the jail gold", "make the template web of gold", "publish the template web", "create the jail www1",
    ]  # fmt: skip


# What is refused


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "format: is missing"),
        ("format = 2", "format: must be 1."),
        ('format = "1"', "format: must be a whole number, not text."),
        ("format = 1\nfleet = 1", "fleet: is nothing that this file can say."),
        ("format = 1\ntenants = 5", "tenants: must be tables with names, not a number."),
        ("format = 1\n[tenants.Acme]", 'tenants.Acme: "Acme" contains “A”; only lower case'),
        ("format = 1\n[tenants.host]", 'tenants.host: "host" '),
        ('format = 1\n[tenants."a/../b"]', 'tenants."a/../b": "a/../b" contains “/”'),
        ('format = 1\n[tenants.a]\nname = "x\\u0000"', 'tenants.a.name: "x\\u0000" It contains a control character'),
        ('format = 1\n[networks.lan]\ncidr = "192.0.2.1/24"', 'networks.lan.cidr: "192.0.2.1/24" names an address'),
        ("format = 1\n[networks.lan]", "networks.lan.cidr: is missing."),
        ('format = 1\n[hosts.w]\nkind = "evil"', 'hosts.w.kind: "evil" is none of local, ssh, simulated.'),
        ('format = 1\n[hosts.w]\naddress = "-oProxyCommand=sh"', "hosts.w.address: "),
        ('format = 1\n[hosts.w]\nusername = "root;id"', "hosts.w.username: "),
        ('format = 1\n[hosts.w]\njail_root = "/jail/../etc"', "hosts.w.jail_root: "),
        ('format = 1\n[hosts.w]\nhost_key = "hello"', "hosts.w.host_key: "),
        ('format = 1\n[hosts.w]\nport = 99999', "hosts.w.port: must be 1 to 65535."),
        ('format = 1\n[hosts.w]\nworker = "a b"', "hosts.w.worker: "),
        ('format = 1\n[[hosts.w.releases]]\nname = "../14"', "hosts.w.releases[0].name: "),
        ('format = 1\n[[hosts.w.releases]]\nsource = "ftp://x"', "hosts.w.releases[0].source: "),
        ("format = 1\n[[hosts.w.releases]]", "hosts.w.releases[0].name: is missing."),
        ('format = 1\n[hosts.w.jails."www1;reboot"]', 'hosts.w.jails."www1;reboot": '),
        ('format = 1\n[hosts.w.jails."*"]', 'hosts.w.jails."*": '),
        ('format = 1\n[hosts.w.jails.a]\nhostname = "a\\nb"', "hosts.w.jails.a.hostname: "),
        ('format = 1\n[hosts.w.jails.a]\nhostname = 5', "hosts.w.jails.a.hostname: must be text, not a number."),
        ('format = 1\n[hosts.w.jails.a]\nboot = "yes"', "hosts.w.jails.a.boot: must be true or false, not text."),
        ("format = 1\n[hosts.w.jails.a]\nboot = 1", "hosts.w.jails.a.boot: must be true or false, not a number."),
        ("format = 1\n[hosts.w.jails.a]\nchildren_max = true", "hosts.w.jails.a.children_max: must be a whole number"),
        ("format = 1\n[hosts.w.jails.a]\nsecurelevel = 4", "hosts.w.jails.a.securelevel: must be -1 to 3."),
        ('format = 1\n[hosts.w.jails.a]\nquota = "10 apples"', "hosts.w.jails.a.quota: "),
        ("format = 1\n[hosts.w.jails.a]\nquota = 1979-05-27", "hosts.w.jails.a.quota: must be a size like “10 GiB”"),
        ('format = 1\n[hosts.w.jails.a]\n"exec.start" = "/bin/sh"', 'hosts.w.jails.a."exec.start": is nothing'),
        ("format = 1\n[hosts.w.jails.a]\naddresses = [5]", "hosts.w.jails.a.addresses[0]: must be a table"),
        (
            'format = 1\n[hosts.w.jails.a]\naddresses = [{network = "lan", ip = "192.0.2.1/24"}]',
            "hosts.w.jails.a.addresses[0].ip: ",
        ),
        (
            'format = 1\n[hosts.w.jails.a]\nrelease = "14.2-RELEASE"\ntemplate = "web"',
            "hosts.w.jails.a.template: cannot stand beside release",
        ),
        ("format = 1\n[a", "The file is not TOML"),
        (f"format = {'9' * 5000}", "The file is not TOML"),
        (f"format = {'[' * 100000}", "The file is not TOML"),
    ],
)  # fmt: skip
def test_hostile_values_are_refused_by_table_and_key(text, problem):
    with pytest.raises(document.Unreadable) as refused:
        document.read(text.encode())
    assert any(line.startswith(problem) for line in refused.value.problems), refused.value.problems
    assert str(refused.value).isprintable() or "\n" in str(refused.value)


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(document.Unreadable) as refused:
        document.read(b'format = 1\n[tenants.Acme]\n[hosts.w]\nport = 0\nkind = "x"\n')
    assert len(refused.value.problems) == 3


TEXTS = st.text(st.sampled_from("[]={}\"'.,\n# ab019-_hostsjails\\u\x00é"), max_size=80)


@given(st.one_of(st.binary(max_size=200), TEXTS.map(lambda text: f"format = 1\n{text}".encode())))
def test_any_bytes_are_read_or_refused(content):
    try:
        document.read(content)
    except document.Unreadable as refused:
        assert refused.problems


VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.datetimes()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["kind", "hostname", "addresses", "boot", "running", "tenant", "quota", "limits", "release", "template", "absent"]
)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_any_value_of_a_jail_is_read_or_refused(values):
    import tomli_w

    text = tomli_w.dumps({"format": 1, "hosts": {"w": {"jails": {"a": values}}}})
    try:
        document.read(text.encode())
    except document.Unreadable as refused:
        assert all(line.startswith("hosts.w.jails.a.") for line in refused.problems)


def test_a_file_that_is_not_there_is_said(ada, tmp_path):
    with pytest.raises(CommandError, match="No such file"):
        fleet("plan", str(tmp_path / "nothing"))
    with pytest.raises(CommandError, match="No such file"):
        fleet("export", str(tmp_path / "no" / "where"))
    fleet("export", str(tmp_path / "fleet.toml"))
    assert tomllib.loads((tmp_path / "fleet.toml").read_text()) == {"format": 1}
