"""The names that belong to each cloud."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.core.bounds import MAX_HOST_NAME_BYTES
from verifier.core.trust.clouds import Cloud, cloud_of

DOMAINS = [(cloud, cloud.domain.encode("ascii")) for cloud in Cloud]
LABEL = st.from_regex(rb"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", fullmatch=True)
#: Parts of names that resemble the name of a cloud.
PIECE = st.one_of(
    st.sampled_from([b"", b".", b"*", b"\0", b"-", b" ", b"evil", b"\xc3\xa9", b"metadata", b"azure", b"com", b"us"]),
    st.sampled_from([domain for _, domain in DOMAINS]),
    st.sampled_from([domain.upper() for _, domain in DOMAINS]),
    LABEL,
    st.binary(max_size=3),
)
NAME = st.one_of(
    st.binary(max_size=80),
    st.lists(PIECE, max_size=6).map(b"".join),
    st.lists(PIECE, max_size=6).map(b".".join),
)


@pytest.mark.parametrize(
    ("cloud", "domain"),
    [
        (Cloud.PUBLIC, "metadata.azure.com"),
        (Cloud.US_GOVERNMENT, "metadata.azure.us"),
        (Cloud.CHINA, "metadata.azure.cn"),
        (Cloud.GERMANY, "metadata.microsoftazure.de"),
    ],
)
def test_each_cloud_signs_under_the_domain_that_azure_documents(cloud: Cloud, domain: str) -> None:
    assert cloud.domain == domain


@pytest.mark.parametrize(("cloud", "domain"), DOMAINS)
@pytest.mark.parametrize(
    "prefix", [b"", b"eastus.", b"a.b.c.d.e.", b"*.", b"*.uksouth.", b"1.", b"a-b.", b"x" * 63 + b"."]
)
def test_accepts_the_domain_and_its_subdomains(cloud: Cloud, domain: bytes, prefix: bytes) -> None:
    assert cloud_of(prefix + domain) is cloud


@pytest.mark.parametrize(("cloud", "domain"), DOMAINS)
def test_a_name_of_many_labels_is_bounded(cloud: Cloud, domain: bytes) -> None:
    prefix = (b"a." * MAX_HOST_NAME_BYTES)[: 2 * ((MAX_HOST_NAME_BYTES - len(domain)) // 2)]
    longest = prefix.replace(b"a.", b"aa.", MAX_HOST_NAME_BYTES - len(prefix + domain)) + domain
    assert len(longest) == MAX_HOST_NAME_BYTES
    assert cloud_of(longest) is cloud
    assert cloud_of(b"a" + longest) is None
    assert cloud_of(b"a." * 4000 + domain) is None


@pytest.mark.parametrize(("cloud", "domain"), DOMAINS)
def test_ignores_ascii_case(cloud: Cloud, domain: bytes) -> None:
    assert cloud_of(b"EastUS." + domain.upper()) is cloud


@pytest.mark.parametrize("domain", [domain for _, domain in DOMAINS])
@pytest.mark.parametrize(
    "form",
    [
        b"evil%s",
        b"evil-%s",
        b"%s.evil.net",
        b"%s.",
        b"%s..",
        b".%s",
        b"..%s",
        b"a..%s",
        b"%s\0",
        b"\0%s",
        b"evil.net\0.%s",
        b"eastus\0.%s",
        b"%s\0.evil.net",
        b"%s ",
        b" %s",
        b"%s\n",
        b"a b.%s",
        b"\xc3\xa9.%s",
        b"xn\xe2\x80\x8b.%s",
        b"a*.%s",
        b"*a.%s",
        b"**.%s",
        b"*.*.%s",
        b"eastus.*.%s",
        b"-a.%s",
        b"a-.%s",
        b"a_b.%s",
        b"a/b.%s",
        b"evil@%s",
        b"evil:443.%s",
        b"https://%s",
        b"x" * 64 + b".%s",
    ],
)
def test_refuses_a_name_that_resembles_a_cloud(domain: bytes, form: bytes) -> None:
    assert cloud_of(form % domain) is None


@pytest.mark.parametrize(
    "name",
    [
        b"",
        b".",
        b"*",
        b"com",
        b"azure.com",
        b"*.azure.com",
        b"*.com",
        b"metadata.azure",
        b"metadata-azure.com",
        b"metadata.azure.com.cn",
        b"metadata.azure.de",
        b"metadata.microsoftazure.com",
        b"metadata.evil.azure.com",
        # Some case mappings fold the long s and the dotless i to ASCII letters.
        "metadata.azure.u\u017f".encode(),
        "metadata.m\u0131crosoftazure.de".encode(),
        # A Cyrillic a.
        "metad\u0430ta.azure.com".encode(),
        # Full stops that resolvers fold to the ASCII one.
        "metadata\u3002azure\u3002com".encode(),
        "metadata.azure.com".encode("utf-16-be"),
    ],
)
def test_refuses_a_name_of_no_cloud(name: bytes) -> None:
    assert cloud_of(name) is None


@given(name=NAME)
def test_an_accepted_name_is_the_domain_or_a_subdomain(name: bytes) -> None:
    cloud = cloud_of(name)
    if cloud is None:
        return
    text = name.decode("ascii").lower()
    assert text == cloud.domain or text.endswith(f".{cloud.domain}")
    assert all(text.split("."))
    assert "\0" not in text
    assert "*" not in text[1:]


@given(labels=st.lists(LABEL, max_size=5), wildcard=st.booleans(), place=st.sampled_from(DOMAINS))
def test_every_well_formed_name_under_a_domain_is_accepted(
    labels: list[bytes], *, wildcard: bool, place: tuple[Cloud, bytes]
) -> None:
    cloud, domain = place
    assert cloud_of(b".".join([*([b"*"] if wildcard else []), *labels, domain])) is cloud


@given(name=NAME, place=st.sampled_from(DOMAINS))
def test_a_name_with_text_after_the_domain_is_refused(name: bytes, place: tuple[Cloud, bytes]) -> None:
    _, domain = place
    cloud = cloud_of(domain + name)
    assert cloud is None or not name or name.lower().endswith(cloud.domain.encode("ascii"))


def test_the_names_of_the_clouds_are_those_of_azures_tools() -> None:
    assert [cloud.value for cloud in Cloud] == [
        "AzurePublicCloud",
        "AzureUSGovernmentCloud",
        "AzureChinaCloud",
        "AzureGermanCloud",
    ]
