from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from jails.models import User
from panel.views.access import find, require


@require_safe
@login_required
def index(request: HttpRequest) -> HttpResponse:
    require(request, "user.view")
    return render(request, "panel/people.html", {"people": User.objects.all()})


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def invite(request: HttpRequest) -> HttpResponse:
    require(request, "user.invite")
    return redirect("people")


@require_safe
@login_required
def page(request: HttpRequest, pk: int) -> HttpResponse:
    person = find(request, User, "user.view", pk=pk)
    return render(request, "panel/person.html", {"person": person})


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def change(request: HttpRequest, pk: int) -> HttpResponse:
    person = find(request, User, "user.change", pk=pk)
    return redirect("person", pk=person.pk)


@require_POST
@login_required
def disable(request: HttpRequest, pk: int) -> HttpResponse:
    person = find(request, User, "user.disable", pk=pk)
    return redirect("person", pk=person.pk)
