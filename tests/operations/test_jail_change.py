"""Changing a jail: what each value takes, and that nothing but what was asked for changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jails.models import Address, Network, User
from jails.operations import jail_change, lifecycle
from jails.operations.kind import Refused

FULL = {
    "jail": "7b0d3f2e-0000-4000-8000-000000000000",
    "hostname": "www1.example.org",
    "addresses": [],
    "boot": False,
    "limits": {"quota": None, "children_max": 0, "securelevel": -1, "enforce_statfs": 2},
}


def wish(warden, row, *, ips=None, limits=None, **values):
    """All that a form would send for a jail, with these changes."""
    own = list(row.addresses.values_list("ip", flat=True))
    addresses = [{"network": warden.network.pk, "ip": ip} for ip in (own if ips is None else ips)]
    base = {"jail": str(row.uuid), "hostname": row.hostname, "addresses": addresses, "boot": row.boot}
    return base | {"limits": FULL["limits"] | row.limits | (limits or {})} | values


def change(warden, row, **changes):
    operation = warden.do("jail_change", **wish(warden, row, **changes))
    row.refresh_from_db()
    return operation


def refused(warden, row, **changes):
    with pytest.raises(Refused) as refusal:
        warden.draft("jail_change", **wish(warden, row, **changes))
    return refusal.value.errors


def jailed(warden, parameter, name="www1"):
    return warden.simulation.run("jls", "-j", name, parameter).strip()


def boots(warden):
    return warden.facts().boot_state().boots_today


# Live


def test_a_hostname_changes_while_the_jail_runs(warden):
    www1 = warden.make("www1", "192.0.2.11")
    jid = jailed(warden, "jid")
    operation = change(warden, www1, hostname="shop.example.org")
    assert (operation.status, operation.error) == ("done", "")
    assert operation.plan["summary"] == ["hostname: www1.example.org → shop.example.org (live)"]
    assert jailed(warden, "host.hostname") == "shop.example.org" and jailed(warden, "jid") == jid
    assert "host.hostname = shop.example.org;" in warden.read(www1.config_path)
    assert www1.hostname == "shop.example.org"
    assert "jail -m name=www1 host.hostname=shop.example.org" in warden.commands()


def test_limits_change_while_the_jail_runs(warden):
    www1 = warden.make("www1")
    operation = change(warden, www1, limits={"children_max": 3, "securelevel": 2, "enforce_statfs": 1})
    assert operation.status == "done"
    assert [jailed(warden, name) for name in ("children.max", "securelevel", "enforce_statfs")] == ["3", "2", "1"]
    assert www1.limits["children_max"] == 3
    # What is as it is by default is not written.
    operation = change(warden, www1, limits={"children_max": 0, "enforce_statfs": 2})
    assert operation.status == "done" and jailed(warden, "children.max") == "0"
    text = warden.read(www1.config_path)
    assert "children.max" not in text and "securelevel = 2;" in text and "enforce_statfs = 2;" in text


def test_a_live_change_that_fails_is_undone(warden):
    www1 = warden.make("www1", "192.0.2.11", boot=True)
    before = warden.picture()
    operation = warden.confirm("jail_change", **wish(warden, www1, hostname="shop.example.org", boot=False))
    warden.fail("sysrc jail_enable=NO", "sysrc: it resists", nth=1)
    assert warden.work(operation) == "failed"
    assert "sysrc: it resists" in operation.error
    assert warden.picture() == before and jailed(warden, "host.hostname") == "www1.example.org"
    www1.refresh_from_db()
    assert www1.hostname == "www1.example.org" and www1.boot


def test_a_stopped_jail_has_only_its_file_changed(warden):
    www1 = warden.make("www1", "192.0.2.11", start=False)
    operation = change(warden, www1, hostname="shop.example.org", ips=["192.0.2.12"])
    assert operation.status == "done" and warden.running() == {}
    assert operation.plan["summary"][0].endswith("(from its next start)")
    assert [line for line in warden.commands() if line.startswith("jail ")] == []
    assert "ip4.addr = em0|192.0.2.12/32;" in warden.read(www1.config_path)


# With a restart


def test_an_address_is_changed_in_the_one_right_order(warden):
    """Stop with the old file, write, start: otherwise the old address would stay on the interface."""
    www1 = warden.make("www1", "192.0.2.11")
    operation = change(warden, www1, ips=["192.0.2.12", "192.0.2.13"], hostname="shop.example.org")
    order = [line for line in warden.commands() if line.startswith(("jail ", "mv ", "ifconfig em0"))]
    assert (operation.status, operation.error) == ("done", "")
    assert operation.plan["summary"] == [
        "hostname: www1.example.org → shop.example.org (live)",
        "addresses: 192.0.2.11 → 192.0.2.12, 192.0.2.13 (needs a restart)",
    ]
    assert warden.addresses() == ["192.0.2.12", "192.0.2.13"]
    assert jailed(warden, "ip4.addr") == "192.0.2.12,192.0.2.13"
    assert jailed(warden, "host.hostname") == "shop.example.org"
    assert [line.split(" /")[0] for line in order] == [
        "jail -f",
        "ifconfig em0 inet 192.0.2.11/32 -alias",
        "mv -f",
        "jail -f",
        "ifconfig em0 inet 192.0.2.12/32 alias",
        "ifconfig em0 inet 192.0.2.13/32 alias",
    ]
    assert order[0].endswith("-r www1") and order[3].endswith("-c www1")


def test_a_failed_start_with_the_new_file_starts_it_with_the_old_one(warden):
    www1 = warden.make("www1", "192.0.2.11")
    before = warden.picture()
    operation = warden.confirm("jail_change", **wish(warden, www1, ips=["192.0.2.12"]))
    warden.fail("ifconfig em0 inet 192.0.2.12/32 alias", "ifconfig: it resists")
    assert warden.work(operation) == "failed", operation.error
    assert warden.picture() == before and warden.addresses() == ["192.0.2.11"]
    assert list(Address.objects.values_list("ip", "operation")) == [("192.0.2.11", None)]


@pytest.mark.parametrize("match", ["jail -f /etc/jail.conf.d/www1.conf -q -r", "mv -f /etc/jail.conf.d"])
def test_a_failure_before_that_leaves_it_running_as_it_was(warden, match):
    www1 = warden.make("www1", "192.0.2.11")
    before = warden.picture()
    operation = warden.confirm("jail_change", **wish(warden, www1, ips=["192.0.2.12"]))
    warden.fail(match)
    assert warden.work(operation) == "failed", operation.error
    assert warden.picture() == before


def test_a_family_comes_and_goes(warden):
    six = Network.objects.create(name="six", cidr="2001:db8::/64")
    www1 = warden.make("www1", "192.0.2.11")
    both = [{"network": warden.network.pk, "ip": "192.0.2.11"}, {"network": six.pk, "ip": "2001:db8::11"}]
    assert change(warden, www1, addresses=both).status == "done"
    text = warden.read(www1.config_path)
    assert "em0|2001:db8::11/128" in text and "ip6 = disable" not in text
    assert jailed(warden, "ip6.addr") == "2001:db8::11"
    assert change(warden, www1, addresses=both[1:]).status == "done"
    text = warden.read(www1.config_path)
    assert "ip4 = disable;" in text and "ip4.addr" not in text
    assert change(warden, www1, ips=[]).status == "done"
    assert warden.addresses() == [] and not Address.objects.exists()


def test_the_address_is_taken_when_confirmed_and_given_back_when_cancelled(warden):
    www1, www2 = warden.make("www1", "192.0.2.11"), warden.make("www2", "192.0.2.12")
    operation = warden.confirm("jail_change", **wish(warden, www1, ips=["192.0.2.13"]))
    assert "belongs to www1" in refused(warden, www2, ips=["192.0.2.13"])["addresses"]
    lifecycle.cancel(operation, user=warden.user)
    assert change(warden, www2, ips=["192.0.2.13"]).status == "done"
    assert set(Address.objects.values_list("ip", flat=True)) == {"192.0.2.11", "192.0.2.13"}


def test_two_who_want_one_address_are_told_apart_when_they_confirm(warden):
    www1, www2 = warden.make("www1", "192.0.2.11"), warden.make("www2", "192.0.2.12")
    drafts = [warden.draft("jail_change", **wish(warden, row, ips=["192.0.2.13"])) for row in (www1, www2)]
    lifecycle.confirm(drafts[0], drafts[0].digest, user=warden.user)
    with pytest.raises(Refused, match="Somebody else"):
        lifecycle.confirm(drafts[1], drafts[1].digest, user=warden.user)


# A file that was changed by hand


def test_what_was_changed_by_hand_stays(warden):
    www1 = warden.make("www1", "192.0.2.11", start=False)
    text = warden.read(www1.config_path)
    by_hand = text.replace("\texec.clean;", "\t# ask Ada first\n\texec.clean;\n\tallow.raw_sockets;   // for ping")
    by_hand = by_hand.replace("ip4.addr = em0|192.0.2.11/32;", 'ip4.addr = "em0|192.0.2.11/32", "lo0|127.0.1.1";')
    assert by_hand.count("\n") == text.count("\n") + 2 and "lo0" in by_hand
    warden.write(www1.config_path, by_hand)
    operation = change(warden, www1, hostname="shop.example.org", ips=["192.0.2.12"])
    assert operation.status == "done"
    assert operation.plan["warnings"] == [
        "/etc/jail.conf.d/www1.conf was changed by hand; what was changed there stays."
    ]
    after = warden.read(www1.config_path)
    expected = by_hand.replace("www1.example.org", "shop.example.org")
    expected = expected.replace('"em0|192.0.2.11/32", "lo0|127.0.1.1"', "lo0|127.0.1.1, em0|192.0.2.12/32")
    assert after == expected


def test_a_file_that_cannot_be_changed_without_loss_is_left(warden):
    www1 = warden.make("www1", start=False)
    text = warden.read(www1.config_path)
    warden.write(www1.config_path, text.replace("host.hostname =", "host.hostname /* why */ ="))
    assert "a comment stands inside the statement" in refused(warden, www1, hostname="shop.example.org")[""]


def test_a_file_that_changes_meanwhile_shows_a_new_plan(warden):
    www1 = warden.make("www1")
    operation = warden.confirm("jail_change", **wish(warden, www1, hostname="shop.example.org"))
    by_hand = warden.read(www1.config_path).replace("exec.clean;", "exec.clean;\n\tallow.raw_sockets;")
    warden.write(www1.config_path, by_hand)
    assert warden.work(operation) == "stale"
    assert warden.read(www1.config_path) == by_hand


def test_a_file_that_changes_between_plan_and_step_is_kept(warden):
    www1 = warden.make("www1")
    operation = warden.confirm("jail_change", **wish(warden, www1, hostname="shop.example.org"))
    spoil = lambda: warden.sh("echo '# mine' >>/etc/jail.conf.d/www1.conf")  # noqa: E731
    assert warden.work_with(operation, "/etc/jail.conf.d/www1.conf", before=spoil) == "failed"
    assert "has changed since the plan was made" in operation.error
    assert warden.read(www1.config_path).endswith("# mine\n") and jailed(warden, "host.hostname") == "www1.example.org"


# Boot and quota


def test_boot_changes_for_one_jail_alone(warden):
    www1, www2 = warden.make("www1", boot=True), warden.make("www2", boot=True)
    assert boots(warden) == ("www1", "www2")
    assert change(warden, www1, boot=False).status == "done"
    assert boots(warden) == ("www2",) and not www1.boot
    assert change(warden, www1, boot=True).status == "done"
    assert boots(warden) == ("www2", "www1") and www1.boot and www2.boot


def test_boot_that_was_changed_by_hand_already_is_only_noted(warden):
    www1 = warden.make("www1")
    warden.sh("sysrc -q jail_enable=YES jail_list=www1")
    operation = change(warden, www1, boot=True)
    assert operation.status == "done" and operation.plan["steps"] == [] and www1.boot


def test_a_failed_change_of_boot_restores_the_order(warden):
    www1 = warden.make("www1", boot=True, start=False)
    warden.make("www2", boot=True, start=False)
    before = warden.picture()
    operation = warden.confirm("jail_change", **wish(warden, www1, boot=False, ips=["192.0.2.11"]))
    assert [step["key"] for step in operation.plan["steps"]] == ["addresses", "file-www1", "boot"]
    warden.fault(match="sysrc jail_list=www2", fail={"rc": 1, "stderr": "sysrc: no\n", "nth": 1})
    assert warden.work(operation) == "failed"
    assert warden.picture() == before and boots(warden) == ("www1", "www2")


def test_a_quota(warden):
    www1 = warden.make("www1")
    operation = change(warden, www1, limits={"quota": 1 << 30})
    assert operation.status == "done" and operation.plan["summary"] == ["quota: none → 1 GiB (live)"]
    assert warden.facts().dataset(www1.dataset).quota == 1 << 30
    assert change(warden, www1, limits={"quota": None}).status == "done"
    assert warden.facts().dataset(www1.dataset).quota == 0 and www1.limits["quota"] is None


def test_a_quota_below_what_is_used(warden):
    www1 = warden.make("www1")
    warden.sh("dd if=/dev/zero of=/jail/www1/root/big bs=1m count=3 2>/dev/null")
    assert "already: give it at least that" in refused(warden, www1, limits={"quota": 1 << 20})["quota"]


def test_a_quota_of_a_dataset_that_is_somebody_elses_by_now(warden):
    www1 = warden.make("www1", start=False)
    warden.sh(f"zfs destroy {www1.dataset}; zfs create -o mountpoint=/jail/www1 {www1.dataset}")
    assert "is not the dataset that was made for www1" in refused(warden, www1, limits={"quota": 1 << 30})["quota"]


def test_no_quota_on_ufs(plain_warden):
    www1 = plain_warden.make("www1", start=False)
    assert set(refused(plain_warden, www1, limits={"quota": 1 << 30})) == {"quota"}


# What is refused


def test_nothing_to_change(warden):
    www1 = warden.make("www1", "192.0.2.11")
    assert refused(warden, www1) == {"": "Nothing changes: every value is as it was."}


def test_a_jail_that_the_panel_did_not_make(warden):
    warden.sh("jail -c name=lost path=/jail persist")
    lost = warden.find("lost")
    assert "was not made by Cellblock" in refused(warden, lost, hostname="a.example.org")[""]


@pytest.mark.parametrize(
    ("ip", "words"),
    [
        ("192.0.2.12", "belongs to www2"),
        ("192.0.2.2", "is in use on warden1: interface em0"),
        ("198.51.100.9", "is not in lan"),
        ("192.0.2.255", "broadcast"),
    ],
)
def test_an_address_that_cannot_be(warden, ip, words):
    www1 = warden.make("www1", "192.0.2.11")
    warden.make("www2", "192.0.2.12", start=False)
    assert words in refused(warden, www1, ips=[ip])["addresses"]


def test_only_administrators_widen_a_jail(warden):
    www1 = warden.make("www1", limits=FULL["limits"] | {"children_max": 5})
    kind, host = jail_change.kind, warden.row
    assert kind.widens(host, wish(warden, www1, hostname="a.example.org")) == []
    assert kind.widens(host, wish(warden, www1, limits={"children_max": 2, "securelevel": 1})) == []
    assert kind.widens(host, wish(warden, www1, limits={"children_max": 6})) == ["children.max"]
    assert kind.widens(host, wish(warden, www1, limits={"enforce_statfs": 1})) == ["enforce_statfs"]
    operator = User.objects.create_user("olga", role=User.Role.OPERATOR)
    operator.operated_hosts.add(host)
    warden.user = operator
    with pytest.raises(Exception, match="enforce_statfs"):
        warden.draft("jail_change", **wish(warden, www1, limits={"enforce_statfs": 0}))
    assert warden.draft("jail_change", **wish(warden, www1, hostname="a.example.org")).status == "draft"


def test_what_a_form_shows_beside_each_value(warden):
    www1 = warden.make("www1", "192.0.2.11")
    facts = warden.facts()
    wanted = wish(warden, www1, hostname="shop.example.org", ips=["192.0.2.12"], boot=True, limits={"quota": 1 << 30})
    assert [tuple(effect) for effect in jail_change.effects_of(www1, wanted, facts)] == [
        ("hostname", "www1.example.org", "shop.example.org", "live"),
        ("addresses", ["192.0.2.11"], ["192.0.2.12"], "restart"),
        ("boot", False, True, "boot"),
        ("quota", None, 1 << 30, "live"),
    ]
    assert jail_change.effects_of(www1, {}, facts) == []


TEXTS = st.one_of(
    st.text(max_size=300),
    st.sampled_from(["a;b", "a\nb", "$(id)", "a'b", 'a"b', "..", "a\0b", "x" * 300, "аbc", "a b", "a{b", "a@b", ""]),
)
HOSTILE = {
    "jail": TEXTS,
    "hostname": TEXTS.filter(lambda text: not text.replace("-", "").replace(".", "").isalnum()),
    "addresses": st.one_of(TEXTS, st.lists(st.fixed_dictionaries({"network": st.integers(), "ip": TEXTS}), min_size=1)),
    "boot": st.one_of(TEXTS, st.integers(), st.none()),
    "limits": st.one_of(TEXTS, st.integers(), st.none()),
}


@pytest.mark.parametrize("field", list(HOSTILE))
@given(data=st.data())
def test_hostile_values_are_refused_with_the_field_named(field, data):
    with pytest.raises(Refused) as refusal:
        jail_change.kind.clean(FULL | {field: data.draw(HOSTILE[field])})
    assert field in refusal.value.errors


@pytest.mark.parametrize("limit", ["quota", "children_max", "securelevel", "enforce_statfs"])
@pytest.mark.parametrize("value", ["1", 1.5, -7, 10**30, True, [], "a\nb"])
def test_hostile_limits(limit, value):
    with pytest.raises(Refused) as refusal:
        jail_change.kind.clean(FULL | {"limits": FULL["limits"] | {limit: value}})
    assert set(refusal.value.errors) == {limit}


@pytest.mark.parametrize("name", ["hostname", "addresses", "boot", "limits"])
def test_what_is_left_out_is_not_taken_for_a_wish(name):
    with pytest.raises(Refused) as refusal:
        jail_change.kind.clean({key: value for key, value in FULL.items() if key != name})
    assert name in refusal.value.errors
    with pytest.raises(Refused) as refusal:
        jail_change.kind.clean(FULL | {"limits": {"quota": None}})
    assert set(refusal.value.errors) == {"children_max", "securelevel", "enforce_statfs"}
