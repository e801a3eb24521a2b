"""Settings of the test suite: the product's own, with secrets made for the run. Servers are taken from the environment
(DATABASE_URL, CELERY_BROKER_URL, CACHE_URL); without them everything is embedded."""

import atexit
import os
import re
import shutil
import tempfile
from pathlib import Path

_var = Path(tempfile.mkdtemp(prefix="engage-test-"))
atexit.register(shutil.rmtree, _var, ignore_errors=True)
os.environ.setdefault("SECRET_KEY", "only for the test suite, and long enough to be one")
os.environ.setdefault("FIELD_ENCRYPTION_KEY", "dGVzdHMtb25seS1rZXktMzItYnl0ZXMtbG9uZy4uLi4=")
os.environ.setdefault("ENGAGE_VAR_DIR", str(_var))
os.environ.setdefault("ENGAGE_BASE_URL", "http://testserver")
os.environ.setdefault("ENGAGE_DEMO", "yes")
os.environ.setdefault("ALLOWED_HOSTS", "testserver,localhost,127.0.0.1")

from engage.settings import *  # noqa: E402, F403
from engage.settings import CACHES, DATABASES  # noqa: E402

# Threads and other processes open the test database too, so it is a file, and one for each pytest-xdist worker.
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["TEST"] = {"NAME": str(_var / "test.sqlite3")}
    # No test pulls the plug; waiting for the disk would only make the suite slow.
    _pragmas = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA foreign_keys=ON;"
    DATABASES["default"]["OPTIONS"]["init_command"] = _pragmas
else:
    DATABASES["default"]["OPTIONS"]["options"] = "-c synchronous_commit=off"
# Workers of pytest-xdist share the servers: each has a queue and a Redis database of its own.
_worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
CELERY_TASK_DEFAULT_QUEUE = f"engage-{_worker}"
if CACHES["default"]["BACKEND"].endswith("RedisCache"):
    _number = re.sub(r"\D", "", _worker) or "9"
    CACHES["default"]["LOCATION"] = re.sub(r"/\d*$", f"/{6 + int(_number) % 10}", str(CACHES["default"]["LOCATION"]))
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
AXES_ENABLED = True
