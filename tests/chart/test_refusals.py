"""Values that cannot work, alone or together, are refused with their names."""

import copy

import pytest
from helm_python.errors import HelmRenderError, HelmValuesError
from support.chart import Values, manifests, merged, scenarios

HASH = "0f" * 32
WRONG: dict[str, tuple[Values, str]] = {
    "no pods": ({"replicaCount": 0}, "/replicaCount"),
    "a port that is none": ({"service": {"port": 65536}}, "/service/port"),
    "a policy that asks nothing": ({"policies": {"gold": {}}}, "/policies/gold"),
    "a VM that is no GUID": ({"policies": {"gold": {"not": {"vmIds": ["vm-1"]}}}}, "/policies/gold/not/vmIds/0"),
    "a policy that is misspelt": ({"policies": {"gold": {"sku": ["x"]}}}, "/policies/gold"),
    "one within a policy": ({"policies": {"gold": {"not": {"sku": ["x"]}}}}, "/policies/gold/not"),
    "a cloud that is none": ({"policies": {"gold": {"clouds": ["Mars"]}}}, "/policies/gold/clouds/0"),
    "a tenant without a key": ({"tenants": {"contoso": {"keys": []}}}, "/tenants/contoso/keys"),
    "a key in place of its hash": ({"tenants": {"contoso": {"keys": ["s3cret"]}}}, "/tenants/contoso/keys/0"),
    "a tenant's rate": ({"tenants": {"contoso": {"keys": [HASH], "rate": "many"}}}, "/tenants/contoso/rate"),
    "an administrator's key": ({"adminKeys": {"somebody": "s3cret"}}, "/adminKeys/somebody"),
    "a digest that is none": ({"image": {"digest": "latest"}}, "/image/digest"),
    "a certificate without a fingerprint": (
        {"trust": {"certificates": [{"name": "x", "role": "root", "clouds": ["AzurePublicCloud"]}]}},
        "/trust/certificates/0",
    ),
    "a way out that is open": ({"networkPolicy": {"extraEgress": [{"ports": [{"port": 1}]}]}}, "extraEgress/0"),
    "a setting in the environment": ({"extraEnv": [{"name": "VERIFIER_TENANTS", "value": "{}"}]}, "/extraEnv/0/name"),
    "a setting in lower case": ({"extraEnv": [{"name": "verifier_port", "value": "1"}]}, "/extraEnv/0/name"),
    "settings by their prefix": (
        {"extraEnvFrom": [{"prefix": "VERIFIER_", "secretRef": {"name": "x"}}]},
        "/extraEnvFrom/0/prefix",
    ),
    "a path of the node": ({"extraVolumes": [{"name": "x", "hostPath": {"path": "/"}}]}, "/extraVolumes/0"),
    "a privileged container": (
        {"extraContainers": [{"name": "x", "image": "x", "securityContext": {"privileged": True}}]},
        "/extraContainers/0/securityContext/privileged",
    ),
    "a container as root": (
        {"initContainers": [{"name": "x", "image": "x", "securityContext": {"runAsUser": 0}}]},
        "/initContainers/0/securityContext/runAsUser",
    ),
    "pods as root": ({"podSecurityContext": {"runAsUser": 0}}, "/podSecurityContext/runAsUser"),
    "pods without seccomp": (
        {"podSecurityContext": {"seccompProfile": {"type": "Unconfined"}}},
        "/podSecurityContext/seccompProfile/type",
    ),
    "a name of a pull secret": ({"imagePullSecrets": ["registry"]}, "/imagePullSecrets/0"),
    "half of the pods": ({"podDisruptionBudget": {"minAvailable": "half"}}, "/podDisruptionBudget/minAvailable"),
    "a kind of affinity": ({"affinity": {"podAntiAfinity": {}}}, "propertyName 'podAntiAfinity'"),
    "an object without a name": (
        {"extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}]},
        "/extraObjects/0/metadata",
    ),
    "a public path without a slash": ({"extraPublicPaths": ["docs"]}, "/extraPublicPaths/0"),
    "an address for listening": ({"listenAddress": "127.0.0.1"}, "/listenAddress"),
    "decisions in a file": ({"settings": {"decision_store": "sqlite:////var/d"}}, "/settings/decision_store"),
    "a label that the chart sets": (
        {"podLabels": {"app.kubernetes.io/name": "x"}},
        "propertyName 'app.kubernetes.io/name'",
    ),
    "a port of the node": (
        {"extraContainers": [{"name": "x", "image": "x", "ports": [{"containerPort": 1, "hostPort": 1}]}]},
        "'hostPort' not allowed",
    ),
    "a label that is none": ({"podLabels": {"my team": "x"}}, "propertyName 'my team'"),
    "a tag in the repository": ({"image": {"repository": "registry.example/verifier:1"}}, "/image/repository"),
    "a registry as a URL": ({"global": {"imageRegistry": "https://registry.example"}}, "/global/imageRegistry"),
    "no network policy by null": ({"networkPolicy": {"enabled": None}}, "missing property 'enabled'"),
    "no seccomp profile by null": (
        {"podSecurityContext": {"seccompProfile": None}},
        "missing property 'seccompProfile'",
    ),
    "no time to stop": ({"settings": {"graceful_stop_seconds": None}}, "/settings"),
}


@pytest.mark.parametrize(("values", "said"), WRONG.values(), ids=WRONG)
def test_refuses(values: Values, said: str) -> None:
    with pytest.raises(HelmValuesError, match=said):
        manifests(merged(scenarios()["default"], values))


TOGETHER: dict[str, tuple[Values, str]] = {
    "no image": ({"image": {"repository": ""}}, "image.repository: name the image"),
    "a release that is not enabled": ({"enabled": False}, "enabled: false is for the condition"),
    "no store": ({"redis": {"urlSecret": {"name": ""}}}, "redis.host: name a Redis"),
    "two stores": ({"valkey": {"enabled": True}}, "valkey.enabled: it replaces"),
    "a host beside a URL": ({"redis": {"host": "redis.example"}}, "redis.host: redis.urlSecret.name is set too"),
    "a password beside a URL": (
        {"redis": {"passwordSecret": {"name": "x"}}},
        "redis.passwordSecret.name: it needs redis.host",
    ),
    "TLS beside a URL": ({"redis": {"tls": {"enabled": True}}}, "redis.tls.enabled: it needs redis.host"),
    "files of TLS without TLS": (
        {"redis": {"host": "redis.example", "urlSecret": {"name": ""}, "tls": {"secretName": "x"}}},
        "redis.tls.enabled: set it to true",
    ),
    "a certificate without its key": (
        {"redis": {"tls": {"secretName": "x", "certificateKey": "tls.crt"}}},
        "redis.tls.certificateKey: a certificate and its key",
    ),
    "a certificate of nowhere": (
        {"redis": {"tls": {"certificateKey": "tls.crt", "privateKeyKey": "tls.key"}}},
        "redis.tls.secretName: name the Secret",
    ),
    "files that are not used": ({"redis": {"tls": {"secretName": "x", "caKey": ""}}}, "redis.tls.caKey: name a key"),
    "two files of settings": ({"settingsSecret": {"name": "x"}}, "settingsSecret.name: the Secret has the whole"),
    "keys without an issuer": ({"tokenKeys": {"secretName": "x"}}, "settings.token_issuer: needed"),
    "a PIN without a library": ({"tokenKeys": {"pinKey": "pin"}}, "tokenKeys.pinKey: needs"),
    "required decisions that are not kept": (
        {"settings": {"audit_required": True, "decision_store": "none"}},
        "settings.audit_required: ",
    ),
    "Sentinels of a host": (
        {"redis": {"host": "redis.example", "urlSecret": {"name": ""}, "sentinel": {"username": "x"}}},
        "redis.sentinel.username: Sentinels need redis.urlSecret.name",
    ),
    "no DNS": ({"dnsPolicy": "None"}, "dnsPolicy: None needs dnsConfig.nameservers"),
    "decisions of a URL beside a host": (
        {"redis": {"host": "redis.example", "urlSecret": {"name": "", "decisionsKey": "x"}}},
        "redis.urlSecret.decisionsKey: it needs redis.urlSecret.name",
    ),
    "a decision store that is not used": (
        {"settings": {"decision_store": "none"}, "redis": {"urlSecret": {"decisionsKey": "decisions-url"}}},
        "redis.urlSecret.decisionsKey: ",
    ),
    "an ingress without TLS": ({"ingress": {"enabled": True, "hosts": ["a.example"]}}, "ingress.tlsSecretName"),
    "an ingress without a name": ({"ingress": {"enabled": True, "tlsSecretName": "a"}}, "ingress.hosts"),
    "a certificate that has no effect": (
        {"ingress": {"tlsFrom": "elsewhere", "tlsSecretName": "a"}},
        "ingress.tlsFrom: it is elsewhere",
    ),
    "paths without a route": ({"extraPublicPaths": ["/docs"]}, "extraPublicPaths: they are for an Ingress"),
    "a port of nodes inside the cluster": ({"service": {"nodePort": 30080}}, "service.type: service.nodePort"),
    "a load balancer's class without one": (
        {"service": {"type": "NodePort", "loadBalancerClass": "x"}},
        "service.type: service.loadBalancerClass",
    ),
    "a rollout that cannot proceed": (
        {"strategy": {"rollingUpdate": {"maxUnavailable": "0%", "maxSurge": 0}}},
        "strategy.rollingUpdate: maxUnavailable and maxSurge are both 0",
    ),
    "a seccomp profile without its path": (
        {"podSecurityContext": {"seccompProfile": {"type": "Localhost"}}},
        "podSecurityContext.seccompProfile.type: Localhost needs",
    ),
    "a route without a gateway": ({"httpRoute": {"enabled": True}}, "httpRoute.parentRefs is needed"),
    "an ingress without the number of proxies": (
        {"ingress": {"enabled": True, "hosts": ["a.example"], "tlsSecretName": "a"}},
        "settings.trusted_proxies: an Ingress or an HTTPRoute is enabled",
    ),
    "a route without the number of proxies": (
        {"httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}]}},
        "settings.trusted_proxies: an Ingress or an HTTPRoute is enabled",
    ),
    "fewest beyond most": ({"autoscaling": {"minReplicas": 9}}, "autoscaling.minReplicas: more than"),
    "a tenant of no policy": (
        {"tenants": {"contoso": {"policy": "gold"}}},
        "tenants.contoso.policy: there is no policy gold",
    ),
    "trust in nothing": ({"trust": {"mode": "replace"}}, "trust.mode: without trust.certificates"),
    "two certificates of one name": (
        {"trust": {"certificates": scenarios()["full"]["trust"]["certificates"] * 2}},
        "trust.certificates: two of them",
    ),
    "a budget without a bound": (
        {"podDisruptionBudget": {"maxUnavailable": None}},
        "podDisruptionBudget: set minAvailable or maxUnavailable",
    ),
    "a share of no request": (
        {"autoscaling": {"enabled": True}, "resources": {"requests": {"cpu": None}, "limits": {"cpu": None}}},
        "autoscaling.enabled: it needs resources.requests.cpu",
    ),
    "IPv6 without its address": ({"service": {"ipFamilies": ["IPv6"]}}, "listenAddress: service.ipFamilies has IPv6"),
    "a volume of the chart": ({"extraVolumes": [{"name": "tmp", "emptyDir": {}}]}, "extraVolumes: the chart has"),
    "a second verifier": ({"extraContainers": [{"name": "verifier", "image": "x"}]}, "extraContainers: verifier is"),
    "a probe of another host": (
        {"extraContainers": [{"name": "x", "image": "x", "livenessProbe": {"tcpSocket": {"host": "a", "port": 1}}}]},
        "extraContainers: a probe or hook of x has a host",
    ),
    "a test without a key": ({"emulator": {"enabled": True}}, "test.apiKeySecret.name: "),
}


@pytest.mark.parametrize(("values", "said"), TOGETHER.values(), ids=TOGETHER)
def test_refuses_what_does_not_go_together(values: Values, said: str) -> None:
    with pytest.raises(HelmRenderError, match=said):
        manifests(merged(scenarios()["default"], values))


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/", "/v1/trust", "/v1/trust/", "/metrics", "//", "/v1/nonces/../trust"]
)
def test_refuses_to_expose_what_is_for_administrators(path: str) -> None:
    values = merged(scenarios()["full"], {"extraPublicPaths": [path]})
    with pytest.raises(HelmRenderError, match=r"extraPublicPaths: /.* (would expose|has an empty part)"):
        manifests(values)


def test_refuses_a_service_that_anybody_may_use_unless_that_is_said() -> None:
    values = copy.deepcopy(scenarios()["default"])
    del values["tenants"]
    with pytest.raises(HelmRenderError, match="tenants: name the callers"):
        manifests(values)
    manifests(merged(values, {"settings": {"allow_open_listening": True}}))


def test_refuses_a_release_that_says_nothing() -> None:
    with pytest.raises(HelmRenderError, match=r"redis\.host: |image\.repository: "):
        manifests({})


#: Values for more than a first try.
BEYOND_A_TRY: dict[str, Values] = {
    "ingress.enabled": {"ingress": {"enabled": True, "hosts": ["a.example"], "tlsSecretName": "a"}},
    "httpRoute.enabled": {"httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}]}},
    "service.type": {"service": {"type": "LoadBalancer"}},
    "networkPolicy.enabled": {"networkPolicy": {"enabled": False}},
    "networkPolicy.fromNamespaces": {"networkPolicy": {"fromNamespaces": ["shop"]}},
    "networkPolicy.fromCidrs": {"networkPolicy": {"fromCidrs": ["10.0.0.0/8"]}},
    "tenants": {"tenants": {"contoso": {"keys": [HASH]}}},
    "adminKeys": {"adminKeys": {"ann": HASH}},
    "settingsSecret.name": {"settingsSecret": {"name": "settings"}},
    "settings.token_issuer": {"settings": {"token_issuer": "https://verifier.example"}},
    "tokenKeys.secretName": {"tokenKeys": {"secretName": "keys"}},
    "trust.certificates": {"trust": {"certificates": scenarios()["full"]["trust"]["certificates"]}},
    "trustFeed.url": {"trustFeed": {"url": "https://feed.example/trust", "configMapName": "feed"}},
    "redis.host": {"redis": {"host": "redis.example"}},
    "redis.urlSecret.name": {"redis": {"urlSecret": {"name": "redis-url"}}},
}


@pytest.mark.parametrize("name", BEYOND_A_TRY)
def test_a_first_try_is_refused_with_what_is_for_production(name: str) -> None:
    values = merged(scenarios()["try"], {"settings": {"trusted_proxies": 1}}, BEYOND_A_TRY[name])
    with pytest.raises(HelmRenderError, match=rf"try: a first try trusts an emulator .* refuses it with {name};"):
        manifests(values)
