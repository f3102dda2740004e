"""Bound everything that a sender can multiply in evidence.

Each reader applies its bound while it reads, before it decodes more and before it caches a value. Real documents have
1.4 to 4.4 KB and one certificate of 1.6 to 2.4 KB, with 2 names, 10 extensions and about 250 elements. A cloud has
about 60 regions. bench/multiplied_elements.py measures the highest cost of each bound.
"""

from typing import Final

_KIBIBYTE: Final = 1024

#: The size of posted evidence. A setting can change it.
MAX_EVIDENCE_BYTES: Final = 16 * _KIBIBYTE

# One DER element, in core.encoding.der.
MAX_DEPTH: Final = 32
MAX_ELEMENTS: Final = 4096
#: The contents of one object identifier. Real ones have up to 25 bytes.
MAX_OID_BYTES: Final = 64

# The CMS SignedData, in core.encoding.cms.
MAX_EMBEDDED_CERTIFICATES: Final = 8
MAX_SIGNED_ATTRIBUTES: Final = 32
#: One AlgorithmIdentifier. The longest that is accepted, PSS, has about 70 bytes.
MAX_ALGORITHM_BYTES: Final = 256

# One certificate, in core.trust.certificates, core.trust.extensions and core.trust.distinguished_names.
MAX_CERTIFICATE_BYTES: Final = 8 * _KIBIBYTE
#: RFC 5280 4.1.2.2 allows 20 bytes. The chain step refuses more, so that the refusal names the rule.
MAX_SERIAL_NUMBER_BYTES: Final = 64
MAX_NAME_ATTRIBUTES: Final = 32
MAX_EXTENSIONS: Final = 32
#: subjectAltName and authorityInfoAccess together.
MAX_NAMES: Final = 256
#: A host name as text (RFC 1035 2.3.4). A longer name belongs to no cloud, and its labels are not read.
MAX_HOST_NAME_BYTES: Final = 253
MAX_KEY_PURPOSES: Final = 32
#: In all extensions together: policies, distribution points, name constraints and their parts.
MAX_EXTENSION_ELEMENTS: Final = 1024
#: The characters of a distinguished name that are kept as text. Real ones have about 70.
MAX_SHOWN_CHARACTERS: Final = 512

# The signer's key, in core.signature.
MIN_RSA_BITS: Final = 2048
#: Public authorities do not certify larger keys.
MAX_RSA_BITS: Final = 8192
#: Public authorities certify 65537, which has 17 bits. An exponent as long as the key costs 100 times as much.
MAX_RSA_EXPONENT_BITS: Final = 33

# The signed JSON, in core.encoding.strict_json and core.claims.
MAX_JSON_DEPTH: Final = 16
#: Members and elements together. Documents and requests have about 20.
MAX_JSON_VALUES: Final = 256
#: IMDS accepts up to 32 characters, and its own default has 15.
MAX_NONCE_CHARACTERS: Final = 64
MAX_VM_ID_CHARACTERS: Final = 128

# A document that was refused, in core.nonconforming.
MAX_TOLERATED_ELEMENTS: Final = 512
MAX_TOLERATED_RSA_BITS: Final = 4096
MAX_TOLERATED_EXPONENT_BITS: Final = 64

# The caches of the process, in bytes of memory. They use memory only for what was seen. With what they make up, senders
# can fill CERTIFICATE_CACHE_BYTES, IDENTITY_CACHE_BYTES and half of the two for chains: 6 MiB in each worker.
#: About 2200 real signers whose chain was accepted. Two generations of the regions of all clouds are about 400.
SIGNER_CACHE_BYTES: Final = 16 * _KIBIBYTE * _KIBIBYTE
#: About 280 other certificates.
CERTIFICATE_CACHE_BYTES: Final = 2 * _KIBIBYTE * _KIBIBYTE
#: About 3000 real signers.
IDENTITY_CACHE_BYTES: Final = 2 * _KIBIBYTE * _KIBIBYTE
#: One half is for chains, about 2000. The other half is for failures, which a sender can cause.
CHAIN_CACHE_BYTES: Final = 4 * _KIBIBYTE * _KIBIBYTE
#: About 30 chains as of other moments, of inspections.
PAST_CHAIN_CACHE_BYTES: Final = 64 * _KIBIBYTE
#: About 60 authorities of accepted paths as the second path validator reads them. Senders cannot add any.
AUTHORITY_CACHE_BYTES: Final = 2 * _KIBIBYTE * _KIBIBYTE
#: 2048 pairs of trusted certificates. The shipped ones have 67.
ISSUING_CACHE_BYTES: Final = _KIBIBYTE * _KIBIBYTE
