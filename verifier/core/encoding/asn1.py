"""asn1crypto's types, ready to be used by any number of threads.

The library fills in the tables of a class when the first object of it is made, and does not keep other threads out
meanwhile: they read half a table, or fill it a second time, which then stays wrong for as long as the process lives.
Whoever reads ASN.1 here takes the types from this module, which has filled in all of them: one thread does, since the
import system lets no other past.
"""

from collections.abc import Iterator

from asn1crypto import core, x509

# Its own types, for the second judge (core.chain), are among those that are made ready.
from pyhanko_certvalidator import asn1_types as _judges_types

__all__ = ["x509"]


def _kinds(parent: type[core.Asn1Value]) -> Iterator[type[core.Asn1Value]]:
    for kind in parent.__subclasses__():
        yield kind
        yield from _kinds(kind)


def _make_ready() -> None:
    for kind in set(_kinds(core.Asn1Value)):
        if kind is not core.Choice:  # no type of its own, but what choices are derived from
            kind()


del _judges_types
_make_ready()
