"""What an entry of the log says that somebody did, in words. The log itself keeps the action's name."""

from __future__ import annotations

from jails.models import AuditEntry

DID = {
    "session.sign_in": "signed in",
    "session.sign_out": "signed out",
    "session.lockout": "was locked out",
    "session.end": "ended a session",
    "session.step_up": "proved once more to be",
    "user.password": "set a password",
    "user.oidc": "linked or unlinked an account elsewhere of",
    "user.email": "changed the address of",
    "user.factor_change": "changed the second factors of",
    "user.factors": "forgot the second factors of",
    "user.sign_out": "ended all sessions of",
    "user.invite": "invited",
    "user.link": "made a sign-in link for",
    "user.change": "changed",
    "user.disable": "disabled",
    "user.enable": "enabled",
    "user.key_add": "added a key to",
    "user.key_remove": "removed a key from",
    "invitation.use": "used an invitation",
    "audit.review": "signed off",
    "search.share": "shared the search",
    "search.remove": "removed the shared search",
    "invitation.withdraw": "withdrew the invitation of",
    "tenant.add": "added the tenant",
    "tenant.invite": "invited",
    "tenant.archive": "archived the tenant",
    "tenant.plan": "changed the plan of",
    "tenant.usage_export": "took out the usage of",
    "tenant.plan_places": "changed what may be used by",
    "tenant.member_change": "changed the role of",
    "tenant.member_remove": "removed the member",
    "host.add": "added the host",
    "host.change": "changed the host",
    "host.pin": "pinned the key of",
    "host.forget": "forgot the host",
    "network.add": "added the network",
    "network.remove": "removed the network",
    "release.trust": "vouched for",
    "agreement.propose": "proposed an agreement on",
    "agreement.accept": "accepted the agreement on",
    "agreement.refuse": "turned down the agreement on",
    "agreement.withdraw": "withdrew the proposed agreement on",
    "agreement.set": "set the agreement alone on",
    "agreement.read": "read of the agreement on",
    "approval.ask": "asked for approval of",
    "approval.grant": "approved",
    "approval.refuse": "did not approve",
    "approval.withdraw": "took back the approval of",
    "jail.breakglass": "broke the glass of",
    "jail.breakglass_end": "left by break-glass",
    "jail.breakglass_read": "read of the break-glass into",
    "console.open": "opened a console in",
    "console.run": "ran a command in",
    "console.close": "left the console in",
    "recording.read": "read a recording of",
    "recording.remove": "removed an old recording of",
    "inside.read": "read a file in",
    "jail.drift": "noticed a change of",
    "tenant.rebuild": "rebuilt from its hosts the tenant",
    "network.rebuild": "rebuilt from its host the network",
    "release.rebuild": "rebuilt from its host the release",
    "template.rebuild": "rebuilt from its host the template",
    "jail.rebuild": "rebuilt from its host the jail",
    "audit.broken": "found the log broken",
    "jail.export": "took out the list of jails",
    "fleet.export": "took out the fleet as a file",
    "audit.export": "took out of the log",
    "panel.backup": "made a backup",
    "panel.restore": "restored a backup",
    "sandbox.extend": "gave more time to",
    "operation.plan": "planned",
    "operation.confirm": "confirmed",
    "operation.cancel": "cancelled",
    "operation.discard": "discarded",
    "operation.resume": "resumed",
    "operation.restore": "put down",
    # What operations do, by the action of their kind: of some a tenant has an entry of its own.
    "host.clean": "removed what was left on",
    "host.fix": "mended",
    "host.setup": "set up",
    "jail.accept": "took over what was changed of",
    "jail.adopt": "took over the jail",
    "jail.change": "changed the jail",
    "jail.create": "made the jail",
    "jail.destroy": "destroyed",
    "jail.give": "gave away the jail",
    "jail.keys": "changed who has keys in",
    "jail.power": "started or stopped",
    "jail.rename": "renamed",
    "jail.repair": "undid what was changed of",
    "jail.sandbox": "made a sandbox of",
    "jail.snapshot": "used the snapshots of",
    "operation.run": "worked at",
    "release.fetch": "fetched a release on",
    "release.remove": "removed the release",
    "template.create": "made the template",
    "template.publish": "published the template",
    "template.remove": "removed the template",
}
TO_DO = {
    "host.access": "change how to reach",
    "host.clean": "remove what was left on",
    "host.fix": "mend",
    "host.fix_system": "mend the system of",
    "host.setup": "set up",
    "host.view": "see the host",
    "inside.read": "read a file in",
    "inside.view": "look into",
    "jail.accept": "take over what was changed of",
    "jail.adopt": "take over",
    "jail.change": "change the jail",
    "jail.create": "make a jail on",
    "jail.destroy": "destroy",
    "jail.rename": "rename",
    "jail.assign": "choose a tenant for",
    "jail.breakglass": "break the glass of",
    "jail.console": "open a console in",
    "jail.give": "give away",
    "jail.keys": "change who has keys in",
    "jail.keys_own": "take their own keys out of",
    "jail.power": "start or stop",
    "jail.repair": "undo what was changed of",
    "jail.resize": "change the size of",
    "jail.revoke": "take somebody's keys out of",
    "jail.sandbox": "make a sandbox of",
    "jail.snapshot": "use the snapshots of",
    "jail.view": "see the jail",
    "console.view": "see the consoles of",
    "drift.view": "compare with its host",
    "breakglass.end": "end the break-glass into",
    "breakglass.acknowledge": "take note of the break-glass into",
    "recording.view": "play a recording of",
    "operation.view": "see the operation",
    "release.trust": "vouch for",
    "tenant.invite": "invite people to",
    "tenant.members": "change the members of",
    "tenant.plan": "change the plan of",
    "tenant.view": "see the tenant",
    "usage.view": "see the usage of",
    "user.factors": "forget the second factors of",
    "user.link": "make a sign-in link for",
    "user.sign_out": "end the sessions of",
    "audit.review": "sign off",
}
"""What somebody wanted who was refused, by the action of the policy, where its name alone does not say it."""
THINGS = {
    "auditreview": "review",
    "breakglass": "break-glass",
    "membership": "member",
    "savedsearch": "search",
    "sshkey": "SSH key",
    "tenantplan": "plan",
    "trustedmanifest": "MANIFEST",
    "user": "person",
}
"""Kinds of things in the log whose names there are no words."""
SIGN_IN = ("session.sign_in", "session.lockout")
WANTED = "wanted to"
"""Before the name of an action that was refused, or that only its name describes."""
RAN = "ran"
"""A worker's entry at the end of an operation: who confirmed it, with the operation's title and outcome."""


def of_action(action: str) -> str:
    """An action to choose from a list: `added the host`; `jail change` where there are no words for it."""
    return DID.get(action, action.replace(".", " ").replace("_", " "))


def thing(kind: str) -> str:
    """The kind of thing that an entry is about."""
    return THINGS.get(kind, kind)


def did(entry: AuditEntry) -> str:
    """`signed in`, `confirmed`, `ran`; the action's name where there are no words for it."""
    if entry.operation and entry.source == "worker":
        return RAN
    if entry.outcome == "refused" and entry.action not in ("operation.confirm", *SIGN_IN):
        kind, _, verb = entry.action.partition(".")
        by_name = f"{verb.replace('_', ' ')} ({kind})"
        return f"{WANTED} {TO_DO.get(entry.action, by_name)}"
    return DID.get(entry.action, entry.action)
