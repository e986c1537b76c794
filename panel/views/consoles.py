"""Consoles: the page with the terminal, one command without JavaScript, who was in which jail, and recordings."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from jails import policy
from jails.consoles import cast, client, tickets
from jails.models import Console, Jail
from panel import step_up
from panel.context import shell_of
from panel.forms.consoles import CommandForm
from panel.tables import keyset
from panel.views import breakglass
from panel.views.access import find, refuse, source

A_PAGE = 50
LATELY = 8
TEXT_LONGEST = 400_000
"""Characters of a recording that a page shows as text; the file has all."""


@require_safe
@login_required
def page(request: HttpRequest, uuid: UUID) -> HttpResponse:
    jail = _jail(request, uuid)
    form = CommandForm(initial={"login": request.GET.get("as", "root")})
    return _page(request, jail, form)


def _page(request: HttpRequest, jail: Jail, form: CommandForm, **more: Any) -> HttpResponse:
    request.tree_host = jail.host.name
    lately: list[Console] = []
    if policy.allowed(request.user, "console.view", jail):
        lately = list(policy.visible(request.user, Console).filter(jail=jail).order_by("-opened_at", "-id")[:LATELY])
    context = {
        "jail": jail,
        "form": form,
        "live_url": live_url(request, "console"),
        "idle_minutes": settings.CONSOLE_IDLE_SECONDS // 60,
        "total_hours": settings.CONSOLE_TOTAL_SECONDS // 3600,
        "command_seconds": settings.CONSOLE_COMMAND_SECONDS,
        "sees_consoles": policy.allowed(request.user, "console.view", jail),
        "lately": lately,
        "break_glasses": breakglass.banners(request, jail),
        **more,
    }
    return render(request, "panel/console.html", context, status=422 if form.errors else 200)


def _jail(request: HttpRequest, uuid: UUID) -> Jail:
    jail: Jail = find(request, Jail.objects.select_related("host", "tenant"), "jail.console", uuid=uuid)
    return jail


def live_url(request: HttpRequest, what: str) -> str:
    """Where a websocket is: behind a proxy the page's own origin, in the demo another port of the same host."""
    scheme = "wss" if request.is_secure() else "ws"
    host = request.get_host()
    if settings.DEMO:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        host = f"{name or host}:{settings.LIVE_LISTEN.rpartition(':')[2]}"
    return f"{scheme}://{host}/live/{what}"


def origin_of(request: HttpRequest) -> str:
    return f"{request.scheme}://{request.get_host()}"


@require_POST
@login_required
def ticket(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """What opens one console, once, within half a minute, from this page and this sign-in."""
    jail = _jail(request, uuid)
    form = CommandForm({"login": request.POST.get("login", ""), "text": "-"})
    if not form.is_valid():
        return JsonResponse({"problem": form.errors["login"][0]}, status=422)
    if not step_up.is_recent(request):
        return JsonResponse({"prove": reverse("jail-console-prove", args=[uuid])}, status=403)
    return never_kept(JsonResponse({"ticket": _issued(request, jail, form)}))


@require_safe
@login_required
def prove(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Where a page that was refused a ticket goes: by way of a proof of who it is, back to the console."""
    _jail(request, uuid)
    step_up.ask(request)
    return redirect("jail-console", uuid=uuid)


def _issued(request: HttpRequest, jail: Jail, form: CommandForm) -> str:
    key = request.session.session_key
    assert key is not None  # somebody is signed in
    login = form.cleaned_data["login"]
    return tickets.issue(request.user, key, jail, login=login, origin=origin_of(request))


@require_POST
@login_required
def run(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """One command. The page waits for it, a known time at most; its text goes to consoled and nowhere else."""
    jail = _jail(request, uuid)
    form = CommandForm(request.POST)
    if not form.is_valid():
        return _page(request, jail, form)
    step_up.ask_keeping_nothing(request, back=reverse("jail-console", args=[uuid]))
    wanted = {
        "ticket": _issued(request, jail, form),
        "session": request.session.session_key,
        "origin": origin_of(request),
        "source": source(request),
        "text": form.cleaned_data["text"],
    }
    try:
        outcome = client.run(wanted)
    except tickets.Refused as refused:
        form.add_error(None, str(refused))
        return _page(request, jail, form)
    except client.Unavailable:
        form.add_error(None, "The console service does not answer. Nothing is known to have been run.")
        return _page(request, jail, form)
    shown = {"outcome": outcome, "output": cast.plain(outcome.output.decode("utf-8", "replace"))}
    return never_kept(_page(request, jail, form, **shown))


@require_safe
@login_required
def index(request: HttpRequest) -> HttpResponse:
    """Who was in which jail, and when: for auditors and administrators of all, for owners of their teams' jails."""
    rows = policy.visible(request.user, Console)
    if not shell_of(request).sees_consoles:
        if policy.allowed(request.user, "panel.overview"):
            refuse(request, "console.view")
        raise Http404
    wanted = {name: request.GET.get(name, "").strip() for name in ("jail", "who")}
    if wanted["jail"] and "\0" not in wanted["jail"]:
        rows = rows.filter(jail_name=wanted["jail"])
    if wanted["who"] and "\0" not in wanted["who"]:
        rows = rows.filter(username=wanted["who"])
    rows = rows.select_related("jail", "tenant").order_by("-opened_at", "-id")
    context = {
        "consoles": keyset.page(rows, request.GET, A_PAGE),
        "wanted": wanted,
        "may_play": policy.allowed(request.user, "recording.view"),
    }
    return render(request, "panel/consoles.html", context)


@require_safe
@login_required
def recording(request: HttpRequest, pk: UUID) -> HttpResponse:
    """What is known of one; its content is read only when somebody asks for that, which is an entry of the log."""
    console = _console(request, pk)
    return render(request, "panel/recording.html", {"console": console, "kept_days": settings.CONSOLE_RECORDING_DAYS})


def _console(request: HttpRequest, pk: UUID) -> Console:
    rows = Console.objects.select_related("jail", "tenant")
    console: Console = find(request, rows, "recording.view", pk=pk)
    return console


def _read(request: HttpRequest, console: Console) -> client.Recording:
    """Raises client.Unavailable or tickets.Refused."""
    return client.read({"console": str(console.pk), "session": request.session.session_key, "source": source(request)})


@require_safe
@login_required
def recording_file(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    """The recording itself, for the player and for asciinema's own."""
    console = _console(request, pk)
    try:
        found = _read(request, console)
    except (client.Unavailable, tickets.Refused) as problem:
        words = str(problem) if isinstance(problem, tickets.Refused) else "The console service does not answer."
        return never_kept(HttpResponse(words, status=503, content_type="text/plain; charset=utf-8"))
    response = StreamingHttpResponse(found.parts, content_type="application/x-asciicast; charset=utf-8")
    response["Content-Length"] = str(found.size)
    response["X-Recording-Whole"] = "yes" if found.is_whole else "no"
    response["Content-Disposition"] = f'attachment; filename="{console.jail_name}-{console.opened_at:%Y%m%d-%H%M}.cast"'
    return never_kept(response)


@require_http_methods(["GET", "HEAD"])
@login_required
def recording_text(request: HttpRequest, pk: UUID) -> HttpResponse:
    console = _console(request, pk)
    context: dict[str, Any] = {"console": console, "as_text": True}
    try:
        found = _read(request, console)
        text = cast.text_of(b"".join(found.parts).decode("utf-8", "replace").split("\n"))
        context |= {"text": text[:TEXT_LONGEST], "is_cut": len(text) > TEXT_LONGEST, "is_whole": found.is_whole}
    except tickets.Refused as refused:
        context["problem"] = str(refused)
    except client.Unavailable:
        context["problem"] = "The console service does not answer."
    return never_kept(render(request, "panel/recording.html", context))


def never_kept(response: Any) -> Any:
    response["Cache-Control"] = "no-store"
    return response
