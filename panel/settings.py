"""Everything comes from the environment (docs/install.md lists the names), with defaults that are safe.

What would be unsafe in production is refused at start, by name. CELLBLOCK_DEMO=1 is for trying and developing on one
machine.
"""

import contextlib
import ipaddress
import os
import secrets
import zoneinfo
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import dj_database_url
import structlog
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from environs import Env

from jails import hours

BASE_DIR = Path(__file__).resolve().parent.parent

env = Env(prefix="CELLBLOCK_")
env.read_env(env.str("ENV_FILE", str(BASE_DIR / ".env")), recurse=False)


def refuse(name: str, problem: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"CELLBLOCK_{name}: {problem}")


def is_loopback(host: str | None) -> bool:
    """Whether a host as written in a URL is this machine; no name (a socket's path, a file) is too."""
    if not host or host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def make_folder(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise refuse("STATE_DIR", f"cannot be written: {error}") from error


def kept_secret(path: Path) -> str:
    """The secret in a file that only this user can read; made at the first use, by one of several at once."""
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(64))
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text().strip()


def secret_of(name: str) -> str:
    """What is in the file that a setting names, "" when it names none: what prints the environment shows no secret."""
    path = env.str(name, "")
    try:
        return Path(path).read_text().strip() if path else ""
    except OSError as error:
        raise refuse(name, f"cannot be read: {error}") from error


# What this is

DEMO = env.bool("DEMO", False)
DEBUG = env.bool("DEBUG", False)
STATE_DIR = Path(env.str("STATE_DIR", str(BASE_DIR / ".state") if DEMO else "/var/db/cellblock")).resolve()
LISTEN = env.str("LISTEN", "127.0.0.1:8000")
LIVE_LISTEN = env.str("LIVE_LISTEN", "127.0.0.1:8001")
# Where the demo serves the small mirror that its simulated hosts fetch releases from.
MIRROR_LISTEN = env.str("MIRROR_LISTEN", "127.0.0.1:8002")
URL = env.str("URL", f"http://{LISTEN}" if DEMO else "").rstrip("/")
if not URL:
    raise refuse(
        "URL",
        "say where people reach the panel, like https://cellblock.example.org (or try the demo: CELLBLOCK_DEMO=1)",
    )
if urlsplit(URL).scheme not in ("http", "https") or not urlsplit(URL).hostname or urlsplit(URL).path:
    raise refuse("URL", f"expected http(s)://HOST[:PORT] without a path, got {URL!r}")
HTTPS = URL.startswith("https://")
WORKERS = env.str("WORKERS", "local")
if WORKERS not in ("local", "remote"):
    raise refuse("WORKERS", f"expected local or remote, got {WORKERS!r}")

if DEMO:
    make_folder(STATE_DIR)
if DEBUG and not DEMO:
    raise refuse("DEBUG", "shows secrets to whoever meets an error; it works with CELLBLOCK_DEMO=1 only")
if DEMO and not is_loopback(urlsplit(f"//{LISTEN}").hostname) and not env.str("URL", ""):
    raise refuse("URL", f"say under which address people reach the demo that listens on {LISTEN}")
if not DEMO and not HTTPS and not is_loopback(urlsplit(URL).hostname):
    raise refuse("URL", f"sign-in needs https:// away from this machine, got {URL}")

# Secrets. The key that workers seal steps with is no setting: only workers open the file named here.

SECRET_KEY = secret_of("SECRET_KEY_FILE") or env.str("SECRET_KEY", "")
if not SECRET_KEY and DEMO:
    SECRET_KEY = kept_secret(STATE_DIR / "secret_key")
if not SECRET_KEY:
    raise refuse(
        "SECRET_KEY", "give it, or name a file with it in CELLBLOCK_SECRET_KEY_FILE: 50 random characters or more"
    )
if len(SECRET_KEY) < 50 or len(set(SECRET_KEY)) < 10 or SECRET_KEY.startswith("django-insecure-"):
    raise refuse("SECRET_KEY", "too easy to guess: 50 random characters or more are needed")
SECRET_KEY_FALLBACKS = env.list("OLD_SECRET_KEYS", [])
WORKER_DIR = Path(env.str("WORKER_DIR", str(STATE_DIR / "worker")))
WORKER_KEY_FILE = Path(env.str("WORKER_KEY_FILE", str(WORKER_DIR / "seal.key")))
# Where the log ends, signed on a schedule: the key and the file are the workers'.
AUDIT_KEY_FILE = Path(env.str("AUDIT_KEY_FILE", str(WORKER_DIR / "audit-signing.key")))
AUDIT_CHECKPOINTS = Path(env.str("AUDIT_CHECKPOINTS", str(WORKER_DIR / "audit-checkpoints.jsonl")))
# Old entries as sealed files: copies to keep elsewhere, nothing is taken out of the database.
AUDIT_ARCHIVE = Path(env.str("AUDIT_ARCHIVE", str(WORKER_DIR / "audit-archive")))
# A syslog that gets the checkpoints too: the path of a socket, or HOST or HOST:PORT for UDP.
AUDIT_SYSLOG = env.str("AUDIT_SYSLOG", "")
# When staff are expected to work: what they do at other times is to be reviewed. Empty: at any time.
try:
    AUDIT_WORKING_HOURS = hours.parse(env.str("AUDIT_WORKING_HOURS", ""))
except ValueError as error:
    raise refuse("AUDIT_WORKING_HOURS", str(error)) from error
try:
    AUDIT_TIME_ZONE = zoneinfo.ZoneInfo(env.str("AUDIT_TIME_ZONE", "UTC"))
except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError) as error:
    raise refuse("AUDIT_TIME_ZONE", "expected the name of a time zone, like Europe/Berlin") from error
# Consoles: consoled answers on this socket, and alone writes the recordings.
CONSOLED_SOCKET = env.str("CONSOLED_SOCKET", str(STATE_DIR / "consoled.sock"))
CONSOLE_RECORDINGS = Path(env.str("CONSOLE_RECORDINGS", str(WORKER_DIR / "consoles")))
CONSOLE_RECORDING_BYTES = env.int("CONSOLE_RECORDING_BYTES", 32 << 20)
CONSOLE_RECORDING_DAYS = env.int("CONSOLE_RECORDING_DAYS", 365)
if CONSOLE_RECORDING_DAYS < 0:
    raise refuse("CONSOLE_RECORDING_DAYS", "expected days, or 0 to keep them for ever")
CONSOLE_IDLE_SECONDS = env.int("CONSOLE_IDLE_SECONDS", 15 * 60)
CONSOLE_TOTAL_SECONDS = env.int("CONSOLE_TOTAL_SECONDS", 8 * 3600)
CONSOLE_COMMAND_SECONDS = env.int("CONSOLE_COMMAND_SECONDS", 20)
CONSOLE_POLL_SECONDS = env.float("CONSOLE_POLL_SECONDS", 2.0)
CONSOLE_THREADS = 16
CONSOLE_COMMANDS = 16
CONSOLE_COMMANDS_PER_HOST = 4
CONSOLES = env.int("CONSOLES", 200)
CONSOLES_PER_USER = env.int("CONSOLES_PER_USER", 6)
CONSOLES_PER_TENANT = env.int("CONSOLES_PER_TENANT", 24)
# Logs that are followed, by consoled too.
FOLLOWS = env.int("FOLLOWS", 200)
FOLLOWS_PER_USER = env.int("FOLLOWS_PER_USER", 6)
FOLLOWS_PER_JAIL = env.int("FOLLOWS_PER_JAIL", 12)
FOLLOW_SECONDS = env.int("FOLLOW_SECONDS", 3600)
FOLLOW_BYTES = env.int("FOLLOW_BYTES", 64 << 20)
if not 0 < FOLLOW_SECONDS <= 3600:
    raise refuse("FOLLOW_SECONDS", f"expected 1 to 3600, got {FOLLOW_SECONDS}")
# Where workers may connect to by SSH, whatever address a host is given. None: anywhere
try:
    HOST_NETWORKS = [ipaddress.ip_network(text.strip()) for text in env.list("HOST_NETWORKS", [])]
except ValueError as error:
    raise refuse("HOST_NETWORKS", f"expected networks like 192.0.2.0/24, separated by commas: {error}") from None
# How a user other than root gets root's rights on a host, without a password.
BECOME = tuple(env.str("BECOME", "sudo -n").split())

# Applications

INSTALLED_APPS = [
    "panel",
    "jails",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.usersessions",
    "axes",
    "csp",
    "django_filters",
    "django_htmx",
    "django_tables2",
    "rules.apps.RulesConfig",
    "template_partials",
]

MIDDLEWARE = [
    "panel.middleware.trusted_proxies",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "panel.middleware.ends_in_time",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "panel.middleware.back_to_the_form",
    "panel.middleware.MustHaveFactor",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "panel.urls"
WSGI_APPLICATION = "panel.wsgi.application"
ASGI_APPLICATION = "panel.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "panel.context.shell",
            ],
        },
    },
]

# Data

DATABASE_URL = env.str("DATABASE_URL", "") or f"sqlite:///{STATE_DIR / 'cellblock.sqlite3'}"
DATABASES: dict[str, Any] = {
    "default": dj_database_url.parse(DATABASE_URL, conn_max_age=60, conn_health_checks=True),
}
DATABASE_IS_SQLITE = DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3"
if DATABASE_IS_SQLITE:
    DATABASES["default"]["OPTIONS"] = {
        # Taking the write lock at BEGIN is what lets the busy timeout wait instead of failing in the middle.
        "transaction_mode": "IMMEDIATE",
        "timeout": 30,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
    }
    # In a file as in real use: an in-memory database has other locks.
    DATABASES["default"]["TEST"] = {"NAME": str(STATE_DIR / "test.sqlite3")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CACHE_URL = env.str("CACHE_URL", "")
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": CACHE_URL}
    if CACHE_URL
    else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
}

# Queue: a message is an operation's id and only a hint, so there are no results, no pickles and no remote control

BROKER_URL = env.str("BROKER_URL", "filesystem://localhost/")
BROKER_IS_FILES = BROKER_URL.startswith("filesystem:")
BROKER_IS_LOCAL = BROKER_IS_FILES or "+socket:" in BROKER_URL or is_loopback(urlsplit(BROKER_URL).hostname)
if not DEMO and DATABASE_IS_SQLITE and not BROKER_IS_LOCAL:
    raise refuse("DATABASE_URL", "SQLite serves one machine, but CELLBLOCK_BROKER_URL is on another: name a PostgreSQL")
if not DEMO and DATABASE_IS_SQLITE and WORKERS == "remote":
    raise refuse("DATABASE_URL", "SQLite serves one machine, but CELLBLOCK_WORKERS is remote: name a PostgreSQL")
if not DEMO and BROKER_IS_FILES and WORKERS == "remote":
    raise refuse("BROKER_URL", "files serve one machine, but CELLBLOCK_WORKERS is remote: name a Redis")

CELERY_BROKER_URL = BROKER_URL
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
if BROKER_IS_FILES:
    BROKER_DIR = STATE_DIR / "broker"
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(BROKER_DIR / "messages"),
        "data_folder_out": str(BROKER_DIR / "messages"),
        "control_folder": str(BROKER_DIR / "control"),
        "polling_interval": 0.1,
    }
    make_folder(BROKER_DIR / "messages")
    make_folder(BROKER_DIR / "control")
else:
    # A request that sends a message must not wait for a broker that is away: the sweeper sends it again.
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "socket_connect_timeout": 3,
        "socket_timeout": 5,
        "socket_keepalive": True,
        "max_retries": 1,
        "interval_start": 0.1,
        "interval_step": 0.1,
        "interval_max": 0.2,
    }
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # workers wait for their broker however long it is away
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_RESULT_BACKEND = None
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
CELERY_TASK_DEFAULT_QUEUE = "operations"
# Refreshes, and the sweeper that finds forgotten work, never wait behind a long operation.
CELERY_TASK_ROUTES = {
    "jails.tasks.refresh*": {"queue": "refresh"},
    "jails.tasks.sweep": {"queue": "refresh"},
    "jails.tasks.audit_review": {"queue": "refresh"},
    "jails.tasks.tell_of_break_glass": {"queue": "refresh"},
    "jails.tasks.send_summaries": {"queue": "refresh"},
    "jails.tasks.end_sandboxes": {"queue": "refresh"},
}
CELERY_BEAT_SCHEDULE_FILENAME = str(STATE_DIR / "beat")
CELERY_BEAT_SCHEDULE = {
    "sweep": {"task": "jails.tasks.sweep", "schedule": 10.0, "options": {"expires": 10}},
    "audit checkpoint": {"task": "jails.tasks.audit_checkpoint", "schedule": 3600.0, "options": {"expires": 3600}},
    "audit seal": {"task": "jails.tasks.audit_seal", "schedule": 86400.0, "options": {"expires": 86400}},
    "break-glass": {"task": "jails.tasks.tell_of_break_glass", "schedule": 30.0, "options": {"expires": 30}},
    "summaries": {"task": "jails.tasks.send_summaries", "schedule": 900.0, "options": {"expires": 900}},
    "sandboxes": {"task": "jails.tasks.end_sandboxes", "schedule": 300.0, "options": {"expires": 300}},
    "audit review": {"task": "jails.tasks.audit_review", "schedule": 60.0, "options": {"expires": 60}},
    "refresh hosts": {"task": "jails.tasks.refresh_hosts", "schedule": 60.0, "options": {"expires": 60}},
}

# People

AUTH_USER_MODEL = "jails.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "rules.permissions.ObjectPermissionBackend",
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "panel.passwords.ContextWords"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "panel.accounts.AccountAdapter"
ACCOUNT_FORMS = {
    "login": "panel.forms.account.SignInForm",
    "reauthenticate": "panel.forms.account.PasswordForm",
    "add_email": "panel.forms.account.AddressForm",
}
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"  # an address is no way in; a new one counts once its link was used
ACCOUNT_CHANGE_EMAIL = True
ACCOUNT_EMAIL_CONFIRMATION_EXPIRE_DAYS = 1
ACCOUNT_EMAIL_SUBJECT_PREFIX = "[Cellblock] "
ACCOUNT_EMAIL_NOTIFICATIONS = True  # of changed passwords, factors and addresses, to who has an address
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_SESSION_REMEMBER = True  # as long as CELLBLOCK_SESSION_SECONDS
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_RATE_LIMITS = {
    "login_failed": None,  # axes counts failures, in the database, for all processes together
    "change_password": "20/m/user",
}
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_ENABLE_ADMIN = False
AXES_DISABLE_ACCESS_LOG = True  # sign-ins are in the audit log
AXES_LOCKOUT_TEMPLATE = "account/locked_out.html"
AXES_SENSITIVE_PARAMETERS = ["username", "password", "login", "code", "credential"]

# Second factors

ROLES = ("administrator", "operator", "auditor", "owner", "manager", "member", "viewer")
MFA_REQUIRED_ROLES = frozenset(
    name.strip() for name in env.list("MFA_REQUIRED_ROLES", [] if DEMO else list(ROLES[:3])) if name.strip()
)
if unknown := sorted(MFA_REQUIRED_ROLES - set(ROLES)):
    raise refuse("MFA_REQUIRED_ROLES", f"there is no role {', '.join(unknown)}; there are {', '.join(ROLES)}")
# How long a proof of who one is stands, for what needs a recent one.
STEP_UP_MINUTES = env.int("STEP_UP_MINUTES", 15)
if not 1 <= STEP_UP_MINUTES <= 1440:
    raise refuse("STEP_UP_MINUTES", f"expected 1 to 1440, got {STEP_UP_MINUTES}")
ACCOUNT_REAUTHENTICATION_TIMEOUT = STEP_UP_MINUTES * 60
MFA_ADAPTER = "panel.factors.MFAAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_ALLOW_UNVERIFIED_EMAIL = True  # people are invited: no address stands for a person
MFA_RATE_LIMITS = {"webauthn_login": "30/m/ip"}  # a sign-in is two requests, and an office has one address
MFA_TOTP_ISSUER = f"Cellblock {urlsplit(URL).hostname}"
MFA_FORMS = {
    "authenticate": "panel.forms.factors.AuthenticateForm",
    "reauthenticate": "panel.forms.factors.ReauthenticateForm",
    "authenticate_webauthn": "panel.forms.factors.AuthenticateWebAuthnForm",
    "reauthenticate_webauthn": "panel.forms.factors.ReauthenticateWebAuthnForm",
    "activate_totp": "panel.forms.factors.ActivateTOTPForm",
    "login_webauthn": "panel.forms.factors.LoginWebAuthnForm",
    "add_webauthn": "panel.forms.factors.AddWebAuthnForm",
    "edit_webauthn": "panel.forms.factors.EditWebAuthnForm",
}

# An OpenID Connect provider to sign in with

OIDC_ID = "oidc"
OIDC_ISSUER = env.str("OIDC_ISSUER", "")  # to the letter what its tokens say
OIDC_NAME = env.str("OIDC_NAME", "single sign-on")
OIDC_CLIENT_ID = env.str("OIDC_CLIENT_ID", "")
oidc_secret = secret_of("OIDC_CLIENT_SECRET_FILE")
issuer = urlsplit(OIDC_ISSUER)
if OIDC_ISSUER and (issuer.scheme not in ("http", "https") or not issuer.hostname):
    raise refuse("OIDC_ISSUER", f"expected an address, got {OIDC_ISSUER!r}")
if OIDC_ISSUER and issuer.scheme != "https" and not is_loopback(issuer.hostname):
    raise refuse("OIDC_ISSUER", "needs https://: what it says decides who somebody is")
if OIDC_ISSUER and not (OIDC_CLIENT_ID and oidc_secret):
    raise refuse("OIDC_CLIENT_ID", "give it and CELLBLOCK_OIDC_CLIENT_SECRET_FILE with the issuer")
# Where a browser is sent from the sign-in page (browsers hold redirects of forms to what is allowed for forms), and
# all that the panel itself asks, whatever the provider's own pages say.
OIDC_ORIGINS = [f"{issuer.scheme}://{issuer.netloc}", *env.list("OIDC_ORIGINS", [])] if OIDC_ISSUER else []
SOCIALACCOUNT_ADAPTER = "panel.oidc.SocialAccountAdapter"
SOCIALACCOUNT_AUTO_SIGNUP = False
SOCIALACCOUNT_EMAIL_AUTHENTICATION = False  # an address that somebody else vouches for opens no account
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_LOGIN_ON_GET = False
SOCIALACCOUNT_REQUESTS_TIMEOUT = 10
SOCIALACCOUNT_PROVIDERS = {
    "openid_connect": {
        "OAUTH_PKCE_ENABLED": True,
        "SCOPE": ["openid"],
        "APPS": [
            {
                "provider_id": OIDC_ID,
                "name": OIDC_NAME,
                "client_id": OIDC_CLIENT_ID,
                "secret": oidc_secret,
                "settings": {"server_url": OIDC_ISSUER.rstrip("/"), "fetch_userinfo": False},
            }
        ]
        if OIDC_ISSUER
        else [],
    }
}

# What the browser and the proxy are told

trusted_proxies = env.list("TRUSTED_PROXY", [])
TRUSTED_PROXY_SOCKET = "unix" in trusted_proxies
try:
    TRUSTED_PROXIES = [ipaddress.ip_network(value) for value in trusted_proxies if value != "unix"]
except ValueError as error:
    raise refuse("TRUSTED_PROXY", f"expected addresses, networks or unix, separated by commas: {error}") from error
if trusted_proxies:
    # Safe because panel.middleware.trusted_proxies removes the header from all others' requests.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
ALLOWED_HOSTS = [urlsplit(URL).hostname, *env.list("ALLOWED_HOSTS", [])]
CSRF_TRUSTED_ORIGINS = [URL]
LIVE_ORIGINS: list[str] = []
"""Other origins that pages may stream from; behind a proxy it is the path /live/ of their own."""
if DEMO:
    ALLOWED_HOSTS += ["127.0.0.1", "localhost", "[::1]"]
    live_port = LIVE_LISTEN.rpartition(":")[2]
    LIVE_ORIGINS = [
        f"{scheme}://{host}:{live_port}" for host in ("127.0.0.1", "localhost") for scheme in ("http", "ws")
    ]
PAGE_ORIGINS = [URL, *(f"{urlsplit(URL).scheme}://{name}" for name in env.list("ALLOWED_HOSTS", []))]
"""Where pages come from: what a websocket's Origin must be, to the letter."""
if DEMO:
    PAGE_ORIGINS += [f"http://{host}:{LISTEN.rpartition(':')[2]}" for host in ("127.0.0.1", "localhost")]

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "base-uri": [NONE],
        # Not every browser takes a websocket of the page's own origin for 'self'.
        "connect-src": [SELF, *LIVE_ORIGINS] if DEMO else [SELF, f"ws{URL.removeprefix('http')}"],
        "form-action": [SELF, *OIDC_ORIGINS],
        "frame-ancestors": [NONE],
        "img-src": [SELF, "data:"],  # Tabler's style sheet carries its check marks as data: images
        "object-src": [NONE],
    },
}
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SECURE_REFERRER_POLICY = "same-origin"
# Behind a proxy that says how it was asked; a monitor may ask for the health without TLS.
SECURE_SSL_REDIRECT = HTTPS and bool(trusted_proxies)
SECURE_REDIRECT_EXEMPT = [r"^health$"]
# Whether the names below its own have TLS, the panel cannot know: HSTS is for its own alone unless somebody says so.
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.bool("HSTS_SUBDOMAINS", False)
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
SECURE_HSTS_SECONDS = env.int("HSTS_SECONDS", 31_536_000) if HTTPS else 0
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_NAME = "__Host-session" if HTTPS else "session"
SESSION_COOKIE_AGE = env.int("SESSION_SECONDS", 12 * 3600)
SESSION_IDLE_SECONDS = env.int("SESSION_IDLE_SECONDS", 0 if DEMO else 4 * 3600)
STAFF_IDLE_SECONDS = env.int("STAFF_IDLE_SECONDS", 0 if DEMO else 30 * 60)
"""After so long without anything done a sign-in ends; staff are those with a role in the panel. 0: never for that."""
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_NAME = "__Host-csrf" if HTTPS else "csrf"
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SECURE = HTTPS
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_621_440
DATA_UPLOAD_MAX_NUMBER_FIELDS = 5_000
DATA_UPLOAD_MAX_NUMBER_FILES = 0  # no form takes a file

# Time, language, static files

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
USE_I18N = False
STATIC_URL = "/static/"
STATIC_ROOT = env.str("STATIC_ROOT", str(STATE_DIR / "static"))
STATICFILES_DIRS = [BASE_DIR / "static"]
if DEMO:
    make_folder(Path(STATIC_ROOT))  # stays empty: the demo serves the files where they are
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEMO
        else "whitenoise.storage.CompressedManifestStaticFilesStorage",
    },
}
WHITENOISE_USE_FINDERS = DEMO
WHITENOISE_AUTOREFRESH = DEBUG

# Mail: smtp://[NAME[:PASSWORD]@]HOST[:PORT] asks for STARTTLS (but of this machine), smtps:// speaks TLS at once

MAIL_URL = urlsplit(env.str("MAIL_URL", "console:" if DEMO else ""))
MAIL_SENDS = bool(MAIL_URL.scheme)
if MAIL_SENDS and MAIL_URL.scheme not in ("console", "smtp", "smtps"):
    raise refuse("MAIL_URL", f"expected smtp://HOST, smtps://HOST or console:, got {MAIL_URL.scheme}:")
if MAIL_URL.scheme in ("smtp", "smtps") and not MAIL_URL.hostname:
    raise refuse("MAIL_URL", "names no host")
EMAIL_BACKEND = "django.core.mail.backends." + (
    "smtp.EmailBackend" if MAIL_URL.hostname else "console.EmailBackend" if MAIL_SENDS else "dummy.EmailBackend"
)
EMAIL_HOST = MAIL_URL.hostname or ""
EMAIL_HOST_USER = unquote(MAIL_URL.username or "")
EMAIL_HOST_PASSWORD = secret_of("MAIL_PASSWORD_FILE") or unquote(MAIL_URL.password or "")
EMAIL_USE_SSL = MAIL_URL.scheme == "smtps"
EMAIL_USE_TLS = MAIL_URL.scheme == "smtp" and not is_loopback(MAIL_URL.hostname)
EMAIL_PORT = MAIL_URL.port or (465 if EMAIL_USE_SSL else 587 if EMAIL_USE_TLS else 25)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.str("MAIL_FROM", f"cellblock@{urlsplit(URL).hostname}")

# Logs: one line an event on stderr, JSON unless somebody reads along. Tracebacks come without the values of variables,
# some of which are secrets.

LOG_LEVEL = env.str("LOG_LEVEL", "INFO").upper()
LOG_FORMAT = env.str("LOG_FORMAT", "text" if DEMO else "json")
SHARED_LOG_PROCESSORS: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "structlog": {
            "()": structlog.stdlib.ProcessorFormatter,
            "foreign_pre_chain": [*SHARED_LOG_PROCESSORS, structlog.stdlib.ExtraAdder()],
            "processors": [
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *(
                    [
                        structlog.processors.ExceptionRenderer(
                            structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
                        ),
                        structlog.processors.JSONRenderer(),
                    ]
                    if LOG_FORMAT == "json"
                    else [
                        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
                    ]
                ),
            ],
        },
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structlog"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        # These set up handlers of their own, or say at INFO what nobody asked.
        "django": {"handlers": [], "level": LOG_LEVEL, "propagate": True},
        "django.server": {"handlers": [], "propagate": True},
        "django.request": {
            "level": "ERROR"
        },  # a form to be corrected, or a refusal, which is an entry of the audit log
        "axes": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
        "celery.beat": {"level": "WARNING"},
        "celery.worker.strategy": {"level": "WARNING"},
        "paramiko": {"level": "WARNING"},
    },
}
if AUDIT_SYSLOG:
    place, _, port = AUDIT_SYSLOG.partition(":")
    LOGGING["handlers"]["audit syslog"] = {
        "class": "logging.handlers.SysLogHandler",
        "address": AUDIT_SYSLOG if AUDIT_SYSLOG.startswith("/") else (place, int(port or 514)),
        "facility": "authpriv",
    }
    LOGGING["loggers"]["cellblock.audit"] = {"handlers": ["audit syslog"], "level": "INFO", "propagate": True}
structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        *SHARED_LOG_PROCESSORS,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.StackInfoRenderer(),
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=True,
)
