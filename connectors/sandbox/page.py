"""The sandbox's pages: what is in the vendors' worlds now, what happened there, and how to set a connection to them up."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape

from connectors.sandbox.people import PEOPLE
from connectors.sandbox.store import Json, Store
from connectors.sandbox.world import World

SHOWN = 50
NOTHING = "Nothing yet. Accept a prompt on the demo site."

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<script>setInterval(() => getSelection().isCollapsed && location.reload(), 5000)  // not while somebody copies</script>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 1.5rem 1rem 4rem; }}
h1 {{ font-size: 1.5rem; margin: 0; }} h2 {{ font-size: 1.2rem; margin: 2.5rem 0 0; }}
h3 {{ font-size: 1rem; margin: 1.5rem 0 .25rem; }}
p {{ margin: .25rem 0; }} .quiet {{ opacity: .75; }} code {{ overflow-wrap: anywhere; }}
.wide {{ overflow-x: auto; border: 1px solid #8884; border-radius: 8px; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ padding: .4rem .75rem; text-align: start; white-space: nowrap; border-bottom: 1px solid #8883; }}
.vendors {{ columns: 12rem; padding: 0; list-style: none; }}
.typed td {{ white-space: pre-wrap; }} .typed td:last-child {{ overflow-wrap: anywhere; min-width: 10rem; }}
tr:last-child td {{ border-bottom: 0; }} th {{ font-weight: 600; font-size: .85rem; }}
</style></head><body><main>
<h1>{title}</h1>
<p>Fake vendors that behave as their documentation says. Nothing here costs anybody anything. This page renews itself.</p>
{body}
</main></body></html>
"""


@dataclass(frozen=True)
class Label:
    """How the console calls a setting, and the values that it offers."""

    name: str
    values: Mapping[str, str] = field(default_factory=dict)


Labels = Mapping[str, Mapping[str, Label]]
"""By connector and setting. The sandbox knows nothing of the console: whoever runs both tells it."""


def read_labels(told: Json) -> Labels:
    """Read the control API's JSON: `{"stripe": {"api_key": {"name": "Restricted key", "values": {}}}}`.

    Raises:
        TypeError, AttributeError: it is another thing.

    """
    return {key: {name: Label(**label) for name, label in settings.items()} for key, settings in told.items()}


def _setting(name: str, value: str, labels: Mapping[str, Label]) -> tuple[str, str]:
    """Return a setting as people find it in the console."""
    label = labels.get(name) or Label(name.replace("_", " ").capitalize())
    return label.name, label.values.get(value, value)


def _table(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]], empty: str, kind: str = "") -> str:
    lines = ["<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows]
    if not lines:
        return f"<h3>{escape(title)}</h3><p class=quiet>{escape(empty)}</p>"
    head = "".join(f"<th scope=col>{escape(column)}</th>" for column in columns)
    label = f'class="wide {kind}" tabindex=0 role=region aria-label="{escape(title)}"'
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    return f"<h3>{escape(title)}</h3><div {label}>{table}</div>"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%d %b %H:%M:%S UTC")


def _effects(effects: Iterable[Json], *more: Callable[[Json], str]) -> list[tuple[object, ...]]:
    return [
        (
            _time(effect["at"]),
            *(column(effect) for column in more),
            effect["what"].replace("_", " "),
            effect["whom"],
            ", ".join(str(value) for value in effect["detail"].values() if value not in ("", None)),
        )
        for effect in effects
    ]


def overview(store: Store, worlds: Mapping[str, World]) -> str:
    """Return the page of all worlds as HTML: which there are, and what happened lately."""
    with store.transaction():
        effects = store.effects()
    counts = Counter(effect["vendor"] for effect in effects)
    links = "".join(
        f'<li><a href="/{escape(key)}">{escape(world.label)}</a>'
        + (f" <span class=quiet>({counts[key]})</span>" if counts[key] else "")
        for key, world in sorted(worlds.items(), key=lambda each: each[1].label.lower())
    )
    happened = _effects(
        reversed(effects[-SHOWN:]),
        lambda effect: worlds[effect["vendor"]].label if effect["vendor"] in worlds else effect["vendor"],
    )
    return PAGE.format(
        title="Vendor sandbox",
        body=f"<p>Open a vendor to see what to type in the console, and what is there.</p><ul class=vendors>{links}</ul>"
        + _table("What happened", ("When", "Where", "What", "To", "Detail"), happened, NOTHING),
    )


def world(store: Store, url: str, shown: World, labels: Mapping[str, Label]) -> str:
    """Return the page of one vendor's world as HTML.

    Args:
        store: what there is.
        url: where requests to this world come in; "" where none do.
        shown: the world.
        labels: how the console calls its settings.

    """
    key = shown.key
    with store.transaction():
        setup = shown.setup(store)
        people = [(person, shown.traits(person)) for person in PEOPLE]
        parts = ['<p><a href="/">All vendors</a></p>']
        if url:
            parts.append(f"<p>Base URL <code>{escape(url)}</code></p>")
        if shown.note:
            parts.append(f"<p>{escape(shown.note)}</p>")
        if setup:
            settings = [_setting(name, value, labels) for name, value in setup.items()]
            parts.append(_table("To set it up in the console", ("Setting", "Value"), settings, "", "typed"))
        parts.append(
            _table(
                "What happened",
                ("When", "What", "To", "Detail"),
                _effects(reversed(store.effects(key)[-SHOWN:])),
                NOTHING,
            )
        )
        parts += [_table(title, columns, rows, "None.") for title, columns, rows in shown.tables(store)]
        names = list(dict.fromkeys(name for _, traits in people for name in traits))
        if names:
            known = [(person.user_id, *(traits.get(name, "") for name in names)) for person, traits in people]
            parts.append(_table("Who is known by which trait", ("User id", *names), known, ""))
        requests = [
            (_time(request["at"]), request["method"], request["path"], request.get("status") or "no answer")
            for request in reversed(store.requests(key)[-SHOWN:])
        ]
        parts.append(_table("Last requests", ("When", "Method", "Path", "Answer"), requests, "Nobody has called yet."))
    return PAGE.format(title=escape(f"{shown.label} · Vendor sandbox"), body="\n".join(parts))
