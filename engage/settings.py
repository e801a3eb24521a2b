"""Settings of the Engage project, read from the environment (and from `.env` beside `manage.py` where that exists).

Nothing is needed for a first look: the embedded set-up keeps everything below `var/`. `docs/configuration.md` lists the
variables. Secrets are read raw, since django-environ takes a value that begins with `$` as a reference to another one.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django_stubs_ext
import environ
from celery.schedules import schedule
from django.core.exceptions import ImproperlyConfigured
from django.urls import reverse_lazy

from engage import crash

# Lets Django's generic classes be subscripted at run time, as the types need it (`ModelForm[App]`).
django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
environ.Env.read_env(BASE_DIR / ".env")


def strict_bool(name: str, *, default: bool) -> bool:
    """Read a switch; a word that is neither yes nor no is refused instead of counting as no."""
    value = os.environ.get(name, "").strip().lower()
    if value in {"", "1", "true", "yes", "on", "0", "false", "no", "off"}:
        return value in {"1", "true", "yes", "on"} if value else default
    raise ImproperlyConfigured(f"{name} is neither true nor false.")


def days(name: str, default: int, *, least: int) -> int:
    """Read a number of days; less than `least` is refused: it would delete what is still needed."""
    value = os.environ.get(name, "").strip() or str(default)
    if not value.isdecimal() or int(value) < least:
        raise ImproperlyConfigured(f"{name} must be a number of days, at least {least}.")
    return int(value)


def word_list(name: str) -> list[str]:
    """Read a comma-separated list; blanks around and between the words do not count."""
    return [word.strip() for word in os.environ.get(name, "").split(",") if word.strip()]


def required_secret(name: str) -> str:
    """Read a secret that has no default.

    Raises:
        ImproperlyConfigured: it is not set.

    """
    value = os.environ.get(name, "")
    if not value:
        raise ImproperlyConfigured(
            f"{name} is not set. `make demo` makes one for a first look; see docs/configuration.md."
        )
    return value


VAR_DIR = Path(os.environ.get("ENGAGE_VAR_DIR") or BASE_DIR / "var")
VAR_DIR.mkdir(parents=True, exist_ok=True)

DEBUG = strict_bool("DEBUG", default=False)
SECRET_KEY = required_secret("SECRET_KEY")
# The first key encrypts, all of them decrypt (`manage.py rotate_keys` moves everything to the first).
FIELD_ENCRYPTION_KEY = [key.strip() for key in required_secret("FIELD_ENCRYPTION_KEY").split(",") if key.strip()]
# Where people reach this installation: links in e-mails, the allowed host, and whether cookies are for HTTPS only.
ENGAGE_BASE_URL = os.environ.get("ENGAGE_BASE_URL", "http://localhost:8000").rstrip("/")
_base = urlsplit(ENGAGE_BASE_URL)
HTTPS = _base.scheme == "https"
ALLOWED_HOSTS = word_list("ALLOWED_HOSTS") or [_base.hostname or "localhost", "localhost", "127.0.0.1"]
CSRF_TRUSTED_ORIGINS = [ENGAGE_BASE_URL]

INSTALLED_APPS = [
    "engage",
    "engage.vault",
    "engage.tenancy",
    "engage.audit",
    "engage.schedules",
    "engage.alerts",
    "connectors",
    "sync",
    "prompts",
    "unfold.apps.BasicAppConfig",  # its templates come before those of django.contrib.admin
    "unfold.contrib.forms",
    "unfold.contrib.filters",
    "engage.console.ConsoleConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_celery_beat",
    "axes",
    "django_otp",
    "corsheaders",
    "ninja",  # so that the interactive documentation brings its own files
]

MIDDLEWARE = [
    "engage.proxies.ForwardedAddressMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "engage.headers.ContentSecurityPolicyMiddleware",
    "engage.tenancy.middleware.MachinesMiddleware",
    # What follows is for people.
    "engage.body_limit.BodyLimitMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "engage.tenancy.middleware.SecondFactorMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "engage.tenancy.middleware.CurrentAppMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "engage.urls"
WSGI_APPLICATION = "engage.wsgi.application"
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
                "engage.tenancy.context.current_app",
                "engage.tenancy.context.account_pages",
            ],
        },
    },
]

# --- database ---------------------------------------------------------------------------------------------------------
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES: dict[str, dict[str, Any]] = {
    "default": env.db_url("DATABASE_URL", default=f"sqlite:///{VAR_DIR / 'engage.sqlite3'}"),
}
_database = DATABASES["default"]
_database["CONN_MAX_AGE"] = 600
_database["CONN_HEALTH_CHECKS"] = True
if _database["ENGINE"] == "django.db.backends.sqlite3":
    # WAL lets people read while a worker writes; FULL, since NORMAL may lose the last commits at a power failure;
    # IMMEDIATE, so that a transaction that reads first and writes later waits for its turn instead of failing.
    _database["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
    }
else:
    # The second time that a connection runs one of the statements of engage/prepared.py, PostgreSQL keeps its plan.
    _database.setdefault("OPTIONS", {}).setdefault("prepare_threshold", 1)

# --- cache: tokens of vendors and API limits, never the engine's own bookkeeping ----------------------------------------
CACHES = {"default": env.cache_url("CACHE_URL", default="locmemcache://engage")}

# --- how fast the engine's time goes -------------------------------------------------------------------------------------
# Its leases, delays and time-outs are divided by this, so that a drill sees in minutes what takes hours.
ENGAGE_TIME_SCALE = float(os.environ.get("ENGAGE_TIME_SCALE") or 1)
if ENGAGE_TIME_SCALE <= 0:
    raise ImproperlyConfigured("ENGAGE_TIME_SCALE must be more than 0; 1 is real time.")

# --- a drill ends a process at one of these points (engage/crash.py) -------------------------------------------------------
ENGAGE_CRASH_AT = os.environ.get("ENGAGE_CRASH_AT", "").strip()
if ENGAGE_CRASH_AT and ENGAGE_CRASH_AT not in crash.POINTS:
    raise ImproperlyConfigured(f"ENGAGE_CRASH_AT names no crash point. There are {', '.join(crash.POINTS)}.")
if ENGAGE_CRASH_AT and HTTPS:
    raise ImproperlyConfigured("ENGAGE_CRASH_AT is for drills; an installation that is reached over HTTPS refuses it.")

# --- Celery rings the bell; the database row is the queue -----------------------------------------------------------------
CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL", "filesystem://")
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "engage"
CELERY_TIMEZONE = "UTC"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BEAT_SCHEDULER = "engage.beat:Scheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = 5
if CELERY_BROKER_URL.startswith("filesystem:"):
    _queue = VAR_DIR / "broker"
    for folder in ("messages", "processed", "control"):
        (_queue / folder).mkdir(parents=True, exist_ok=True)
    CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = {
        "data_folder_in": _queue / "messages",
        "data_folder_out": _queue / "messages",
        "processed_folder": _queue / "processed",
        "control_folder": _queue / "control",
        "polling_interval": 0.1,
    }
else:
    # Ringing must never hold up an answer; what could not be rung for is found by the sweep.
    CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_connect_timeout": 0.5, "socket_timeout": 5, "max_retries": 0}
CELERY_BROKER_CONNECTION_TIMEOUT = 0.5
CELERY_TASK_PUBLISH_RETRY = False
# django-celery-beat keeps intervals in whole seconds: a part of one would be read back as 0, and beat would send without end.
# It knows `expire_seconds` and leaves out Celery's own `expires`. A tick that no worker hears must expire, or else all those of
# a night without workers stand before the bells of the morning; the
# minutes that it has are for clocks that differ, by which Celery judges.
CELERY_BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    "engage: sweep executions": {
        "task": "prompts.sweep",
        "schedule": schedule(max(1, round(5 / ENGAGE_TIME_SCALE))),
        "options": {"expire_seconds": 300},
    },
    "engage: ask held connections": {
        "task": "connectors.probe_held",
        "schedule": schedule(600),
        "options": {"expire_seconds": 300},
    },
    "engage: refresh catalogues": {
        "task": "connectors.refresh_catalogues",
        "schedule": schedule(300),
        "options": {"expire_seconds": 300},
    },
    "engage: check inputs": {
        "task": "prompts.recheck_inputs",
        "schedule": schedule(900),
        "options": {"expire_seconds": 600},
    },
    "engage: purge": {"task": "engage.purge", "schedule": schedule(3600), "options": {"expire_seconds": 1800}},
    # Beat carries this one out itself (engage/beat.py).
    "engage: watch": {"task": "engage.watch", "schedule": schedule(30), "options": {"expire_seconds": 30}},
    "engage: due schedules": {"task": "sync.tick", "schedule": schedule(30), "options": {"expire_seconds": 300}},
}

# --- people -------------------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "tenancy.User"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
for _validator in AUTH_PASSWORD_VALIDATORS:
    if _validator["NAME"].endswith("MinimumLengthValidator"):
        _validator["OPTIONS"] = {"min_length": 12}  # type: ignore[assignment]
LOGIN_URL = reverse_lazy("admin:login")
LOGIN_REDIRECT_URL = reverse_lazy("admin:index")
PASSWORD_RESET_TIMEOUT = 60 * 60 * 24
# Five failures of one person from one address lock that pair for a quarter of an hour; the handler adds a limit by name alone.
AXES_HANDLER = "engage.tenancy.lockout.Handler"
AXES_CLIENT_IP_CALLABLE = "engage.tenancy.rates.one_address"
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_VERBOSE = False
AXES_LOCKOUT_CALLABLE = "engage.tenancy.lockout.locked_out"
AXES_USERNAME_CALLABLE = "engage.tenancy.lockout.username"
# The time that the e-mail names holds, whatever is tried meanwhile.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_ENABLE_ADMIN = False
# Who signed in is in our history; axes would keep it for ever.
AXES_DISABLE_ACCESS_LOG = True
# axes keeps what was sent with a failure, without these.
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "code"]
SESSION_COOKIE_AGE = 60 * 60 * 12
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
# By this prefix a browser keeps the cookies of other hosts of the domain, and of plain HTTP, from taking their place.
_prefix = "__Host-" if HTTPS else ""
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = f"{_prefix}sessionid", f"{_prefix}csrftoken"
CSRF_COOKIE_HTTPONLY = True  # our scripts take the token from the page
# A proxy in front that ends TLS needs ENGAGE_BEHIND_PROXY=true as well, or every request would be redirected for ever.
SECURE_SSL_REDIRECT = strict_bool("SECURE_SSL_REDIRECT", default=HTTPS)
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SECURE_HSTS_SECONDS = 60 * 60 * 24 * 365 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
ENGAGE_BEHIND_PROXY = strict_bool("ENGAGE_BEHIND_PROXY", default=False)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if ENGAGE_BEHIND_PROXY else None
X_FRAME_OPTIONS = "DENY"

# --- e-mail ---------------------------------------------------------------------------------------------------------------
_email_url = os.environ.get("EMAIL_URL", "").strip()
_email = env.email_url_config(_email_url or "dummymail://")
EMAIL_BACKEND = _email["EMAIL_BACKEND"]
EMAIL_HOST, EMAIL_PORT = _email.get("EMAIL_HOST") or "localhost", _email.get("EMAIL_PORT") or 25
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _email.get("EMAIL_HOST_USER") or "", _email.get("EMAIL_HOST_PASSWORD") or ""
EMAIL_USE_TLS, EMAIL_USE_SSL = bool(_email.get("EMAIL_USE_TLS")), bool(_email.get("EMAIL_USE_SSL"))
EMAIL_TIMEOUT = 10
EMAIL_IS_SET_UP = bool(_email_url)
DEFAULT_FROM_EMAIL = os.environ.get("DEFAULT_FROM_EMAIL", f"engage@{_base.hostname or 'localhost'}")

# --- files and languages --------------------------------------------------------------------------------------------------
STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
STATIC_ROOT.mkdir(exist_ok=True)  # whitenoise warns where there is none; what nobody collected, its finders find
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True
LANGUAGE_CODE = "en-us"
USE_I18N = False
TIME_ZONE = "UTC"
USE_TZ = True
# What people send, files included (engage/body_limit.py); an uploaded file comes on top (ENGAGE_UPLOAD_MOST).
# The runtime API and vendors' webhooks have lower limits of their own where they are read.
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024

# --- the runtime API ------------------------------------------------------------------------------------------------------
# Which origins are answered depends on the App: engage.tenancy.domains decides by signal.
CORS_URLS_REGEX = r"^/api/"
CORS_ALLOW_CREDENTIALS = False
CORS_ALLOWED_ORIGINS: list[str] = []
CORS_ALLOW_HEADERS = ["accept", "authorization", "content-type", "x-engage-identity"]
CORS_EXPOSE_HEADERS = ["Retry-After"]
ENGAGE_API_BODY_LIMIT = 64 * 1024
# What one browser's address may ask for; what an App's browsers may in all, and its servers.
ENGAGE_API_RATE = os.environ.get("ENGAGE_API_RATE", "600/min")
ENGAGE_API_APP_RATE = os.environ.get("ENGAGE_API_APP_RATE", "60000/min")
# The server's blocking threads: at most half of them wait for an outcome (`wait=`).
ENGAGE_WEB_THREADS = int(os.environ.get("ENGAGE_WEB_THREADS", "8"))
# The streaming site below /demo/, which signs anybody in.
ENGAGE_DEMO = strict_bool("ENGAGE_DEMO", default=False)
ENGAGE_DEMO_PUBLISHABLE_KEY = os.environ.get("ENGAGE_DEMO_PUBLISHABLE_KEY", "")
ENGAGE_DEMO_SANDBOX_URL = os.environ.get("ENGAGE_DEMO_SANDBOX_URL", "")

# --- the door out ---------------------------------------------------------------------------------------------------------


def vendor_urls() -> dict[str, str]:
    """Read ENGAGE_VENDOR_URLS: connector key -> base URL that replaces the vendor's own (a sandbox or a recorder)."""
    try:
        urls = json.loads(os.environ.get("ENGAGE_VENDOR_URLS") or "{}")
    except ValueError as error:
        raise ImproperlyConfigured(f"ENGAGE_VENDOR_URLS is not JSON: {error}") from None
    if not isinstance(urls, dict) or not all(isinstance(url, str) and urlsplit(url).hostname for url in urls.values()):
        raise ImproperlyConfigured('ENGAGE_VENDOR_URLS must look like {"cleeng": "http://127.0.0.1:9000/cleeng"}.')
    return urls


ENGAGE_VENDOR_URLS = vendor_urls()
# A root certificate (PEM) that is believed in place of Apple's, where ENGAGE_VENDOR_URLS names apple and nowhere else.
ENGAGE_APPLE_ROOT = os.environ.get("ENGAGE_APPLE_ROOT", "")
# host:port pairs on private networks that the product may call all the same.
ENGAGE_PRIVATE_HOSTS = word_list("ENGAGE_PRIVATE_HOSTS")

# --- the engine's times, in seconds (docs/engine.md says what each is for) ----------------------------------------------
ENGAGE_LEASE = 60 / ENGAGE_TIME_SCALE
ENGAGE_ATTEMPT_TIMEOUT = 30 / ENGAGE_TIME_SCALE
ENGAGE_SETTLING = 30 / ENGAGE_TIME_SCALE  # after a lost answer, before the vendor's read is relied on
ENGAGE_RETRY_DELAYS = [
    seconds / ENGAGE_TIME_SCALE for seconds in (5, 30, 120, 600, 1800, 3600, 7200, 14400, 21600, 21600)
]
ENGAGE_POLL_DELAYS = [seconds / ENGAGE_TIME_SCALE for seconds in (5, 30, 120, 600, 3600)]
ENGAGE_BREAKER_WINDOW = 300 / ENGAGE_TIME_SCALE
ENGAGE_BREAKER_PAUSES = [seconds / ENGAGE_TIME_SCALE for seconds in (30, 60, 120, 240, 480, 600)]
ENGAGE_WORKER_THREADS = int(os.environ.get("ENGAGE_WORKER_THREADS", "8"))
CELERY_WORKER_CONCURRENCY = ENGAGE_WORKER_THREADS
# How many executions of one connection run at once, in all workers together.
ENGAGE_SLOTS = int(os.environ.get("ENGAGE_SLOTS", "4"))
if ENGAGE_SLOTS < 1:
    raise ImproperlyConfigured("ENGAGE_SLOTS must be 1 or more: with none, no action would ever run.")

# --- monitoring ---------------------------------------------------------------------------------------------------------
ENGAGE_METRICS_TOKEN = os.environ.get("ENGAGE_METRICS_TOKEN", "").strip()

# --- retention: days after which rows are deleted; what is open stays whatever its age --------------------------------
ENGAGE_KEEP_ATTEMPTS_DAYS = days("ENGAGE_KEEP_ATTEMPTS_DAYS", 30, least=1)
ENGAGE_KEEP_EVENTS_DAYS = days("ENGAGE_KEEP_EVENTS_DAYS", 90, least=7)  # an event id counts for 72 hours and more
ENGAGE_KEEP_AUDIT_DAYS = days("ENGAGE_KEEP_AUDIT_DAYS", 365, least=30)

# --- imports ---------------------------------------------------------------------------------------------------------------
# Whether sources may read S3 as this server itself (instance role, environment), or in a role that it assumes.
ENGAGE_S3_OWN_CREDENTIALS = strict_bool("ENGAGE_S3_OWN_CREDENTIALS", default=False)
ENGAGE_UPLOAD_MOST = 200_000_000  # bytes that can be uploaded by hand; a bucket's files may be larger
# A file with more rejected rows than this is not merged at all,
ENGAGE_IMPORT_REJECTED_MOST = 1000
ENGAGE_IMPORT_REJECTED_SHARE = 0.05  # and at least so many:
ENGAGE_IMPORT_REJECTED_LEAST = 20
# Nor is a file read further than this (bytes, unpacked), or than so many times its packed size: a CSV shrinks to a tenth, one of
# repeated ids to a fiftieth, and what shrinks further is no file of subscribers.
ENGAGE_IMPORT_LARGEST = 64 * 1024**3
ENGAGE_IMPORT_BOMB_RATIO = 250

# --- logs -----------------------------------------------------------------------------------------------------------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "engage.logs.JsonFormatter"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "json", "stream": sys.stderr}},
    "root": {"handlers": ["console"], "level": os.environ.get("LOG_LEVEL", "INFO")},
    "loggers": {
        # urllib3 writes request paths at DEBUG, and at WARNING where a header cannot be read; one may carry a person's id or a key.
        "urllib3": {"level": "ERROR"},
        # HTTP/2's headers, credentials included, at DEBUG.
        "hpack": {"level": "WARNING"},
        "botocore": {"level": "WARNING"},
        "django.server": {"level": "WARNING"},
        # Its lines name the person who failed to sign in.
        "axes": {"level": "ERROR"},
    },
}

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Engage",
    "SITE_HEADER": "Engage",
    "SITE_SYMBOL": "bolt",
    "SITE_URL": None,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "engage.tenancy.context.console_icon"}],
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "8px",
    "STYLES": ["engage.tenancy.context.console_stylesheet"],
    "SCRIPTS": ["engage.tenancy.context.console_script"],
    "ACCOUNT": {
        "navigation": [
            {"title": "Change password", "link": reverse_lazy("admin:password_change")},
            {"title": "Second factor", "link": reverse_lazy("admin:second_factor")},
        ]
    },
    "SIDEBAR": {"show_search": False, "show_all_applications": False, "navigation": "engage.navigation.sidebar"},
}
