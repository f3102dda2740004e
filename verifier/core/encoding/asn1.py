"""Provide the types of asn1crypto in a form that threads can share.

The library fills the tables of a class when it creates the first object of that class, without a lock. Another thread
may then read an incomplete table, or fill it twice, which leaves it wrong until the process ends. This module fills
the tables of all classes when it is imported, which only one thread can do. Import asn1crypto's types only from here.
"""

from collections.abc import Iterator

from asn1crypto import core, x509

# Load the types of the second path validator (core.chain) as well, so that their tables are filled.
from pyhanko_certvalidator import asn1_types as _validator_types

__all__ = ["x509"]


def _kinds(parent: type[core.Asn1Value]) -> Iterator[type[core.Asn1Value]]:
    for kind in parent.__subclasses__():
        yield kind
        yield from _kinds(kind)


def _fill_tables() -> None:
    for kind in set(_kinds(core.Asn1Value)):
        if kind is not core.Choice:  # an abstract base class
            kind()


del _validator_types
_fill_tables()
