"""Parts of pages that are asked for again and again: static/js/live.js. Nothing is sent while nothing has changed."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_cache_control, patch_vary_headers

from jails.operations.step import digest


def mark_of(*values: Any) -> str:
    """An ETag of all that the part shows."""
    return f'"{digest(chr(0).join(map(str, values)))[:32]}"'


def has(request: HttpRequest, mark: str) -> bool:
    """Whether the page shows just this already."""
    return bool(request.htmx) and request.headers.get("If-None-Match") == mark


def marked(response: HttpResponse, mark: str) -> HttpResponse:
    """No cache may answer for us: it would take the part for the page."""
    response["ETag"] = mark
    patch_cache_control(response, private=True, no_cache=True)
    patch_vary_headers(response, ("HX-Request", "HX-Current-URL"))
    return response
