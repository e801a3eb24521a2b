"""The eight people whom every vendor's world knows, so that whoever accepts a prompt can be found at any of them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Person:
    """One of them.

    Args:
        number: 1 to 8; worlds build their ids on it.

    """

    number: int
    first: str
    last: str

    @property
    def email(self) -> str:
        """Return the address under which vendors know them."""
        return f"{self.first}.{self.last}@example.com".lower()

    @property
    def user_id(self) -> str:
        """Return the App's own id of them."""
        return f"viewer-{self.first.lower()}"


AVA, BEN, CHLOE, DIEGO, EMMA, FARID, GRACE, HUGO = PEOPLE = tuple(
    Person(number, *name.split())
    for number, name in enumerate(
        (
            "Ava Stone",
            "Ben Okafor",
            "Chloe Martin",
            "Diego Ramos",
            "Emma Lind",
            "Farid Haddad",
            "Grace Kim",
            "Hugo Weber",
        ),
        start=1,
    )
)
