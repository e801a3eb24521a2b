"""A vendor's WSDL, asked whether the body of a SOAP request is one of its messages."""

import re
import warnings
from pathlib import Path
from xml.etree import ElementTree as ET

from xmlschema import XMLSchema, XMLSchemaImportWarning

ENVELOPES = ("http://www.w3.org/2003/05/soap-envelope", "http://schemas.xmlsoap.org/soap/envelope/")  # 1.2, 1.1


class Wsdl:
    """The types of a WSDL 1.1 with one schema. Nothing that it imports from elsewhere is fetched."""

    def __init__(self, file: Path) -> None:
        text = file.read_text()
        schema = re.search(r"<(\w+:)?schema\b.*</(\w+:)?schema>", text, re.DOTALL)
        assert schema is not None
        # What the schema's prefixes mean is said at the root of the WSDL.
        said = "".join(f" {name}" for name in dict.fromkeys(re.findall(r'xmlns:\w+="[^"]*"', text[: schema.start()])))
        alone = re.sub(r"^<((\w+:)?schema)\b", rf"<\1{said}", schema.group())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", XMLSchemaImportWarning)
            self._schema = XMLSchema(alone, allow="none")

    def problems(self, text: str) -> list[str]:
        """Say what the types do not allow in an envelope."""
        envelope = ET.fromstring(text)  # noqa: S314 - our own request
        bodies = [body for soap in ENVELOPES for body in envelope.findall(f"{{{soap}}}Body")]
        if len(bodies) != 1 or len(bodies[0]) != 1:
            return ["An envelope has one body with one message."]
        # A type is named without a prefix, and means the schema's own.
        own = {"": self._schema.target_namespace}
        errors = self._schema.iter_errors(bodies[0][0], namespaces=own)
        return [f"{error.path}: {error.reason}" for error in errors]
