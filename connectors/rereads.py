"""The vocabulary in which a vendor is read again person by person: one that lists its subscriptions to nobody.

A connector of such a vendor sets `reread` to the action that reads how one person's stands, and writes it to the traits.
`sync.rereads` carries it out for everybody who has what it needs. Nothing here touches the network or the database.
"""

from django import forms

from connectors.base import Values

SETTING = "reread_nightly"


def nightly_choice(vendor: str) -> forms.BooleanField:
    """Return the setting `reread_nightly`: whether every stored purchase is read again at night."""
    return forms.BooleanField(
        label="Check purchases every night",
        required=False,
        help_text=f"{vendor} lists purchases to nobody. So at 02:00 of the App's time zone Engage reads each one that your "
        "subscribers' traits name, and writes to the traits how it stands.",
    )


def is_on(settings: Values) -> bool:
    """Whether a connection with these settings reads at night."""
    return bool(settings.get(SETTING))
