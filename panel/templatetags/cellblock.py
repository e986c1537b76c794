from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from functools import cache, lru_cache
from html import escape
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from jails import audit, policy
from jails.operations import kind as kinds
from panel import words
from panel.charts import counted

register = template.Library()


def fill(pattern: str, *parts: str) -> SafeString:
    """As format_html, of texts alone, which all but SafeString are escaped: for what stands in every row of a list."""
    texts = [part if part.__class__ is SafeString else escape(part) for part in parts]
    return SafeString(pattern.format(*texts))  # nosec B703


def joined(parts: Iterable[SafeString], between: str = "") -> SafeString:
    """Markup that `fill` has made, one behind the other."""
    return SafeString(between.join(parts))  # nosec B703


STATES = {
    # word of a jail, host, operation or step → (icon, colour, word shown)
    "running": ("player-play", "green", "running"),
    "up": ("circle-check", "green", "up"),
    "done": ("circle-check", "green", "done"),
    "ready": ("circle-check", "green", "ready"),
    "ONLINE": ("circle-check", "green", "online"),
    "skipped": ("check", "secondary", "was so already"),
    "stopped": ("player-stop", "secondary", "stopped"),
    "working": ("loader-2", "blue", "running"),
    "pending": ("circle-dashed", "secondary", "waiting"),
    "broken_off": ("alert-triangle", "red", "broken off"),
    "undo_failed": ("alert-triangle", "red", "could not be undone"),
    "left_out": ("minus", "secondary", "not run"),
    "draft": ("circle-dashed", "secondary", "draft"),
    "queued": ("clock", "blue", "waiting"),
    "new": ("circle-dashed", "blue", "not seen yet"),
    "undoing": ("arrow-back-up", "yellow", "rolling back"),
    "undone": ("arrow-back-up", "secondary", "undone"),
    "kept": ("minus", "secondary", "not undone"),
    "dying": ("clock", "yellow", "dying"),
    "stale": ("alert-triangle", "yellow", "the host has changed"),
    "cancelled": ("ban", "secondary", "cancelled, undone"),
    "discarded": ("ban", "secondary", "discarded"),
    "failed": ("circle-x", "red", "failed"),
    "refused": ("ban", "red", "refused"),
    "stuck": ("alert-triangle", "red", "needs attention"),
    "missing": ("help-circle", "red", "missing on the host"),
    "fine": ("circle-check", "green", "fine"),
    "warning": ("alert-triangle", "yellow", "warning"),
    "to fix": ("circle-x", "red", "to fix"),
    "pass": ("circle-check", "green", "pass"),
    "doubt": ("alert-triangle", "yellow", "in part"),
    "fail": ("circle-x", "red", "fail"),
    "asked": ("help-circle", "yellow", "asked"),
    "granted": ("circle-check", "green", "approved"),
    "used": ("circle-check", "secondary", "used"),
    "expired": ("clock", "secondary", "expired"),
    "withdrawn": ("ban", "secondary", "withdrawn"),
    "unknown": ("help-circle", "secondary", "unknown"),
    "unpinned": ("key", "yellow", "key to compare"),
    "unavailable": ("plug-connected-x", "red", "does not answer"),
}


@register.simple_tag
@lru_cache(512)
def icon(name: str, css: str = "") -> str:
    return format_html('<svg class="icon {}" aria-hidden="true"><use href="{}#{}"></use></svg>', css, _sprite(), name)


@cache
def _sprite() -> str:
    """Its address does not change while a process lives, and is long to find."""
    return static("vendor/icons.svg")


@register.simple_tag
def state(value: str, since: Any = None) -> str:
    """A state by shape, colour and word."""
    if since:
        name, colour, word = _looks_of(str(value))
        return format_html('<span class="state state-{}">{}{} {}</span>', colour, icon(name), word, ago(since))
    return _state(str(value))


def _looks_of(value: str) -> tuple[str, str, str]:
    return STATES.get(value, ("help-circle", "secondary", value.lower()))


@lru_cache(256)
def _state(value: str) -> str:
    name, colour, word = _looks_of(value)
    return format_html('<span class="state state-{}">{}{}</span>', colour, icon(name), word)


@register.simple_tag
def state_mark(value: str) -> str:
    """The state without its word to see, for dense lists; the word is there for screen readers and on hover."""
    return _state_mark(str(value))


@lru_cache(256)
def _state_mark(value: str) -> str:
    name, colour, word = _looks_of(value)
    return format_html(
        '<span class="state-mark state-{}" title="{}">{}<span class="visually-hidden">{}</span></span>',
        colour,
        word,
        icon(name),
        word,
    )


@register.simple_tag
@cache
def drift_mark() -> str:
    """Beside the name of a jail that is not, on its host, what the panel wants of it."""
    return format_html(
        '<span class="state-mark state-yellow" title="not as the panel wants it">{}<span class="visually-hidden">'
        "not as the panel wants it</span></span>",
        icon("file-diff", "icon-sm"),
    )


@register.filter
def working(status: str) -> str:
    """The state of an operation or a step, which runs in another way than a jail does."""
    return "working" if status == "running" else status


@register.filter
def bytes_iec(value: Any) -> str:
    """2 254 857 830 → `2.1 GiB`, exact on hover."""
    if value in (None, ""):
        return "–"
    return fill('<span class="number" title="{} bytes">{}</span>', f"{int(value):,}", iec(int(value)))


def iec(value: int) -> str:
    size = float(value)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if abs(size) < 1024 or unit == "PiB":
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")


@register.filter
def ago(value: Any) -> str:
    """A relative time, exact on hover; static/js/panel.js keeps it fresh in the viewer's zone."""
    return _timed(value, "data-relative", relative(timezone.now() - value)) if value else "never"


@register.filter
def lasting(value: Any) -> str:
    """For how long something is so by now: `for 12 min`. Kept fresh as `ago` is."""
    return _timed(value, "data-lasting", _span(max(0, int((timezone.now() - value).total_seconds()))))


def _timed(value: Any, kept_fresh: str, words: str) -> str:
    exact = value.isoformat()
    return fill(
        '<time datetime="{}" title="{} {} UTC" {}>{}</time>', exact, exact[:10], exact[11:19], kept_fresh, words
    )


@register.filter
def exactly(value: Any) -> str:
    """A moment in UTC, in the viewer's zone once static/js/panel.js has seen it."""
    words = value.strftime("%Y-%m-%d %H:%M:%S UTC")
    return format_html('<time datetime="{}" data-exact>{}</time>', value.isoformat(), words)


def relative(age: timedelta) -> str:
    seconds = int(age.total_seconds())
    if seconds < 0:
        return "in " + _span(-seconds)
    if seconds < 10:
        return "just now"
    return _span(seconds) + " ago"


def _span(seconds: int) -> str:
    for length, unit in ((86400 * 365, "y"), (86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


@register.filter
def sentence(text: Any) -> str:
    """What is wrong with a field: those of jails.freebsd go on after its name (`is not a size`), others are whole."""
    said = str(text)
    return f"It {said}" if said.split(" ", 1)[0] in ("contains", "has", "is", "must") else said


@register.filter
def duration(value: Any) -> str:
    """A timedelta or seconds: `4.2 s`, `3 min 10 s`."""
    if value is None:
        return ""
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


@register.filter
def add_number(value: float, more: float) -> float:
    """For places in a drawing: Django's own `add` takes whole numbers alone."""
    return value + more


@register.filter
def span(seconds: Any) -> str:
    """Seconds in their largest unit: `3 d`; exact on hover."""
    return format_html('<span class="number" title="{} s">{}</span>', f"{int(seconds):,}", _span(int(seconds)))


PROCESS_STATES = {
    "D": "waits for a disk",
    "I": "idle",
    "L": "waits for a lock",
    "R": "runs",
    "S": "sleeps",
    "T": "stopped",
    "W": "idle interrupt thread",
    "Z": "has ended, and its parent has not noticed",
}


@register.filter
def process_state(state: str) -> str:
    """The first letter of ps(1)'s state in words."""
    return PROCESS_STATES.get(state[:1], state)


@register.filter
def elapsed(since: Any) -> str:
    """How long it has been going on; static/js/panel.js counts on."""
    seconds = int((timezone.now() - since).total_seconds())
    words = f"{seconds} s" if seconds < 60 else f"{seconds // 60} min {seconds % 60} s"
    return format_html('<time datetime="{}" data-elapsed>{}</time>', since.isoformat(), words)


@register.simple_tag
def copy_button(text: Any, what: Any = "the command") -> str:
    return format_html(
        '<button type="button" class="btn btn-icon btn-ghost-secondary btn-copy js-only" data-copy="{}" '
        'aria-label="Copy {}">{}</button>',
        text,
        what,
        icon("copy"),
    )


@register.simple_tag
def copyable(text: Any, css: str = "") -> str:
    """Something technical in monospace with a button that copies it."""
    return format_html('<span class="copyable {}"><code>{}</code>{}</span>', css, text, copy_button(text, text))


@register.filter
def did(entry: Any) -> str:
    """What an entry of the log says somebody did; the action's own name on hover."""
    return fill('<span title="{}">{}</span>', entry.action, words.did(entry))


@register.filter
def thing(kind: str) -> str:
    """The kind of thing that an entry of the log is about, in words."""
    return words.thing(kind)


@register.filter
def asked_by(operation: Any) -> str:
    if operation.requested_by is not None:
        return str(operation.requested_by)
    return audit.PANEL if kinds.is_by_itself(operation.kind) else "nobody any more"


@register.filter
def tally(value: tuple[int, int]) -> str:
    """Of a day of the log: `12 entries, 2 not done`."""
    return counted(*value)


@register.simple_tag(takes_context=True)
def can(context: Any, action: str, thing: Any = None) -> bool:
    """{% can "jail.power" jail as may %}"""
    return policy.allowed(context["request"].user, action, thing)


@register.simple_tag(takes_context=True)
def current(context: Any, *names: str) -> str:
    """`aria-current` for a link of the tree, when the page's address has one of these names."""
    shell = context.get("shell")
    match = shell.place if shell else context["request"].resolver_match
    return format_html('aria-current="{}"', "page") if match and match.url_name in names else ""


BROWSERS = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("FreeBSD", "FreeBSD"),
    ("OpenBSD", "OpenBSD"),
    ("Linux", "Linux"),
)


@register.filter
def browser(user_agent: str) -> str:
    """A User-Agent in words, `Firefox on FreeBSD`; what it says where that tells nothing."""
    program = next((name for mark, name in BROWSERS if mark in user_agent), "")
    system = next((name for mark, name in SYSTEMS if mark in user_agent), "")
    return " on ".join(filter(None, (program, system))) or user_agent[:60] or "unknown browser"


@register.filter
def diff_lines(text: str) -> list[tuple[str, str]]:
    """A unified diff as (css class, line) pairs."""
    kinds = {"+": "add", "-": "del", "@": "hunk"}
    return [
        ("meta" if line.startswith(("+++", "---")) else kinds.get(line[:1], "same"), line)
        for line in (text or "").splitlines()
    ]


@register.inclusion_tag("panel/_field.html")
def field(bound: Any, prefix: str = "", suffix: str = "") -> dict[str, Any]:
    """A form field with its label, help and errors, wired for screen readers."""
    widget = bound.field.widget
    css = "form-control"
    if widget.__class__.__name__ in ("Select", "SelectMultiple", "NullBooleanSelect"):
        css = "form-select"
    kind = widget.__class__.__name__
    attrs = {"class": "form-check-input" if kind in ("CheckboxInput", "RadioSelect") else css}
    if bound.errors:
        attrs["class"] += " is-invalid"
    rendered = (
        bound
        if kind in ("RadioSelect", "CheckboxSelectMultiple")
        else bound.as_widget(
            attrs={**widget.attrs, **attrs, "class": f"{widget.attrs.get('class', '')} {attrs['class']}".strip()}
        )
    )
    return {"field": bound, "widget": rendered, "kind": kind, "prefix": prefix, "suffix": suffix}
