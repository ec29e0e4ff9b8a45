"""What deploy/kubernetes has: valid for every version, and consistent with the program."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from pylxcfs.webhook.cli import build_parser
from pylxcfs.webhook.options import settings_of
from pylxcfs.webhook.settings import DECLINED, DEFAULT_EXCLUDED_NAMESPACES, INJECT_LABEL, Settings
from tests.kubernetes.manifests import DIRECTORY, build, find

_SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
VERSIONS = sorted(
    {match[1] for path in _SCHEMAS.iterdir() if (match := re.fullmatch(r"v(1\.\d+)\.\d+-local", path.name))},
    key=lambda version: int(version.partition(".")[2]),
)
WEBHOOKS = ("webhook", "webhook-cert-manager", "webhook-service-ca")
WHOLE = (".", "openshift", "without-webhook")
#: matchConditions are there since 1.27, and used without a feature gate since 1.28.
_STRICT_SINCE = 27
#: Of cert-manager and OpenShift: custom resources have no schema here.
_CUSTOM = {"Issuer", "Certificate", "SecurityContextConstraints"}
#: The versions that have what not all have.
_VERSIONS_OF = {
    ("v1", "ValidatingAdmissionPolicy"): range(30, 100),
    ("v1", "ValidatingAdmissionPolicyBinding"): range(30, 100),
    ("v1", "MutatingAdmissionPolicy"): range(36, 100),
    ("v1", "MutatingAdmissionPolicyBinding"): range(36, 100),
    ("v1beta1", "MutatingAdmissionPolicy"): range(34, 36),
    ("v1beta1", "MutatingAdmissionPolicyBinding"): range(34, 36),
}


def _minor(version: str) -> int:
    return int(version.partition(".")[2])


def test_versions() -> None:
    """The schemas of all versions that we speak of are there."""
    assert {"1.25", "1.28", "1.34", "1.36", "1.37"} <= set(VERSIONS)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", [*WEBHOOKS, *WHOLE, "daemon", "policy", "policy-v1beta1"])
def test_schemas(name: str, version: str) -> None:
    """Every object of every variant fits the schema, and has no field that the version does not know."""
    for document in build(name):
        kind = (document["apiVersion"].partition("/")[2], document["kind"])
        if document["kind"] in _CUSTOM or _minor(version) not in _VERSIONS_OF.get(kind, range(100)):
            continue
        strict = document["kind"] != "MutatingWebhookConfiguration" or _minor(version) >= _STRICT_SINCE
        kubernetes_validate.validate(document, version, strict=strict)


@pytest.mark.parametrize("directory", sorted(path.parent for path in DIRECTORY.rglob("kustomization.yaml")))
def test_nothing_is_forgotten(directory: Path) -> None:
    """Every file of a directory is used by its kustomization, and every one that is named exists."""
    kustomization = yaml.safe_load((directory / "kustomization.yaml").read_text())
    named = [*kustomization.get("resources", []), *kustomization.get("components", [])]
    named += [patch["path"] for patch in kustomization.get("patches", []) if "path" in patch]
    assert all((directory / name).exists() for name in named)
    files = {path.name for path in directory.glob("*.yaml")} - {"kustomization.yaml"}
    assert files <= set(named)


def _webhooks(name: str = "webhook") -> list[dict[str, Any]]:
    webhooks: list[dict[str, Any]] = find(name, "MutatingWebhookConfiguration")["webhooks"]
    return webhooks


@pytest.mark.parametrize("name", WEBHOOKS)
def test_never_in_the_way(name: str) -> None:
    """No webhook of ours can block a pod, be refused for a dry run, or be slow."""
    for webhook in _webhooks(name):
        assert ("Ignore", "None", "IfNeeded") == tuple(
            webhook[key] for key in ("failurePolicy", "sideEffects", "reinvocationPolicy")
        )
        assert 5 > webhook["timeoutSeconds"]
        assert {"CREATE": ["pods"], "UPDATE": ["pods/ephemeralcontainers"]}[
            webhook["rules"][0]["operations"][0]
        ] == webhook["rules"][0]["resources"]


def test_selectors_and_rules_agree() -> None:
    """The selectors know the same namespaces and labels as the program."""
    for selected in (*_webhooks(), *(o["spec"]["matchResources"] for o in build("policy")[1:])):
        expressions = selected["namespaceSelector"]["matchExpressions"]
        excluded = [set(e["values"]) for e in expressions if e["key"] == "kubernetes.io/metadata.name"]
        assert [set(DEFAULT_EXCLUDED_NAMESPACES)] == excluded
        for expression in selected.get("objectSelector", {}).get("matchExpressions", []):
            if (expression["key"], expression["operator"]) == (INJECT_LABEL, "NotIn"):
                assert set(DECLINED) == set(expression["values"])


@pytest.mark.parametrize("name", WEBHOOKS)
def test_names_fit_together(name: str) -> None:
    """Service, Deployment, budget and policy mean the same pods and ports, the configuration the Service."""
    deployment = find(name, "Deployment")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    selectors = [
        deployment["selector"]["matchLabels"],
        find(name, "Service")["spec"]["selector"],
        find(name, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        find(name, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        *(
            c["labelSelector"]["matchLabels"]
            for c in deployment["template"]["spec"]["topologySpreadConstraints"]
        ),
    ]
    assert all(selector.items() <= labels.items() for selector in selectors)
    (container,) = deployment["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert {"https": 8443, "health": 8080} == ports
    service = find(name, "Service")
    (service_port,) = service["spec"]["ports"]
    assert "https" == service_port["targetPort"]
    for webhook in _webhooks(name):
        reference = webhook["clientConfig"]["service"]
        assert (
            service["metadata"]["name"],
            service["metadata"]["namespace"],
            service_port["port"],
            "/mutate",
        ) == (
            reference["name"],
            reference["namespace"],
            reference["port"],
            reference["path"],
        )
    (rule,) = find(name, "NetworkPolicy")["spec"]["ingress"]
    assert set(ports) == {port["port"] for port in rule["ports"]}
    assert 2 == deployment["replicas"] > find(name, "PodDisruptionBudget")["spec"]["minAvailable"]


@pytest.mark.parametrize("name", WEBHOOKS)
def test_unprivileged(name: str) -> None:
    """The webhook's own pods fit the Pod Security level that their namespace enforces."""
    namespace = find(name, "Namespace")["metadata"]["labels"]
    assert "restricted" == namespace["pod-security.kubernetes.io/enforce"]
    spec = find(name, "Deployment")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert {"type": "RuntimeDefault"} == spec["securityContext"]["seccompProfile"]
    assert ["ALL"] == container["securityContext"]["capabilities"]["drop"]
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    assert {"secret"} >= {key for volume in spec.get("volumes", []) for key in volume if key != "name"}


@pytest.mark.parametrize("name", WEBHOOKS[1:])
def test_given_certificates_need_no_rights(name: str) -> None:
    """Where somebody else makes the certificates, there are no roles and no token."""
    assert not {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "Secret"} & {
        document["kind"] for document in build(name)
    }
    spec = find(name, "Deployment")["spec"]["template"]["spec"]
    assert not spec["automountServiceAccountToken"]
    (volume,) = spec["volumes"]
    made = find(name, "Certificate")["spec"]["secretName"] if name == "webhook-cert-manager" else None
    annotations = find(name, "Service")["metadata"].get("annotations", {})
    made = made or annotations["service.beta.openshift.io/serving-cert-secret-name"]
    assert made == volume["secret"]["secretName"]


def test_command_line() -> None:
    """The program takes the manifests' arguments, and its defaults name the manifests' objects."""
    for name in WEBHOOKS:
        (container,) = find(name, "Deployment")["spec"]["template"]["spec"]["containers"]
        assert ["pylxcfs-webhook"] == container["command"]
        arguments = build_parser().parse_args(container.get("args", []))
        assert Settings() == settings_of(arguments)
        assert arguments.bind.endswith(":8443")
        assert arguments.health_bind.endswith(":8080")
    arguments = build_parser().parse_args([])
    assert find("webhook", "Service")["metadata"]["name"] == arguments.service
    assert find("webhook", "Service")["metadata"]["namespace"] == arguments.namespace
    assert find("webhook", "MutatingWebhookConfiguration")["metadata"]["name"] == arguments.configuration
    assert find("webhook", "Secret", arguments.secret)
    grace = find("webhook", "Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > arguments.drain_seconds + 5
