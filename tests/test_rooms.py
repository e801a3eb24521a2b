"""Imports run one way: wiring -> prompts -> sync -> connectors -> the lowest rooms of `engage`."""

import ast
from pathlib import Path

import pytest
from django.conf import settings

ROOT = Path(settings.BASE_DIR)
LOWEST = (
    "engage.tenancy",
    "engage.audit",
    "engage.redaction",
    "engage.vault",
    "engage.schedules",
    "engage.logs",
    "engage.bell",
    "engage.crash",
    "engage.disk",
    "engage.places",
    "engage.prepared",
)
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "prompts": ("prompts", "sync", "connectors", *LOWEST),
    "sync": ("sync", "connectors", *LOWEST),
    "connectors": ("connectors", *LOWEST),
    "engage/tenancy": LOWEST,
    "engage/audit": LOWEST,
    "engage/vault": LOWEST,
    "engage/schedules": LOWEST,
    "engage/redaction.py": (),
    "engage/logs.py": ("engage.redaction",),
    "engage/bell.py": ("engage.crash",),
    "engage/crash.py": (),
    "engage/disk.py": (),
    "engage/places.py": (),
    "engage/prepared.py": (),
}
OURS = ("engage", "connectors", "sync", "prompts")
NOT_TO_CALL_OUT = (
    "requests",
    "urllib3",
    "http.client",
    "httpx",
    "aiohttp",
    "urllib.request",
    "smtplib",
    "aiosmtplib",
    "socket",
)
CALLS_NOBODY = ("urllib3.exceptions", "smtplib.SMTPException", "socket.gethostname")
VENDORS_MAY_IMPORT = ("requests.PreparedRequest", "requests.auth", "requests.utils.parse_header_links")


def modules(room: str) -> list[Path]:
    place = ROOT / room
    return (
        [place] if place.is_file() else sorted(path for path in place.rglob("*.py") if "migrations" not in path.parts)
    )


def imported(path: Path) -> list[str]:
    """Every module that a file imports, also inside functions and for type checking."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides which room it is"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def within(name: str, rooms: tuple[str, ...]) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_from_rooms_below_it(room: str) -> None:
    assert modules(room), room
    upwards = {
        (str(path.relative_to(ROOT)), name)
        for path in modules(room)
        for name in imported(path)
        if within(name, OURS) and not within(name, MAY_IMPORT[room])
    }
    assert upwards == set()


def test_a_vendor_knows_nothing_but_the_vocabulary() -> None:
    """One vendor, one file: no database, no console, no other vendor."""
    vocabulary = (
        "base",
        "custom_events",
        "forwarders",
        "inbound",
        "pulls",
        "pushes",
        "rereads",
        "failures",
        "auth",
        "http",
        "answers",
        "choosing",
        "placeholders",
        "addresses",
        "smtp",
        "http2",
        "help_desks",
        "app_stores",
        "push_notifications",
        "times",
        "bodies",
        "typed_lists",
    )
    allowed = tuple(f"connectors.{name}" for name in vocabulary)
    wrong = [
        f"{path.name} imports {name}"
        for path in modules("connectors/vendors")
        for name in imported(path)
        if within(name, OURS) and not within(name, (*allowed, own_package(path)))
    ]
    assert wrong == []


def own_package(path: Path) -> str:
    """A vendor with many actions is a package of modules, which know each other."""
    return ".".join(path.relative_to(ROOT).parent.parts) if path.parent.name != "vendors" else "no package"


def test_only_the_storage_module_talks_to_s3() -> None:
    users = {
        str(path.relative_to(ROOT))
        for room in OURS
        for path in modules(room)
        if any(within(n, ("boto3", "botocore")) for n in imported(path))
    }
    assert {user for user in users if not user.startswith("engage/demo")} == {"sync/s3.py"}


def test_nothing_calls_out_past_the_door() -> None:
    """`connectors/http.py` and its helpers, and the storage, alone use a client; sandbox and demo are no product code."""
    names = ("http", "http2", "transport", "base", "auth", "smtp", "addresses", "deadlines")
    doors = {"sync/s3.py", *(f"connectors/{name}.py" for name in names)}
    users = {
        str(path.relative_to(ROOT))
        for room in OURS
        for path in modules(room)
        if any(within(name, NOT_TO_CALL_OUT) and not within(name, CALLS_NOBODY) for name in imported(path))
    }
    assert {
        user for user in users if not user.startswith(("connectors/sandbox/", "engage/demo", "connectors/vendors/"))
    } <= doors


def test_a_vendor_takes_of_a_client_what_its_credentials_need() -> None:
    """Its requests go through the door: it signs them, and reads what came back."""
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules("connectors/vendors")
        for name in imported(path)
        if within(name, NOT_TO_CALL_OUT) and not within(name, VENDORS_MAY_IMPORT)
    }
    assert wrong == set()
