"""CSV files of subscribers, made up, the same in every run."""

import math
import random
from pathlib import Path

HEADER = (
    "Customer ID,First Name,Last Name,Email Address,Country,Account Activation Date,Subscriber Status,"
    "Customer Lifetime Revenue,Last Login Date,Churn risk,Offer ID,Subscription ID\n"
)
COLUMNS = 12
NAMES = ["Ada", "Ben", "Cleo", "Dora", "Emil", "Finn", "Gala", "Hugo"]
COUNTRIES = ("Germany", "France", "Poland", "United States")


def _line(number: int, plan: int) -> str:
    dice = random.Random(number)
    name = NAMES[number % 8]
    status = "subscriber_active" if dice.random() < 0.8 else "subscriber_churned"
    login = "" if dice.random() < 0.1 else f"2026-{dice.randrange(1, 11):02}-{dice.randrange(1, 29):02}"
    return (
        f"{number},{name},Example{number % 977},{name.lower()}.{number}@example.com,{COUNTRIES[number % 4]},"
        f"20{dice.randrange(10, 26)}-{dice.randrange(1, 13):02}-{dice.randrange(1, 29):02},{status},"
        f"{dice.randrange(90_000) / 100},{login},{dice.choice(('low', 'medium', 'high'))},"
        f"S{100_000_000 + plan}_US,{number + 900_000_000}\n"
    )


def write(path: Path, rows: int, *, order: int = 1, changed: float = 0.0) -> None:
    """Write a file of so many rows, one per subscriber, in the random order that this number stands for.

    Args:
        changed: the share of rows that say something else than without it.
    """
    dice = random.Random(order)
    # Neither sorted nor shuffled in memory as a whole: a stride that visits every number once.
    stride = next(n for n in range(rows * 5 // 8 + order, 2 * rows) if math.gcd(n, rows) == 1)
    start = dice.randrange(rows)
    with path.open("w", encoding="utf-8") as file:
        file.write(HEADER)
        for step in range(rows):
            number = (start + step * stride) % rows
            plan = 99 if changed and number % int(1 / changed) == 0 else number % 20
            file.write(_line(100_000_000 + number, plan))
