"""Cells that a spreadsheet does not take for formulas, and how they become again what they were.

OWASP's advice is an apostrophe before the cell (https://owasp.org/www-community/attacks/CSV_Injection). One is also put before
a cell that would begin a formula behind apostrophes of its own, so that taking one away always gives back the very text.
"""

BEGINNINGS = frozenset("=+-@＝＋－＠")  # noqa: RUF001 - the wide ones, which some spreadsheets read as well
BREAKS = frozenset("\t\r\n")


def _would_calculate(text: str) -> bool:
    bare = text.lstrip("'")
    return bare.lstrip()[:1] in BEGINNINGS or bare[:1] in BREAKS


def harmless(text: str) -> str:
    """Return `text` so that a spreadsheet shows it: an apostrophe before what would begin a formula."""
    return f"'{text}" if _would_calculate(text) else text


def restored(text: str) -> str:
    """Return the text of which `harmless` made this one; any other text as it is."""
    return text[1:] if text[:1] == "'" and _would_calculate(text) else text
