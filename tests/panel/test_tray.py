import pytest
from django.urls import reverse

pytestmark = pytest.mark.django_db


def test_what_was_sent_for_one_page_does_not_stand_for_another(as_person) -> None:
    client = as_person("administrator")

    def ask(page: str, **headers: str):
        there = {"HX-Request": "true", "HX-Current-URL": f"http://testserver{page}"}
        return client.get(reverse("tray"), headers=there | headers)

    first = ask("/people/")
    assert 'aria-current="page"' in first.content.decode()
    mark = {"If-None-Match": first.headers["ETag"]}
    assert ask("/people/", **mark).status_code == 304
    assert ask("/audit/", **mark).status_code == 200
    assert "HX-Current-URL" in first.headers["Vary"]
