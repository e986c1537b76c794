"""Pages for what went wrong. To a tenant, forbidden and not found look the same."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from jails import policy


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    if not policy.allowed(getattr(request, "user", None), "panel.overview"):
        return not_found(request)
    return render(request, "403.html", status=403)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return render(request, "404.html", status=404)


def broken(request: HttpRequest) -> HttpResponse:
    """Without the request's context: what broke may be the database that the tree and the session are read from."""
    return HttpResponse(render_to_string("500.html", {"theme": request.COOKIES.get("theme", "auto")}), status=500)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return render(request, "403_csrf.html", status=403)
