"""The bounds on evidence: how much of each thing a sender can multiply is read before the document is refused.

Each reader applies its bound while it reads, before it decodes what is beyond it and before any cache holds anything.
Real documents have 1.4 to 4.4 KB, one certificate of 1.6 to 2.4 KB with 2 names, 10 extensions and about 250 elements;
a cloud has about 60 regions. docs/threat-model.md lists what each bound costs at most.
"""

from typing import Final

KIBIBYTE: Final = 1024

#: The evidence as it is posted, when the settings say nothing else.
MAX_EVIDENCE_BYTES: Final = 16 * KIBIBYTE

# One DER element, in core.der.
MAX_DEPTH: Final = 32
MAX_ELEMENTS: Final = 4096
#: Of the contents of one object identifier. Real ones have up to 25.
MAX_OID_BYTES: Final = 64

# The CMS SignedData, in core.cms.
MAX_EMBEDDED_CERTIFICATES: Final = 8
MAX_SIGNED_ATTRIBUTES: Final = 32
#: Of an AlgorithmIdentifier. The longest that is accepted, PSS, has about 70.
MAX_ALGORITHM_BYTES: Final = 256

# One certificate, in core.certificates, core.extensions and core.distinguished_names.
MAX_CERTIFICATE_BYTES: Final = 8 * KIBIBYTE
#: RFC 5280 4.1.2.2 allows 20 bytes, and the chain step refuses more.
MAX_SERIAL_NUMBER_BYTES: Final = 64
MAX_NAME_ATTRIBUTES: Final = 32
MAX_EXTENSIONS: Final = 32
#: subjectAltName and authorityInfoAccess together.
MAX_NAMES: Final = 256
MAX_KEY_PURPOSES: Final = 32
#: In all extensions together: policies, distribution points, name constraints, and what is in them.
MAX_EXTENSION_ELEMENTS: Final = 1024
#: The characters of a name that are shown. Real ones have about 70.
MAX_SHOWN_CHARACTERS: Final = 512

# The signer's key, in core.signature.
MIN_RSA_BITS: Final = 2048
#: No public authority certifies a larger key.
MAX_RSA_BITS: Final = 8192
#: Public authorities certify 65537, which has 17. An exponent as long as the key costs 100 times as much.
MAX_RSA_EXPONENT_BITS: Final = 33

# The signed JSON, in core.strict_json and core.claims.
MAX_JSON_DEPTH: Final = 16
#: Members and elements together. Documents and requests have about 20.
MAX_JSON_VALUES: Final = 256
#: IMDS takes up to 32 characters, and its own default is 15.
MAX_NONCE_CHARACTERS: Final = 64
MAX_VM_ID_CHARACTERS: Final = 128

# A document that was refused, in core.nonconforming.
MAX_TOLERATED_ELEMENTS: Final = 512
MAX_TOLERATED_RSA_BITS: Final = 4096
MAX_TOLERATED_EXPONENT_BITS: Final = 64

# What the process remembers, in bytes of its memory.
#: About 400 real signers: two generations of the regions of all clouds.
CERTIFICATE_CACHE_BYTES: Final = 4 * KIBIBYTE * KIBIBYTE
#: Half of it for chains: about 700. Half for failures, which a sender can make up.
CHAIN_CACHE_BYTES: Final = 2 * KIBIBYTE * KIBIBYTE
