""".env.example describes the environment variables."""

from pathlib import Path
from urllib.parse import urlsplit

import dj_database_url
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from annotate.lib import env, private

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = Path(env.text("VAR_DIR", str(BASE_DIR / "var")))
# Shows tracebacks and uses default keys. Never set it on a site that others reach.
DEBUG = env.flag("DEBUG", default=False)


def _required(name: str, when_debugging: str) -> str:
    value = env.text(name, when_debugging if DEBUG else "")
    if not value:
        raise ImproperlyConfigured(f"Set {name} in the environment (see .env.example), or start with bin/start.")
    return value


SECRET_KEY = _required("SECRET_KEY", "only-for-debugging")
# A change does not move stored groups.
SPLIT_KEY = _required("SPLIT_KEY", "only-for-debugging")
SPLIT_VALID_SHARE = env.share("SPLIT_VALID_SHARE", default=0.1)
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS", [])

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "allauth",
    "allauth.account",
    "csp",
    "django_htmx",
    "rest_framework",
    "drf_spectacular",
    "annotate.lib",
    "annotate.accounts",
    "annotate.guidelines",
    "annotate.pools",
    "annotate.samples",
    "annotate.work",
    "annotate.demonstrations",
    "annotate.rankings",
    "annotate.instructions",
    "annotate.workflows",
    "annotate.desk",
    "annotate.studio",
    "annotate.api",
    "models_worker",
    "exports",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "annotate.lib.caching.NoStore",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "annotate.lib.addresses.KnownNumbers",
    # Before the CSRF check, which reads bodies.
    "annotate.accounts.bodies.BodyGate",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "annotate.lib.htmx.WholePageRedirects",
    "annotate.lib.budget.RequestBudget",
    "allauth.account.middleware.AccountMiddleware",
]

ROOT_URLCONF = "annotate.urls"
WSGI_APPLICATION = "annotate.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            "loaders": [
                (
                    "annotate.lib.templates.Loader",
                    ["django.template.loaders.filesystem.Loader", "django.template.loaders.app_directories.Loader"],
                )
            ],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "annotate.accounts.notices.context",
            ],
        },
    },
]

# Pages take ten times as long if threads keep no connection. .env.example says how many they need.
_database_url = _required("DATABASE_URL", "postgresql://localhost/annotate")
DATABASES = {"default": dj_database_url.parse(_database_url, conn_max_age=60, conn_health_checks=True)}
if DATABASES["default"].get("ENGINE") != "django.db.backends.postgresql":
    raise ImproperlyConfigured("DATABASE_URL must name a PostgreSQL database, because the queue needs its row locks.")
PREPARED_STATEMENTS = env.flag("PREPARED_STATEMENTS", default=True)
# Behind a transaction pooler cursors end with the transaction.
DATABASES["default"]["DISABLE_SERVER_SIDE_CURSORS"] = not PREPARED_STATEMENTS
# Seconds; 0 = no limit. Workers and commands only have the first.
DB_CONNECT_TIMEOUT = env.number("DB_CONNECT_TIMEOUT", default=5)
DB_STATEMENT_TIMEOUT = env.number("DB_STATEMENT_TIMEOUT", default=15)
DB_LOCK_TIMEOUT = env.number("DB_LOCK_TIMEOUT", default=5)
# Connections to a silent host end after half a minute.
DATABASES["default"]["OPTIONS"] = {
    "connect_timeout": DB_CONNECT_TIMEOUT,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
} | DATABASES["default"].get("OPTIONS", {})
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Limits of logins must not be culled early.
CACHES = {"default": {"BACKEND": "annotate.lib.cache.KeepingCache", "LOCATION": "cache"}}

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["annotate.accounts.sessions.Backend"]
SESSION_ENGINE = "annotate.accounts.sessions"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_ADAPTER = "annotate.accounts.adapter.InvitedOnly"
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_PASSWORD_RESET_TOKEN_GENERATOR = "annotate.accounts.links.LinkTokens"  # noqa: S105  # no password
ACCOUNT_FORMS = {
    "reset_password": "annotate.accounts.forms.ResetPasswordForm",
    "reset_password_from_key": "annotate.accounts.forms.SetPasswordByLinkForm",
}
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False
ACCOUNT_SESSION_REMEMBER = True

# Without it no page promises mail.
EMAIL_BACKEND = env.text(
    "EMAIL_BACKEND", f"django.core.mail.backends.{'smtp' if env.text('EMAIL_HOST', '') else 'dummy'}.EmailBackend"
)
EMAIL_HOST = env.text("EMAIL_HOST", "localhost")
EMAIL_PORT = env.number("EMAIL_PORT", default=25)
EMAIL_HOST_USER = env.text("EMAIL_HOST_USER", "")
EMAIL_HOST_PASSWORD = env.text("EMAIL_HOST_PASSWORD", "")
EMAIL_TIMEOUT = env.number("EMAIL_TIMEOUT", default=10)
EMAIL_USE_TLS = env.flag("EMAIL_USE_TLS", default=False)
DEFAULT_FROM_EMAIL = env.text("DEFAULT_FROM_EMAIL", "annotate@localhost")

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English"))]
# Translation costs a quarter of a page's time.
USE_I18N = len(LANGUAGES) > 1
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = env.text("TIME_ZONE", "UTC")
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
_private = {"file_permissions_mode": private.FILE, "directory_permissions_mode": private.FOLDER}
STORAGES: dict[str, dict[str, object]] = {
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": VAR_DIR / "files", **_private},
    },
    # Several machines need shared storage.
    "exports": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": VAR_DIR / "exports", **_private},
    },
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage",
        # A proxy may serve them as another account.
        "OPTIONS": {"file_permissions_mode": 0o644, "directory_permissions_mode": 0o755},
    },
}

# Seconds. Large requests have a minimum rate instead.
REQUEST_TIMEOUT = env.number("REQUEST_TIMEOUT", default=60)
# Bytes.
DATA_UPLOAD_MAX_MEMORY_SIZE = 20 * 1024 * 1024
IMPORT_MAX_BYTES = 100 * 1024 * 1024

SESSION_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if env.flag("HTTPS", default=False):
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    # Browsers accept these names only from this host over TLS.
    SESSION_COOKIE_NAME = "__Host-sessionid"
    CSRF_COOKIE_NAME = "__Host-csrftoken"
    MESSAGE_STORAGE = "annotate.lib.message_cookie.Storage"
    SECURE_SSL_REDIRECT = True
    # Seconds.
    SECURE_HSTS_SECONDS = env.number("HSTS_SECONDS", default=365 * 24 * 3600)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = env.flag("HSTS_INCLUDE_SUBDOMAINS", default=False)
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    # Limits of logins use the visitor's address.
    ALLAUTH_TRUSTED_PROXY_COUNT = env.number("TRUSTED_PROXIES", default=1)

# Managers may register servers of these hosts.
SERVER_HOSTS = env.words("SERVER_HOSTS", ["localhost", "127.0.0.1", "::1"])
SERVER_CONCURRENCY = env.number("SERVER_CONCURRENCY", default=32)
SERVER_TIMEOUT = env.number("SERVER_TIMEOUT", default=300)

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "connect-src": [SELF],
        "font-src": [SELF],
        "form-action": [SELF],
        "img-src": [SELF, "data:"],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["annotate.accounts.tokens.TokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["annotate.accounts.permissions.ManagerOnly"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["annotate.lib.parsers.ShallowJSONParser"],
    "DEFAULT_PAGINATION_CLASS": "annotate.api.paging.Pages",
    "EXCEPTION_HANDLER": "annotate.api.errors.answer",
    "PAGE_SIZE": 50,
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "annotate",
    "DESCRIPTION": "Prompt pools, policies, sampling runs, campaigns and exports.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["annotate.accounts.permissions.ManagerOnly"],
    "SERVE_AUTHENTICATION": ["annotate.accounts.tokens.TokenAuthentication"],
    "ENUM_NAME_OVERRIDES": {
        "CampaignStateEnum": "annotate.work.states.CampaignState",
        "RunStateEnum": "annotate.samples.states.RunState",
        "ExportStateEnum": "exports.models.ExportState",
    },
}

# Lost messages lose no work: jobs are rows, and the sweeps below find them.
CELERY_BROKER_URL = env.text("CELERY_BROKER_URL", "filesystem://localhost")
if urlsplit(CELERY_BROKER_URL).scheme == "filesystem":
    _messages = str(VAR_DIR / "broker")
    CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, object] = {
        "data_folder_in": _messages,
        "data_folder_out": _messages,
        "control_folder": str(VAR_DIR / "broker-control"),
        "store_processed": False,
    }
else:
    # Restore the messages of a dead worker within seconds.
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "visibility_timeout": 3600,
        "unacked_restore_throttle": 1,
        "unacked_restore_interval": 10,
        # Pages must not wait for a broker that is down.
        "connect_retries_timeout": 1,
    }
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_DEFAULT_QUEUE = "default"
# The sweep must not wait behind sampling, nor pile up where no sampling worker runs.
CELERY_TASK_ROUTES = {"models_worker.sweep": {"queue": "default"}, "models_worker.*": {"queue": "sampling"}}
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE_FILENAME = str(VAR_DIR / "beat-schedule")
CELERY_BEAT_SCHEDULE = {
    "free expired leases": {"task": "work.sweep", "schedule": 30.0},
    "create prompts from instructions": {"task": "instructions.sweep", "schedule": 30.0},
    "resume imports": {"task": "pools.sweep", "schedule": 30.0},
    "create tasks for new prompts and ready slates": {"task": "workflows.fill_campaigns", "schedule": 20.0},
    "resume sampling": {"task": "models_worker.sweep", "schedule": 10.0},
    "resume exports": {"task": "exports.sweep", "schedule": 30.0},
    "delete expired counters of logins": {"task": "accounts.sweep", "schedule": 300.0},
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"()": "annotate.lib.logs.Formatter", "fmt": "{asctime} {levelname} {name} {message}", "style": "{"}
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.text("LOG_LEVEL", "INFO")},
    "loggers": {"httpx2": {"level": "WARNING"}, "httpcore2": {"level": "WARNING"}},
}
