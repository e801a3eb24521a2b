"""Who may do what. A page or endpoint names what it needs; what is not named here, nobody may."""

# ruff: noqa: PIE796 - several rights have the same roles, and are still several

from enum import Enum
from typing import Self

from django.db import models


class Role(models.TextChoices):
    """What a person is in a company or an App."""

    COMPANY_ADMIN = "company_admin", "Company administrator"
    APP_ADMIN = "app_admin", "App administrator"
    APP_MEMBER = "app_member", "App member"
    READ_ONLY = "read_only", "Read only"


ADMINISTRATORS = frozenset({Role.COMPANY_ADMIN, Role.APP_ADMIN})
DESIGNERS = ADMINISTRATORS | {Role.APP_MEMBER}
EVERYBODY = frozenset(Role)


class Right(Enum):
    """A thing that can be allowed; its value is the set of roles that have it."""

    def __new__(cls, roles: frozenset[Role]) -> Self:
        """Two rights may have the same roles, and are still two."""
        right = object.__new__(cls)
        right._value_ = len(cls.__members__)
        right.roles = roles
        return right

    roles: frozenset[Role]

    LOOK = EVERYBODY
    SEE_PERSONAL = DESIGNERS  # without it, personal traits are masked
    DESIGN_PROMPTS = DESIGNERS
    TEST_PROMPTS = DESIGNERS
    RUN_AGAIN = DESIGNERS
    RUN_MANY_AGAIN = ADMINISTRATORS
    DECIDE_UNCERTAIN = ADMINISTRATORS
    MANAGE_CONNECTIONS = ADMINISTRATORS
    MANAGE_SOURCES = ADMINISTRATORS
    EXPORT_SUBSCRIBERS = ADMINISTRATORS
    ERASE_SUBSCRIBERS = ADMINISTRATORS  # a privacy request
    MANAGE_KEYS = ADMINISTRATORS
    MANAGE_USERS = ADMINISTRATORS
    MANAGE_APP = ADMINISTRATORS  # delivery mode, domains, time zone
    SEE_AUDIT = ADMINISTRATORS
    MANAGE_COMPANY = frozenset({Role.COMPANY_ADMIN})

    def allows(self, role: str | None) -> bool:
        """Whether somebody with `role` has this right; nobody without a role has any."""
        return role in self.roles
