"""Each action of the policy that changes or exposes something leaves an entry of the log, or has a reason not to."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from jails import policy
from jails.operations import kind

TOP = Path(__file__).parent.parent
ACTION = re.compile(r"[a-z]+\.[a-z_]+")
WRITERS = {"record", "entry", "note", "_note", "_decide", "_record", "_entry", "_turn_down"}
"""Functions that write an entry of the action they are given."""
LOOKING = "to look at a page is none; what is taken out and recordings that are read have actions of their own"
FINER = "asked of what another action does, whose entry it is"

ENTRIES: dict[str, str | tuple[str, ...]] = {
    "panel.overview": LOOKING,
    "host.view": LOOKING,
    "host.refresh": "the panel reads the host, as it does by itself every minute; nothing changes",
    "host.add": ("host.add",),
    "host.change": ("host.change", "host.pin"),
    "host.access": "tries harmlessly what the panel may do on the host; nothing changes",
    "host.forget": ("host.forget",),
    "host.setup": ("host.setup",),
    "orphan.view": LOOKING,
    "host.clean": ("host.clean",),
    "host.fix": ("host.fix",),
    "host.fix_system": FINER,
    "release.view": LOOKING,
    "release.fetch": ("release.fetch",),
    "release.trust": ("release.trust",),
    "release.remove": ("release.remove",),
    "template.view": LOOKING,
    "template.create": ("template.create",),
    "template.publish": ("template.publish",),
    "template.remove": ("template.remove",),
    "network.view": LOOKING,
    "network.add": ("network.add",),
    "network.remove": ("network.remove",),
    "jail.view": ("jail.export",),
    "inside.view": LOOKING,
    "inside.read": ("inside.read",),
    "jail.power": ("jail.power",),
    "jail.snapshot": ("jail.snapshot",),
    "jail.sandbox": ("jail.sandbox",),
    "jail.create": ("jail.create",),
    "jail.resize": FINER,
    "jail.keys": ("jail.keys",),
    "jail.keys_own": FINER,
    "jail.revoke": FINER,
    "jail.change": ("jail.change",),
    "drift.view": ("jail.drift",),
    "jail.repair": ("jail.repair",),
    "jail.accept": ("jail.accept",),
    "jail.rename": ("jail.rename",),
    "jail.destroy": ("jail.destroy",),
    "jail.give": ("jail.give",),
    "jail.assign": FINER,
    "jail.adopt": ("jail.adopt",),
    "jail.console": ("console.open", "console.run", "console.close"),
    "console.view": LOOKING,
    "recording.view": ("recording.read",),
    "jail.breakglass": ("jail.breakglass",),
    "breakglass.view": LOOKING,
    "breakglass.end": ("jail.breakglass_end",),
    "breakglass.acknowledge": ("jail.breakglass_read",),
    "operation.view": LOOKING,
    "agreement.view": LOOKING,
    "agreement.propose": ("agreement.propose",),
    "agreement.set": ("agreement.set",),
    "agreement.decide": ("agreement.accept", "agreement.refuse"),
    "agreement.withdraw": ("agreement.withdraw",),
    "agreement.read": ("agreement.read",),
    "approval.view": LOOKING,
    "approval.decide": ("approval.grant", "approval.refuse"),
    "approval.withdraw": ("approval.withdraw",),
    "tenant.list": LOOKING,
    "tenant.view": LOOKING,
    "tenant.add": ("tenant.add",),
    "tenant.archive": ("tenant.archive",),
    "tenant.plan": ("tenant.plan", "tenant.plan_places"),
    "usage.view": ("tenant.usage_export",),
    "tenant.invite": ("tenant.invite", "invitation.use", "invitation.withdraw"),
    "tenant.members": ("tenant.member_change", "tenant.member_remove"),
    "user.view": LOOKING,
    "user.invite": ("user.invite",),
    "user.disable": ("user.disable", "user.enable"),
    "user.change": ("user.change",),
    "user.link": ("user.link",),
    "user.factors": ("user.factors",),
    "user.sign_out": ("user.sign_out",),
    "audit.view": ("audit.export",),
    "audit.view_own": ("audit.export",),
    "search.share": ("search.share",),
    "search.remove": ("search.remove",),
    "audit.review": ("audit.review",),
}
"""Action of the policy → the entries that tell of it, or why there is none."""
BESIDE = (
    "session.sign_in", "session.sign_out", "session.lockout", "session.step_up", "session.end", "operation.confirm",
    "operation.cancel", "operation.resume", "approval.ask", "user.password", "user.email", "user.key_add",
    "user.key_remove", "user.factor_change", "fleet.export", "panel.backup", "panel.restore", "audit.broken",
)  # fmt: skip
"""What no action of the policy stands for, and must be entries all the same."""


def test_every_action_has_its_entries_or_a_reason() -> None:
    assert ENTRIES.keys() == policy.ACTIONS.keys()
    wanted = {name for told in ENTRIES.values() if isinstance(told, tuple) for name in told}
    assert wanted - written() == set()
    assert set(BESIDE) - written() == set()


def test_what_a_kind_of_operation_does_is_an_entry_of_the_action_it_asks_for() -> None:
    for name in kind.KINDS:
        assert ENTRIES[kind.get(name).action] == (kind.get(name).action,) or name == "tenant_limits", name


@cache
def written() -> frozenset[str]:
    """Actions that some code writes an entry of, by its words: given to a writer, or a kind's own."""
    found = {kind.get(name).action for name in kind.KINDS}
    for path in [*(TOP / "jails").rglob("*.py"), *(TOP / "panel").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and _name(node.func) in WRITERS:
                found |= _texts(node)
            elif isinstance(node, ast.Assign) and path.is_relative_to(TOP / "jails" / "looks"):
                found |= _texts(node.value)  # the action of a kind of look is the one its entry has
            elif isinstance(node, (ast.Assign, ast.IfExp)):
                value = node.value if isinstance(node, ast.Assign) else node
                target = node.targets[0] if isinstance(node, ast.Assign) else None
                if target is None or (isinstance(target, ast.Name) and target.id == "action"):
                    found |= _texts(value)
    return frozenset(found)


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _texts(node: ast.AST) -> set[str]:
    """Words like an action in it."""
    constants = (one.value for one in ast.walk(node) if isinstance(one, ast.Constant))
    return {one for one in constants if isinstance(one, str) and ACTION.fullmatch(one)}
