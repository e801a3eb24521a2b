"""The devices on which people are shown push notifications, one each at every push service. Hugo has taken the app off his."""

from connectors.sandbox.people import HUGO, PEOPLE, Person
from connectors.sandbox.store import Json, Store
from connectors.sandbox.world import Table


def address(service: str, person: Person) -> str:
    """Return by what a push service knows somebody's device."""
    return f"sandbox-{service}-{person.user_id}"


def is_address(service: str, known_as: object) -> bool:
    """Whether an address is of somebody's device, even if no app is registered at it any more."""
    return any(address(service, person) == known_as for person in PEOPLE)


def owner(service: str, known_as: object) -> Person | None:
    """Return whose device an address is; None where no app is registered at it."""
    return next((person for person in PEOPLE if address(service, person) == known_as and person is not HUGO), None)


def show(store: Store, vendor: str, person: Person, *, title: str, text: str, link: str, tag: str) -> None:
    """Show a notification: in place of the one with the same tag, if there is one."""
    name = f"{person.user_id} {tag}"
    what = "notification_replaced" if tag and store.get(vendor, "notification", name) else "notification_shown"
    shown: Json = {"who": person.user_id, "title": title, "text": text, "link": link}
    store.put(vendor, "notification", name, shown)
    store.effect(vendor, what, person.user_id, title=title, text=text, link=link)


def table(store: Store, vendor: str) -> Table:
    """Return what the devices show."""
    rows = [(row["who"], row["title"], row["text"], row["link"]) for row in store.all(vendor, "notification")]
    return "On people's devices", ("Of", "Title", "Text", "Opens"), rows
