"""What Kubernetes is given."""

from tests.helm.chart import FIRST_DEPLOYMENT, only, render


def test_a_first_deployment_needs_three_values() -> None:
    """Brokers, an app, and where its secret is; all else has a default."""
    manifests = render(sets=FIRST_DEPLOYMENT)
    container = only(manifests, "StatefulSet")["spec"]["template"]["spec"]["containers"][0]
    assert ["run", "--config", "/etc/giftcheck/giftcheck.yaml"] == container["args"]
