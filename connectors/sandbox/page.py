"""The sandbox's page: what is in the vendors' worlds now, and what happened there."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from html import escape
from types import ModuleType

from connectors.sandbox.store import Store

SHOWN = 50

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="5"><title>Vendor sandbox</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 1.5rem 1rem 4rem; }}
h1 {{ font-size: 1.5rem; margin: 0; }} h2 {{ font-size: 1.2rem; margin: 2.5rem 0 0; }}
h3 {{ font-size: 1rem; margin: 1.5rem 0 .25rem; }}
p {{ margin: .25rem 0; }} .quiet {{ opacity: .75; }} code {{ overflow-wrap: anywhere; }}
.wide {{ overflow-x: auto; border: 1px solid #8884; border-radius: 8px; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ padding: .4rem .75rem; text-align: start; white-space: nowrap; border-bottom: 1px solid #8883; }}
tr:last-child td {{ border-bottom: 0; }} th {{ font-weight: 600; font-size: .85rem; }}
</style></head><body><main>
<h1>Vendor sandbox</h1>
<p>Fake vendors that behave as their documentation says. Nothing here costs anybody anything. This page renews itself.</p>
{body}
</main></body></html>
"""


def _table(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]], empty: str) -> str:
    lines = ["<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows]
    if not lines:
        return f"<h3>{escape(title)}</h3><p class=quiet>{escape(empty)}</p>"
    head = "".join(f"<th scope=col>{escape(column)}</th>" for column in columns)
    label = f'tabindex=0 role=region aria-label="{escape(title)}"'
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    return f"<h3>{escape(title)}</h3><div class=wide {label}>{table}</div>"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%d %b %H:%M:%S UTC")


def render(store: Store, url: str, vendors: Mapping[str, ModuleType]) -> str:
    """Return the page as HTML."""
    parts = []
    with store.transaction():
        for key, vendor in vendors.items():
            token = vendor.state(store)["token"]
            parts.append(f"<h2>{escape(vendor.LABEL)}</h2>")
            parts.append(
                f"<p>Base URL <code>{escape(f'{url}/{key}')}</code>, API key <code>{escape(str(token))}</code></p>"
            )
            effects = [
                (
                    _time(effect["at"]),
                    effect["what"].replace("_", " "),
                    effect["whom"],
                    ", ".join(map(str, effect["detail"].values())),
                )
                for effect in reversed(store.effects(key)[-SHOWN:])
            ]
            parts.append(
                _table(
                    "What happened",
                    ("When", "What", "To", "Detail"),
                    effects,
                    "Nothing yet. Accept a prompt on the demo site.",
                )
            )
            parts += [_table(title, columns, rows, "None.") for title, columns, rows in vendor.tables(store)]
            requests = [
                (_time(request["at"]), request["method"], request["path"], request.get("status") or "no answer")
                for request in reversed(store.requests(key)[-SHOWN:])
            ]
            parts.append(
                _table("Last requests", ("When", "Method", "Path", "Answer"), requests, "Nobody has called yet.")
            )
    return PAGE.format(body="\n".join(parts))
