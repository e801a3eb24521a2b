"""The form of a source, and of what is known of a trait."""

import re
from datetime import datetime, time
from functools import partial
from typing import Any, ClassVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from django import forms
from django.conf import settings
from django.core import validators
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, IntervalSchedule

from connectors.addresses import listed
from connectors.base import SecretField
from connectors.forms import NO_AUTOFILL, dress
from engage.schedules.slots import Cron
from engage.tenancy.models import App
from sync.csv_rows import Layout
from sync.exports import Selection
from sync.imports import layout_of
from sync.models import Access, RowWins, Source, Trait
from sync.storage import Location
from sync.traits import wrong_name

# The name that Cleeng's exports give their own id.
CLEENG_ID_COLUMN = "Customer ID"
CRON_PARTS = 5
HTTP_PORT = 80
SECRET = "secret_access_key"  # noqa: S105 - the name of a field
# What chooses whose bucket it is: another one never gets the stored secret.
IDENTITY = ("bucket", "region", "endpoint_url", "access_key_id", "access", "role_arn")
SCHEDULES = (
    ("daily", "Every day at"),
    ("hourly", "Every hour"),
    ("cron", "Cron expression"),
    ("none", "Only by hand (Check now, or the command)"),
)


MOST_DAYS = 365


def external_id_of(app: App) -> str:
    """Return the external id that tells a role's owner which App of this installation assumes it."""
    return f"engage-{app.key}"


def zones() -> list[tuple[str, str]]:
    """Return every named time zone, to choose from."""
    return [(name, name.replace("_", " ")) for name in sorted(available_timezones()) if name[0].isupper()]


class SourceForm(forms.ModelForm[Source]):
    """Everything of a source. The secret is never shown; left blank it stays, unless the bucket is another one."""

    secret_access_key = SecretField(label="Secret access key", required=False, usual_length=40)
    customer_id_trait = forms.CharField(
        label="Which trait receives Cleeng's customer id?",
        required=False,
        max_length=80,
        help_text="From the column “Customer ID”. Cleeng's actions look for cleeng_customer_id. Empty: it is left out.",
    )
    schedule = forms.ChoiceField(label="Look for new files", choices=SCHEDULES)
    daily_at = forms.TimeField(
        label="Time of day", required=False, widget=forms.TimeInput(format="%H:%M", attrs={"placeholder": "02:30"})
    )
    cron = forms.CharField(
        label="Cron expression",
        required=False,
        max_length=200,
        help_text="Minute, hour, day of month, month, day of week: 30 2 * * mon-fri",
    )
    schedule_zone = forms.ChoiceField(label="Time zone of the schedule", choices=zones)

    class Meta:
        """The fields that are stored as they are."""

        model = Source
        fields = (
            "name",
            "access",
            "bucket",
            "prefix",
            "pattern",
            "region",
            "endpoint_url",
            "access_key_id",
            "role_arn",
            "content",
            "id_column",
            "trait_prefix",
            "row_wins",
            "row_wins_column",
            "row_wins_value",
            "empty_cells",
            "misfit",
            "mode",
            "time_zone",
            "alert_after_days",
        )
        field_classes: ClassVar[Any] = {"endpoint_url": partial(forms.URLField, assume_scheme="https")}
        labels: ClassVar[dict[str, str]] = {
            "access": "Who reads the bucket",
            "prefix": "Path in the bucket",
            "pattern": "File names",
            "role_arn": "ARN of the role",
            "content": "What is a row of its files?",
            "trait_prefix": "Put before the names of its traits",
            "row_wins": "When a file names an id (of push endpoints: an id on the same channel) several times, which row counts?",
            "row_wins_column": "Column that decides",
            "row_wins_value": "Its value in the row that counts",
            "empty_cells": "What an empty cell says",
            "misfit": "When a cell does not fit its trait's type",
            "alert_after_days": "Tell people after so many days without a file",
            "endpoint_url": "Endpoint URL",
            "access_key_id": "Access key ID (of the reader)",
            "id_column": "Which column is the id your app sends?",
            "mode": "What a newer file means for an older one",
            "time_zone": "Time zone of dates in the files",
        }
        help_texts: ClassVar[dict[str, str]] = {
            "name": "In lists, and for manage.py sync_subscriptions --source.",
            "prefix": "Files below it are imported, e.g. cleeng/",
            "pattern": "With * and ?, e.g. subscribers-*.csv*; upper and lower case differ. Empty: every file below the path.",
            "role_arn": "arn:aws:iam::123456789012:role/engage-reader",
            "trait_prefix": "E.g. cleeng_: “Churn risk” becomes cleeng_churn_risk. A name that you give a column stays as it is.",
            "content": "Of push endpoints, as Amazon Pinpoint exports them, the columns ChannelType and Address are read. Each "
            "channel's address becomes a trait, e.g. endpoint_apns; a person may have one on every channel.",
            "row_wins_column": "As the file's first line names it.",
            "row_wins_value": "E.g. active: of somebody's subscriptions, the first active one counts. Case does not matter.",
            "alert_after_days": "Empty: nobody is told. A vendor that only sends what changed skips days, so absence is no error.",
            "region": "The bucket's own region, e.g. eu-west-1.",
            "endpoint_url": "Only for stores other than AWS, e.g. https://minio.example.com",
            "id_column": "As the file's first line names it; User.UserId in Amazon Pinpoint's endpoints. Use “Customer ID” only "
            "if your app sends Cleeng's id.",
            "time_zone": "Counts for traits of the type date. Cleeng writes Central European Time.",
        }

    def __init__(self, *args: Any, app: App, **options: Any) -> None:
        super().__init__(*args, **options)
        self.app = app
        self.is_new = self.instance._state.adding  # noqa: SLF001 - Django's public name for it
        self.stored_identity = {name: getattr(self.instance, name) for name in IDENTITY}
        self.fields["time_zone"] = forms.ChoiceField(
            label=self.fields["time_zone"].label, help_text=self.fields["time_zone"].help_text, choices=zones
        )
        self.fields["endpoint_url"].widget = forms.TextInput(attrs={"inputmode": "url"})
        for name in ("content", "mode", "row_wins", "empty_cells", "misfit"):
            chosen: Any = self.fields[name]
            chosen.widget = forms.RadioSelect(choices=chosen.choices)
        self.fields["content"].required = False  # a page that was opened before it was asked keeps what is stored
        self._offer_access()
        days: Any = self.fields["alert_after_days"]
        days.widget = forms.TextInput(attrs={"inputmode": "numeric"})
        days.min_value, days.max_value = 1, MOST_DAYS
        days.validators += [validators.MinValueValidator(1), validators.MaxValueValidator(MOST_DAYS)]
        for name, value in self._schedule_as_stored().items():
            self.initial.setdefault(name, value)
        stored = self.instance.mapping.get(CLEENG_ID_COLUMN, "")
        self.initial.setdefault("customer_id_trait", "cleeng_customer_id" if self.is_new else stored)
        if self.is_new:
            self.initial.setdefault("time_zone", "Europe/Paris")
        dress(self)
        for name in ("access_key_id", SECRET):
            self.fields[name].widget.attrs.update(NO_AUTOFILL)
        self.fields[SECRET].help_text = (
            "" if self.is_new else "Changing the bucket, region, endpoint or key id asks for it again."
        )

    def _offer_access(self) -> None:
        """Offer this server's own credentials only where the operator allows them, or where they are in use."""
        field: Any = self.fields["access"]
        usual = {
            Access.KEY,
            Access.UPLOAD,
            *({Access.DEFAULT, Access.ROLE} if settings.ENGAGE_S3_OWN_CREDENTIALS else ()),
        }
        field.choices = [choice for choice in Access.choices if choice[0] in {*usual, self.instance.access}]
        field.widget = forms.RadioSelect(choices=field.choices)
        for name in ("bucket", "region"):
            self.fields[name].required = False  # of an upload; `clean` asks the others for them

    @property
    def external_id(self) -> str:
        """The external id with which a role of this App is assumed; not to be chosen, so that nobody names another's."""
        return external_id_of(self.app)

    @property
    def stored_length(self) -> int:
        """Characters of the stored secret; 0 without one."""
        return int(self.instance.secrets_set.get(SECRET, 0))

    def _schedule_as_stored(self) -> dict[str, Any]:
        row, zone = self.instance.crontab, self.app.time_zone
        if row is None:
            kind = "hourly" if self.instance.interval_id else "daily" if self.is_new else "none"
            return {"schedule": kind, "daily_at": time(2, 30), "schedule_zone": zone}
        zone = str(row.timezone)
        days = (row.day_of_month, row.month_of_year, row.day_of_week)
        if row.minute.isdigit() and row.hour.isdigit() and days == ("*", "*", "*"):
            return {"schedule": "daily", "daily_at": time(int(row.hour), int(row.minute)), "schedule_zone": zone}
        return {"schedule": "cron", "cron": " ".join((row.minute, row.hour, *days)), "schedule_zone": zone}

    def mapping_rows(self) -> list[tuple[str, str]]:
        """Return (column, trait) as typed, or as stored; a trait that is empty leaves its column out."""
        if self.is_bound:
            data: Any = self.data  # a QueryDict, as forms from a request have
            return list(zip(data.getlist("column"), data.getlist("trait"), strict=False))
        return [pair for pair in self.instance.mapping.items() if pair[0] != CLEENG_ID_COLUMN]

    def clean_name(self) -> str:
        """One name once in an App."""
        name: str = self.cleaned_data["name"]
        if Source.objects.filter(app=self.app, name=name).exclude(pk=self.instance.pk).exists():
            raise forms.ValidationError("Another source of this App has this name.")
        return name

    def clean_bucket(self) -> str:
        """A bucket's name, as S3 allows it."""
        bucket: str = self.cleaned_data["bucket"]
        if bucket and not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket):
            raise forms.ValidationError("A bucket's name has 3 to 63 lower-case letters, digits, dots and hyphens.")
        return bucket

    def clean_region(self) -> str:
        """A region, which becomes part of a host's name."""
        region: str = self.cleaned_data["region"]
        if region and not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", region):
            raise forms.ValidationError("A region looks like eu-west-1.")
        return region

    def clean_endpoint_url(self) -> str:
        """A URL of a host, without anything that could carry a key, and over TLS unless the operator listed it."""
        url: str = self.cleaned_data["endpoint_url"]
        parts = urlsplit(url)
        if url and (parts.scheme not in {"http", "https"} or parts.username or parts.query or parts.fragment):
            raise forms.ValidationError(
                "An endpoint looks like https://minio.example.com, without a name, key or question mark."
            )
        try:
            port = parts.port
        except ValueError:
            raise forms.ValidationError("There is no such port.") from None
        if parts.scheme == "http" and not listed(parts.hostname or "", port or HTTP_PORT):
            raise forms.ValidationError("Begin with https://; over http everybody on the way reads the files.")
        return url.rstrip("/")

    def clean_customer_id_trait(self) -> str:
        """A trait's name."""
        name: str = self.cleaned_data["customer_id_trait"].strip()
        if name and wrong_name(name):
            raise forms.ValidationError(wrong_name(name))
        return name

    def clean(self) -> dict[str, Any]:
        """Look at what depends on each other: bucket and secret, kind of schedule and its details, columns and traits."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        access = cleaned.get("access")
        if access != Access.UPLOAD:
            self._ask("bucket", "Enter the bucket's name.")
            self._ask("region", "Enter the bucket's region.")
        if access == Access.KEY:
            self._clean_key(cleaned)
        elif access != Access.UPLOAD and cleaned.get("endpoint_url"):
            self.add_error(
                "endpoint_url", "This server's own credentials only go to AWS itself. Use an access key here."
            )
        if access == Access.ROLE:
            self._ask("role_arn", "Enter the ARN of the role that this server assumes.")
        if cleaned.get("row_wins") != RowWins.LAST:
            self._ask("row_wins_column", "Name the column that decides which row counts.")
        if cleaned.get("row_wins") == RowWins.FIRST_ACTIVE:
            self._ask("row_wins_value", "Say which value the row that counts has, e.g. active.")
        self._clean_schedule(cleaned)
        for column, trait in self.mapping_rows():
            if trait.strip() and wrong_name(trait.strip()):
                self.add_error(None, f"The column “{column}” cannot become “{trait}”. {wrong_name(trait.strip())}")
        return cleaned

    def _ask(self, name: str, words: str) -> None:
        if not self.cleaned_data.get(name) and name not in self.errors:
            self.add_error(name, words)

    def _clean_key(self, cleaned: dict[str, Any]) -> None:
        if not cleaned.get(SECRET) and SECRET not in self.errors:
            if not self.stored_length:
                self.add_error(SECRET, "Enter the secret access key of the reader.")
            elif self.identity_changed:
                self.add_error(
                    SECRET,
                    "The bucket or key id has changed, so enter this again: a stored secret is never sent elsewhere.",
                )
        self._ask("access_key_id", "Enter the access key id of the reader.")

    def clean_role_arn(self) -> str:
        """The ARN of a role."""
        arn: str = self.cleaned_data["role_arn"].strip()
        if arn and not re.fullmatch(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+", arn, re.ASCII):
            raise forms.ValidationError("A role's ARN looks like arn:aws:iam::123456789012:role/engage-reader.")
        return arn

    def clean_trait_prefix(self) -> str:
        """The beginning of a trait's name."""
        prefix: str = self.cleaned_data["trait_prefix"].strip()
        if prefix and wrong_name(prefix):
            raise forms.ValidationError("It begins with a letter and has lower-case letters, digits and underscores.")
        return prefix

    def _clean_schedule(self, cleaned: dict[str, Any]) -> None:
        if cleaned.get("schedule") == "daily" and not cleaned.get("daily_at") and "daily_at" not in self.errors:
            self.add_error("daily_at", "Enter the time of day, like 02:30.")
        if cleaned.get("schedule") == "cron":
            parts = cleaned.get("cron", "").split()
            if len(parts) != CRON_PARTS:
                self.add_error("cron", "A cron expression has five parts, with blanks between them.")
                return
            minute, hour, day, month, weekday = parts
            try:
                Cron.parse(minute, hour, day, month, weekday, cleaned.get("schedule_zone", "UTC"))
            except ValueError as error:
                self.add_error("cron", str(error))

    @property
    def identity_changed(self) -> bool:
        """Whether what is typed is another bucket or key than what is stored."""
        return not self.is_new and any(self.cleaned_data.get(name) != self.stored_identity[name] for name in IDENTITY)

    @property
    def mapping(self) -> dict[str, str]:
        """Column -> trait, as typed."""
        typed = {column.strip(): trait.strip() for column, trait in self.mapping_rows() if column.strip()}
        return {**typed, CLEENG_ID_COLUMN: self.cleaned_data["customer_id_trait"]}

    @property
    def columns(self) -> dict[str, dict[str, Any]]:
        """The rules of columns, as typed, in the words in which a source keeps them."""
        return {column: {"trait": trait} if trait else {"ignore": True} for column, trait in self.mapping.items()}

    def secret(self) -> str:
        """Return the secret to use: what was typed, else what is stored for this very bucket."""
        return self.cleaned_data.get(SECRET) or self.instance.secrets().get(SECRET, "")

    def location(self) -> Location:
        """Return where the files are, as typed."""
        names = ("prefix", "pattern", *IDENTITY)
        given = {name: self.cleaned_data[name] for name in names}
        secret = self.secret() if given["access"] == Access.KEY else ""
        return Location(**given, secret_access_key=secret, external_id=self.external_id)

    def layout(self) -> Layout:
        """Return what becomes of columns and rows, as typed."""
        self.instance.app, self.instance.columns = self.app, self.columns
        return layout_of(self.instance)

    def save(self, commit: bool = True) -> Source:
        """Store the source with its secret and schedule."""
        source = super().save(commit=False)
        source.app = self.app
        source.columns = self.columns
        if source.access != Access.KEY:
            source.access_key_id = ""
        if source.access == Access.ROLE:
            source.external_id = self.external_id
        else:
            source.role_arn = source.external_id = ""
        secret = self.secret() if self.is_new or self.identity_changed or self.cleaned_data.get(SECRET) else None
        if source.access != Access.KEY:
            secret = ""
        if self.identity_changed:
            source.generation += 1
        if secret is not None:
            source.seal({SECRET: secret} if secret else {})
        before = (source.crontab_id, source.interval_id)
        source.crontab, source.interval = self._schedule_rows()
        if before != (source.crontab_id, source.interval_id):
            source.schedule_since = timezone.now()
        source.problem = ""
        if commit:
            source.save()
        return source

    def _schedule_rows(self) -> tuple[CrontabSchedule | None, IntervalSchedule | None]:
        kind, data = self.cleaned_data["schedule"], self.cleaned_data
        if kind == "none" or data["access"] == Access.UPLOAD:
            return None, None
        if kind == "hourly":
            return None, IntervalSchedule.objects.get_or_create(every=1, period=IntervalSchedule.HOURS)[0]
        at: time = data.get("daily_at") or time()
        parts = data["cron"].split() if kind == "cron" else [str(at.minute), str(at.hour), "*", "*", "*"]
        names = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
        values = dict(zip(names, parts, strict=True))
        zone = ZoneInfo(data["schedule_zone"])
        row = CrontabSchedule.objects.filter(**values, timezone=zone).first()
        return row or CrontabSchedule.objects.create(**values, timezone=zone), None


class ExportForm(forms.Form):
    """Whom and what an export holds."""

    traits = forms.MultipleChoiceField(
        label="Traits", required=False, widget=forms.CheckboxSelectMultiple, help_text="None ticked: all of them."
    )
    having = forms.ChoiceField(label="Only subscribers who have", required=False)
    since = forms.DateField(
        label="Only those changed since",
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}),
        help_text="Whole days in the App's time zone.",
    )

    def __init__(self, *args: Any, app: App, **options: Any) -> None:
        super().__init__(*args, **options)
        self.app = app
        names = [(name, name) for name in Trait.objects.filter(app=app).order_by("name").values_list("name", flat=True)]
        traits: Any = self.fields["traits"]
        having: Any = self.fields["having"]
        traits.choices, having.choices = names, [("", "any or no trait"), *names]
        dress(self)

    def selection(self) -> Selection:
        """Return what was chosen."""
        data = self.cleaned_data
        since = data["since"] and datetime.combine(data["since"], time(), self.app.zone)
        return Selection(data["traits"], data["having"], since)
