"""Files of push endpoints: a row is an address at which a person is reached on one channel, so a person has several rows.

The columns are those of Amazon Pinpoint's endpoints, which other tools write as well: `ChannelType`, `Address`, and the user's id,
`User.UserId` there. A channel's address becomes a trait named after it (`endpoint_apns`), whichever channel it is. Rows of
different channels do not supersede each other; of the same one the source's rule for which row counts decides.
https://docs.aws.amazon.com/pinpoint/latest/developerguide/audience-define-import.html
"""

import json
from hashlib import blake2b

from sync.csv_rows import BadFile, BadRow, Layout, Reading, Table, place_of, reader_of, shortened, too_long, trait_name

CHANNEL, ADDRESS = "ChannelType", "Address"
MOST_CHANNELS = 50
STEM = "endpoint"


def reading_of(table: Table, layout: Layout) -> Reading:
    """Return the reading of a file by its source's rules.

    Raises:
        BadFile: a column that it needs is missing.
    """
    return EndpointReading(table, layout) if layout.endpoints else Reading(table, layout)


class EndpointReading(Reading):
    """A file of push endpoints. Its traits are known once it was read, since its rows name the channels."""

    joins = True

    def __init__(self, table: Table, layout: Layout) -> None:
        """Find the columns.

        Raises:
            BadFile: one of them is missing.
        """
        self._channel = place_of(table, CHANNEL, "the channel of a push endpoint")
        self._address = place_of(table, ADDRESS, "the address of a push endpoint")
        super().__init__(table, layout)
        self._named: dict[str, str] = {}  # channel -> trait
        types = sorted((trait, type_) for trait, type_ in layout.types.items() if STEM in trait)
        meaning = repr([CHANNEL, ADDRESS, self._channel, self._address, layout.prefix, types, layout.clears])
        self._meaning = blake2b(meaning.encode(), digest_size=32).digest()

    def _columns(self) -> tuple[int, dict[int, str]]:
        return place_of(self._table, self._layout.id_column, "the id"), {}

    @property
    def filled(self) -> dict[str, str]:
        """Trait -> column, of the channels that were read so far."""
        return dict.fromkeys(self._named.values(), self._table.columns[self._address])

    def becomes(self, index: int) -> str:
        """Return the traits that a column has become so far."""
        return ", ".join(self.filled) if index == self._address else ""

    def _trait_of(self, channel: str) -> str:
        if channel not in self._named:
            name = trait_name(f"{STEM} {channel}")
            if name == STEM:
                raise ValueError("The channel is empty, or has neither letter nor digit to name a trait by.")
            if len(self._named) >= MOST_CHANNELS:
                raise BadFile(
                    f"The column “{self._table.columns[self._channel]}” names more than {MOST_CHANNELS} channels, so it holds "
                    "something else."
                )
            self._named[channel] = (self._layout.prefix + name)[:80]
        return self._named[channel]

    def _as_objects(self, cells: list[str]) -> list[str]:
        width = len(self._table.columns)
        return list(map(self._as_object, cells[self._channel :: width], cells[self._address :: width]))

    def _as_object(self, channel: str, address: str) -> str:
        trait = self._trait_of(channel)
        if not address:
            return json.dumps({trait: None} if self._layout.clears else {})
        return json.dumps({trait: reader_of(self.type_of(trait), self._layout.zone)(address)})

    def _wrong_row(self, line: int, row: list[str]) -> BadRow | None:
        wrong = super()._wrong_row(line, row)
        if wrong:
            return wrong
        channel, address = row[self._channel].strip(), row[self._address].strip()
        index = self._channel
        try:
            self._trait_of(channel)
            index = self._address
            self._as_object(channel, address)
        except BadFile:
            raise
        except ValueError as error:
            return BadRow(line, self._table.columns[index], str(error), shortened(row[index].strip()))
        return too_long(line, self._table.columns[index], address)
