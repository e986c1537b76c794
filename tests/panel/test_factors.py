"""Second factors: setting up, signing in with them, losing them, and who must have one."""

from __future__ import annotations

import json
import time
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from allauth.account.utils import user_pk_to_url_str
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth as totp
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from fido2.cose import ES256
from fido2.utils import websafe_decode, websafe_encode
from fido2.webauthn import Aaguid, AttestationObject, AttestedCredentialData, AuthenticatorData

from jails.models import AuditEntry, Invitation, Membership, Tenant, User
from panel import factors
from panel.views.factors import OPEN_WITHOUT_FACTOR

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"
REGISTERED = json.loads(Path(__file__).with_name("passkey.json").read_text())
"""What Chromium's virtual authenticator answered."""
PASSKEY = {"name": "Key", "credential": {"clientExtensionResults": {"credProps": {"rk": True}}}}


@pytest.fixture(autouse=True)
def no_earlier_tries() -> None:
    cache.clear()


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada", password=PASSWORD, role=User.Role.ADMINISTRATOR)


class Clock:
    """time.time as tests want it; the database has its own. No code's time runs out between making and typing it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at = time.time()
        monkeypatch.setattr(time, "time", lambda: self.at)


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def entries(action: str, **narrowed: Any) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(action=action, **narrowed).order_by("sequence"))


def sign_in(client: Client, username: str = "ada", password: str = PASSWORD) -> Any:
    return client.post(reverse("account_login"), {"login": username, "password": password})


def code_of(secret: str) -> str:
    return totp.format_hotp_value(totp.hotp_value(secret, next(iter(totp.yield_hotp_counters_from_time()))))


def add_app(person: User) -> str:
    """The seed of an app that is set up."""
    secret = totp.generate_totp_secret()
    totp.TOTP.activate(person, secret)
    return secret


def add_all_factors(person: User) -> None:
    from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes

    add_app(person)
    RecoveryCodes.activate(person)
    key = {"name": "Blue security key", "credential": REGISTERED}
    Authenticator.objects.create(user=person, type="webauthn", data=key)


def wrong(code: str) -> str:
    return str((int(code) + 1) % 1_000_000).zfill(6)


# Setting up


def test_an_app_is_added_by_its_code_with_recovery_codes_and_an_entry(client: Client, ada: User) -> None:
    sign_in(client)
    page = client.get(reverse("mfa_activate_totp"))
    assert page.context["form"].secret in page.content.decode()
    response = client.post(reverse("mfa_activate_totp"), {"code": code_of(page.context["form"].secret)})
    assert response.headers["Location"] == reverse("mfa_view_recovery_codes")
    assert {row.type for row in Authenticator.objects.filter(user=ada)} == {"totp", "recovery_codes"}
    (entry,) = entries("user.factor_change")
    assert entry.before == {"app": "", "passkeys": [], "recovery codes": ""}
    assert entry.after["app"] and entry.after["recovery codes"]
    codes = client.get(reverse("mfa_view_recovery_codes"))
    assert len(set(codes.context["unused_codes"])) == 10
    assert all(len(code) == 8 and code.isdigit() for code in codes.context["unused_codes"])
    assert "no-store" in codes.headers["Cache-Control"]
    download = client.get(reverse("mfa_download_recovery_codes"))
    assert codes.context["unused_codes"][0] in download.content.decode()


def test_a_wrong_code_adds_nothing(client: Client, ada: User) -> None:
    sign_in(client)
    secret = client.get(reverse("mfa_activate_totp")).context["form"].secret
    response = client.post(reverse("mfa_activate_totp"), {"code": wrong(code_of(secret))})
    assert response.status_code == 200 and response.context["form"].errors
    assert not Authenticator.objects.exists() and not entries("user.factor_change")


def test_what_changes_factors_ends_the_other_sessions(client: Client, ada: User) -> None:
    other = Client()
    sign_in(other)
    sign_in(client)
    secret = client.get(reverse("mfa_activate_totp")).context["form"].secret
    client.post(reverse("mfa_activate_totp"), {"code": code_of(secret)})
    assert client.get(reverse("account")).status_code == 200
    assert other.get(reverse("account")).status_code == 302
    assert entries("user.factor_change")[0].after["sessions_ended"] == 1


def test_the_app_goes_with_its_recovery_codes(client: Client, ada: User) -> None:
    sign_in(client)
    secret = client.get(reverse("mfa_activate_totp")).context["form"].secret
    client.post(reverse("mfa_activate_totp"), {"code": code_of(secret)})
    assert client.get(reverse("mfa_deactivate_totp")).status_code == 200
    client.post(reverse("mfa_deactivate_totp"))
    assert not Authenticator.objects.exists()
    assert entries("user.factor_change")[-1].after["app"] == ""


def test_new_recovery_codes_replace_the_old_ones(client: Client, ada: User) -> None:
    sign_in(client)
    secret = client.get(reverse("mfa_activate_totp")).context["form"].secret
    client.post(reverse("mfa_activate_totp"), {"code": code_of(secret)})
    old = client.get(reverse("mfa_view_recovery_codes")).context["unused_codes"]
    client.post(reverse("mfa_generate_recovery_codes"))
    assert not set(old) & set(client.get(reverse("mfa_view_recovery_codes")).context["unused_codes"])


def test_nobody_elses_passkey_is_renamed_or_removed(client: Client, ada: User) -> None:
    bob = User.objects.create_user("bob")
    key = Authenticator.objects.create(user=bob, type="webauthn", data=PASSKEY)
    sign_in(client)
    for name in ("mfa_edit_webauthn", "mfa_remove_webauthn"):
        assert client.post(reverse(name, args=[key.pk]), {"name": "Mine"}).status_code == 404
    key.refresh_from_db()
    assert str(key) == "Key"


def test_a_passkey_is_renamed_and_removed(client: Client, ada: User) -> None:
    key = Authenticator.objects.create(user=ada, type="webauthn", data=PASSKEY)
    client.force_login(ada, backend="django.contrib.auth.backends.ModelBackend")
    client.post(reverse("mfa_edit_webauthn", args=[key.pk]), {"name": "Blue"})
    client.post(reverse("mfa_remove_webauthn", args=[key.pk]))
    assert [(it.before["passkeys"], it.after["passkeys"]) for it in entries("user.factor_change")] == [
        (["Key"], ["Blue"]),
        (["Blue"], []),
    ]


@pytest.mark.parametrize(
    ("host", "secure", "possible"),
    [
        ("localhost:8000", False, True),
        ("127.0.0.1:8000", False, False),
        ("127.0.0.1", True, False),
        ("[::1]:8000", True, False),
        ("cellblock.example.org", True, True),
        ("cellblock.example.org", False, False),
    ],
)
def test_passkeys_are_offered_where_browsers_have_them(
    client: Client, ada: User, settings: Any, host: str, secure: bool, possible: bool
) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    client.force_login(ada, backend="django.contrib.auth.backends.ModelBackend")
    page = client.get(reverse("mfa_index"), headers={"host": host}, secure=secure)
    assert (reverse("mfa_add_webauthn") in page.content.decode()) == possible
    add = client.get(reverse("mfa_add_webauthn"), headers={"host": host}, secure=secure)
    assert (add.status_code == 200) == possible


# Signing in


def test_a_password_alone_is_not_enough(client: Client, ada: User) -> None:
    secret = add_app(ada)
    assert sign_in(client).headers["Location"] == reverse("mfa_authenticate")
    assert client.get(reverse("account")).status_code == 302
    assert not entries("session.sign_in")
    response = client.post(reverse("mfa_authenticate"), {"code": code_of(secret)})
    assert response.headers["Location"] == "/"
    assert client.get(reverse("account")).status_code == 200
    assert entries("session.sign_in")[0].after == {"by": ["password", "authenticator app"]}


def test_the_page_of_the_second_factor_is_nothing_without_the_first(client: Client, ada: User) -> None:
    secret = add_app(ada)
    for response in (
        client.get(reverse("mfa_authenticate")),
        client.post(reverse("mfa_authenticate"), {"code": code_of(secret)}),
    ):
        assert response.headers["Location"] == reverse("account_login")
    assert client.get(reverse("account")).status_code == 302


def test_a_code_works_once_also_in_another_process(client: Client, ada: User, now: Clock) -> None:
    secret = add_app(ada)
    sign_in(client)
    code = code_of(secret)
    client.post(reverse("mfa_authenticate"), {"code": code})
    cache.clear()  # as in another process, whose memory knows nothing of it
    other = Client()
    sign_in(other)
    response = other.post(reverse("mfa_authenticate"), {"code": code})
    assert response.status_code == 200 and "once" in response.content.decode()
    assert other.get(reverse("account")).status_code == 302
    now.at += 31
    other.post(reverse("mfa_authenticate"), {"code": code_of(secret)})
    assert other.get(reverse("account")).status_code == 200


def test_the_code_of_before_works_no_more(client: Client, ada: User, now: Clock) -> None:
    secret = add_app(ada)
    code = code_of(secret)
    now.at += 31
    sign_in(client)
    client.post(reverse("mfa_authenticate"), {"code": code})
    assert client.get(reverse("account")).status_code == 302


def test_a_recovery_code_stands_in_once(client: Client, ada: User) -> None:
    from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes

    add_app(ada)
    code = RecoveryCodes.activate(ada).get_unused_codes()[3]
    sign_in(client)
    client.post(reverse("mfa_authenticate"), {"code": code})
    assert client.get(reverse("account")).status_code == 200
    assert entries("session.sign_in")[0].after == {"by": ["password", "recovery code"]}
    other = Client()
    sign_in(other)
    other.post(reverse("mfa_authenticate"), {"code": code})
    assert other.get(reverse("account")).status_code == 302


def test_a_sign_in_link_does_not_go_round_the_second_factor(client: Client, ada: User) -> None:
    secret = add_app(ada)
    path = reverse("enter", args=[Invitation.issue(user=ada, by_command=True)[1]])
    assert client.post(path).headers["Location"] == reverse("mfa_authenticate")
    assert client.get(reverse("account")).status_code == 302
    response = client.post(reverse("mfa_authenticate"), {"code": code_of(secret)})
    assert response.headers["Location"] == reverse("account_set_password")
    assert entries("session.sign_in")[0].after == {"by": ["link", "authenticator app"]}


def test_wrong_codes_count_as_failed_sign_ins_until_the_name_is_locked_out(
    client: Client, ada: User, settings: Any
) -> None:
    secret = add_app(ada)
    settings.AXES_FAILURE_LIMIT = 3
    sign_in(client)
    for _ in range(3):
        response = client.post(reverse("mfa_authenticate"), {"code": wrong(code_of(secret))})
    assert response.status_code == 429 and b"Too many failures" in response.content
    # Also the right one, and also a sign-in from the start.
    assert client.post(reverse("mfa_authenticate"), {"code": code_of(secret)}).status_code == 429
    assert client.get(reverse("account")).status_code == 302
    assert sign_in(Client()).status_code == 429
    refused = entries("session.sign_in", outcome="refused")
    assert [entry.detail for entry in refused[:3]] == ["authenticator app"] * 3
    assert entries("session.lockout")


def test_no_code_is_kept_with_the_failures(client: Client, ada: User) -> None:
    from axes.models import AccessAttempt

    secret = add_app(ada)
    sign_in(client)
    client.post(reverse("mfa_authenticate"), {"code": (code := wrong(code_of(secret)))})
    attempt = AccessAttempt.objects.get()
    assert attempt.username == "ada" and code not in attempt.post_data


def test_a_disabled_person_does_not_come_in_by_any_factor(client: Client, ada: User) -> None:
    secret = add_app(ada)
    sign_in(client)
    User.objects.update(is_active=False)
    client.post(reverse("mfa_authenticate"), {"code": code_of(secret)})
    assert client.get(reverse("account")).status_code == 302


def test_a_passkey_that_is_none_signs_nobody_in(client: Client, ada: User) -> None:
    options = client.get(reverse("mfa_login_webauthn"), headers={"accept": "application/json"}).json()
    assert options["request_options"]["publicKey"]["userVerification"] == "required"
    for credential in ("", "{}", "[]", "null", '{"id": "x", "response": {"userHandle": "AA"}}', "x" * 9000):
        response = client.post(reverse("mfa_login_webauthn"), {"credential": credential})
        assert response.status_code in (200, 302)
    assert client.get(reverse("account")).status_code == 302


MALFORMED = ["", "{}", "[]", "null", "1", '{"id": "x", "response": {"userHandle": "AA"}}', "x" * 9000]


@pytest.mark.parametrize("credential", MALFORMED)
def test_what_is_no_credential_is_refused(client: Client, ada: User, credential: str) -> None:
    Authenticator.objects.create(user=ada, type="totp", data={})
    sign_in(client)
    assert client.post(reverse("mfa_authenticate"), {"credential": credential}).status_code == 200
    is_looked_at = credential in ("1", MALFORMED[5])
    assert bool(entries("session.sign_in", outcome="refused")) == is_looked_at
    client.force_login(ada, backend="django.contrib.auth.backends.ModelBackend")
    add = client.post(reverse("mfa_add_webauthn"), {"credential": credential}, headers={"host": "localhost"})
    assert add.status_code == 200
    assert not Authenticator.objects.filter(type="webauthn").exists()


class SecurityKey:
    """An authenticator in software, registered as one that signs in alone."""

    def __init__(self, person: User) -> None:
        self.handle = user_pk_to_url_str(person).encode()
        self._private = ec.generate_private_key(ec.SECP256R1())
        public = ES256.from_cryptography_key(self._private.public_key())
        self._credential = AttestedCredentialData.create(Aaguid.NONE, b"k" * 32, public)
        flags = AuthenticatorData.FLAG.UP | AuthenticatorData.FLAG.UV | AuthenticatorData.FLAG.AT
        known = AuthenticatorData.create(sha256(b"localhost").digest(), flags, 1, bytes(self._credential))
        response = {
            "clientDataJSON": self._client_data("webauthn.create", "AA"),
            "attestationObject": websafe_encode(AttestationObject.create("none", known, {})),
        }
        data = self._with_id(response) | {"clientExtensionResults": {"credProps": {"rk": True}}}
        Authenticator.objects.create(user=person, type="webauthn", data={"name": "Key", "credential": data})

    def answer(self, challenge: str, *, verified: bool) -> str:
        """To a challenge; `verified` with the PIN, else only touched."""
        flags = AuthenticatorData.FLAG.UP | (AuthenticatorData.FLAG.UV if verified else AuthenticatorData.FLAG(0))
        data = AuthenticatorData.create(sha256(b"localhost").digest(), flags, 2)
        client = self._client_data("webauthn.get", challenge)
        signed = bytes(data) + sha256(websafe_decode(client)).digest()
        response = {
            "clientDataJSON": client,
            "authenticatorData": websafe_encode(data),
            "signature": websafe_encode(self._private.sign(signed, ec.ECDSA(hashes.SHA256()))),
            "userHandle": websafe_encode(self.handle),
        }
        return json.dumps(self._with_id(response) | {"clientExtensionResults": {}})

    def _with_id(self, response: dict[str, str]) -> dict[str, Any]:
        name = websafe_encode(self._credential.credential_id)
        return {"type": "public-key", "id": name, "rawId": name, "response": response}

    @staticmethod
    def _client_data(type: str, challenge: str) -> str:
        data = {"type": type, "challenge": challenge, "origin": "http://localhost", "crossOrigin": False}
        return websafe_encode(json.dumps(data).encode())


def challenge_in(client: Client) -> tuple[str, str]:
    state = client.session["mfa.webauthn.state"]
    return state["challenge"], state["user_verification"]


def test_a_key_with_its_pin_signs_in_alone(client: Client, ada: User) -> None:
    key = SecurityKey(ada)
    client.defaults["HTTP_HOST"] = "localhost"
    client.get(reverse("mfa_login_webauthn"), headers={"accept": "application/json"})
    answer = key.answer(challenge_in(client)[0], verified=True)
    client.post(reverse("mfa_login_webauthn"), {"credential": answer})
    assert client.get(reverse("account")).context["user"] == ada


def test_a_key_that_was_only_touched_does_not_whatever_the_challenge_was_made_for(
    client: Client, ada: User, now: Clock
) -> None:
    key = SecurityKey(ada)
    SecurityKey(User.objects.create_user("eve", password=PASSWORD))
    client.defaults["HTTP_HOST"] = "localhost"
    # As a second factor a touch is enough. The thief begins to sign in as themselves to be given such a challenge, and
    # waits until that sign-in is forgotten.
    sign_in(client, "eve")
    client.get(reverse("mfa_authenticate"))
    challenge, verification = challenge_in(client)
    assert verification != "required"
    now.at += 3600
    client.post(reverse("mfa_login_webauthn"), {"credential": key.answer(challenge, verified=False)})
    assert client.get(reverse("account")).status_code == 302


# What is kept


def test_seeds_are_encrypted_in_the_database(ada: User) -> None:
    from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes

    secret = add_app(ada)
    codes = RecoveryCodes.activate(ada)
    kept = str(list(Authenticator.objects.values_list("data", flat=True)))
    assert secret not in kept
    assert codes.generate_codes() == RecoveryCodes(Authenticator.objects.get(type="recovery_codes")).generate_codes()
    assert factors.MFAAdapter().decrypt(codes.instance.data["seed"]) not in kept
    assert factors.MFAAdapter().encrypt(secret) != factors.MFAAdapter().encrypt(secret)


def test_no_seed_and_no_code_is_in_the_log(client: Client, ada: User) -> None:
    sign_in(client)
    secret = client.get(reverse("mfa_activate_totp")).context["form"].secret
    client.post(reverse("mfa_activate_totp"), {"code": code_of(secret)})
    codes = client.get(reverse("mfa_view_recovery_codes")).context["unused_codes"]
    log = str(list(AuditEntry.objects.values()))
    assert not [text for text in (secret, *codes) if text in log]


def test_the_seed_of_a_new_app_stays_in_the_session_only_until_it_is_added(client: Client, ada: User) -> None:
    sign_in(client)
    secret = client.get(reverse("mfa_activate_totp")).context["form"].secret
    client.post(reverse("mfa_activate_totp"), {"code": code_of(secret)})
    assert secret not in str(dict(client.session))


def test_a_new_secret_of_the_panel_reads_what_an_old_one_encrypted(ada: User, settings: Any) -> None:
    secret = add_app(ada)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "n" * 60, [settings.SECRET_KEY]
    assert factors.MFAAdapter().decrypt(Authenticator.objects.get().data["secret"]) == secret
    output = StringIO()
    call_command("factors_reencrypt", stdout=output)
    assert output.getvalue() == "1 encrypted with the secret of now\n"
    settings.SECRET_KEY_FALLBACKS = []
    assert factors.MFAAdapter().decrypt(Authenticator.objects.get().data["secret"]) == secret


def test_with_another_secret_the_page_says_what_to_do(client: Client, ada: User, settings: Any) -> None:
    secret = add_app(ada)
    settings.SECRET_KEY = "n" * 60
    assert factors.encrypt_anew() == (0, 1)
    sign_in(client)
    response = client.post(reverse("mfa_authenticate"), {"code": code_of(secret)})
    assert b"secret has changed" in response.content
    assert client.get(reverse("account")).status_code == 302


# Who must have one


@pytest.fixture
def required(settings: Any) -> Any:
    settings.MFA_REQUIRED_ROLES = frozenset({"administrator", "owner"})
    return settings


def test_who_must_have_a_factor_gets_nowhere_before(client: Client, ada: User, required: Any) -> None:
    sign_in(client)
    for path in ("/", "/hosts/", "/people/", reverse("account"), reverse("tray")):
        assert client.get(path).headers["Location"] == reverse("mfa_index")
    assert client.post("/people/invite", {"label": "x", "role": ""}).status_code == 302
    assert not Invitation.objects.exists()
    page = client.get(reverse("mfa_index"))
    assert b"Your role needs one" in page.content and b"Sign out" in page.content
    assert b'id="tree"' not in page.content
    fragment = client.get("/tray", headers={"HX-Request": "true"})
    assert (fragment.status_code, fragment.headers["HX-Redirect"]) == (204, reverse("mfa_index"))
    assert client.post(reverse("account_logout")).status_code == 302
    assert client.get(reverse("account")).headers["Location"].startswith(reverse("account_login"))


def test_with_a_factor_all_is_open(client: Client, ada: User, required: Any) -> None:
    sign_in(client)
    secret = client.get(reverse("mfa_activate_totp")).context["form"].secret
    client.post(reverse("mfa_activate_totp"), {"code": code_of(secret)})
    assert client.get("/people/").status_code == 200


def test_the_first_administrator_of_a_new_panel(client: Client, required: Any) -> None:
    """From the printed link to the first page: a password may wait, the factor may not."""
    output = StringIO()
    call_command("signin_link", stdout=output)
    link = output.getvalue().strip().removeprefix("http://127.0.0.1:8000")
    assert client.post(link, {"username": "ada"}).headers["Location"] == reverse("account_set_password")
    assert client.get(reverse("account_set_password")).status_code == 200
    client.post(reverse("account_set_password"), {"password1": PASSWORD, "password2": PASSWORD})
    assert client.get("/").headers["Location"] == reverse("mfa_index")
    secret = client.get(reverse("mfa_activate_totp")).context["form"].secret
    response = client.post(reverse("mfa_activate_totp"), {"code": code_of(secret)}, follow=True)
    assert b"Recovery codes" in response.content
    assert client.get("/").status_code == 200 and client.get("/people/").status_code == 200


def test_recovery_codes_alone_are_no_factor(client: Client, ada: User, required: Any) -> None:
    from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes

    RecoveryCodes.activate(ada)
    sign_in(client)
    assert client.get("/").headers["Location"] == reverse("mfa_index")


def test_only_roles_that_are_named_must(client: Client, required: Any) -> None:
    bob = User.objects.create_user("bob", password=PASSWORD)
    acme = Tenant.objects.create(slug="acme", name="Acme")
    membership = Membership.objects.create(tenant=acme, user=bob, role="member")
    sign_in(client, "bob")
    assert client.get("/").status_code == 200
    Membership.objects.filter(pk=membership.pk).update(role="owner")
    assert client.get("/").headers["Location"] == reverse("mfa_index")
    Tenant.objects.update(archived_at=timezone.now())
    assert client.get("/").status_code == 200


def test_what_is_open_without_a_factor_are_addresses_of_the_panel() -> None:
    from django.urls import get_resolver

    assert {pattern.name for pattern in get_resolver().url_patterns} >= OPEN_WITHOUT_FACTOR


# Losing them


def test_an_administrator_removes_a_persons_factors(client: Client, ada: User) -> None:
    bob = User.objects.create_user("bob", password=PASSWORD)
    theirs = Client()
    sign_in(theirs, "bob")
    add_app(bob)
    sign_in(client)
    assert "authenticator app" in client.get(reverse("person", args=[bob.pk])).content.decode()
    client.post(reverse("person-factors", args=[bob.pk]))
    assert not Authenticator.objects.exists()
    assert theirs.get(reverse("account")).status_code == 302
    (entry,) = entries("user.factors")
    assert (entry.actor, entry.object_name, bool(entry.before["app"]), entry.after["app"]) == ("ada", "bob", True, "")
    # The person is told, once.
    assert "removed by an administrator" in sign_in_and_look(theirs)
    assert "removed by an administrator" not in sign_in_and_look(Client())


def sign_in_and_look(client: Client) -> str:
    return client.post(reverse("account_login"), {"login": "bob", "password": PASSWORD}, follow=True).content.decode()


def test_the_command_line_removes_them_too(client: Client, ada: User) -> None:
    add_app(ada)
    output = StringIO()
    call_command("signin_link", "ada", "--forget-factors", stdout=output)
    assert not Authenticator.objects.exists()
    assert entries("user.factors")[0].actor == "command line"
    response = client.post(output.getvalue().strip().removeprefix("http://127.0.0.1:8000"))
    assert response.headers["Location"] == reverse("account_set_password")


def test_a_link_alone_removes_nothing(ada: User) -> None:
    add_app(ada)
    call_command("signin_link", "ada", stdout=StringIO())
    assert Authenticator.objects.count() == 1


def test_nobodys_factors_cannot_be_removed() -> None:
    with pytest.raises(CommandError, match="name of a person"):
        call_command("signin_link", "--forget-factors", stdout=StringIO())
