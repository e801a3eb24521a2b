"""What runs inside the product, each in a process of its own: `seed` an App with a source, or `import` what waits there.

Prints one JSON object. The database is the one of DATABASE_URL.
"""

import json
import os
import sys
from pathlib import Path

import django


def seed(url: str) -> dict[str, object]:
    """Make what the measurements need."""
    from engage.tenancy.models import ApiKey, App, Company, DeliveryMode, KeyKind
    from prompts import versions
    from prompts.models import Prompt, PromptStatus
    from sync.models import Source

    company = Company.objects.create(name="Bench")
    app = App.objects.create(company=company, name="Bench", key="bench", delivery_mode=DeliveryMode.LIVE)
    source = Source(
        app=app,
        name="Bench",
        bucket="bench",
        endpoint_url=url,
        access_key_id="AKIAREADER",
        id_column="Customer ID",
    )
    source.seal({"secret_access_key": "a-secret-of-the-bench"})
    source.save(force_insert=True)
    prompt = Prompt.objects.create(app=app, key="offer", name="Offer", title="Offer", status=PromptStatus.LIVE)
    versions.publish(prompt, "bench")
    return {"app": app.pk, "token": ApiKey.make(app, KeyKind.SECRET)[1]}


def memory(name: str) -> int:
    """Return a figure of this process in bytes: VmRSS (now) or VmHWM (the most so far)."""
    found = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(found.split()[1]) * 1024


def import_waiting() -> dict[str, object]:
    """Import as the command does; the memory is what it took beyond that of the process that looked and found nothing."""
    from sync.imports import import_source, location_of
    from sync.models import Source
    from sync.s3 import Bucket

    source = Source.objects.select_related("app").get()
    Bucket(location_of(source)).files()
    idle = memory("VmRSS")
    (run,) = import_source(source, started_by="bench").runs
    run.refresh_from_db()
    took = (run.finished_at - run.started_at).total_seconds() if run.finished_at else 0.0
    return {
        "seconds": took,
        "state": run.state,
        "message": run.message,
        "rows": [run.rows_read, run.rows_new, run.rows_changed, run.rows_unchanged],
        "idle": idle,
        "grown": memory("VmHWM") - idle,
    }


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "engage.settings")
    django.setup()
    done = seed(sys.argv[2]) if sys.argv[1] == "seed" else import_waiting()
    print(json.dumps(done))
