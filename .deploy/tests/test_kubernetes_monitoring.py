"""Alerts and dashboard use metrics that the gateway has; promtool, where it is installed, runs the alerts."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from kube_kit import Object, objects, of_kind

from lab_engine.settings import ROOT
from tensor_rest.observability import metrics

SUFFIXES = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("_total",), "gauge": ("",)}
ADDED = {"le", "pod"}  # by the library, and by Prometheus' own discovery
UNIT_TESTS = ROOT / ".deploy" / "kubernetes" / "components" / "monitoring" / "test_alerts.yaml"


@pytest.fixture(scope="module")
def found() -> list[Object]:
    return objects("eks", ("monitoring",))


def rules(found: list[Object]) -> list[dict[str, Any]]:
    groups = of_kind(found, "PrometheusRule")["tensor-lab"]["spec"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard(found: list[Object]) -> Any:
    return json.loads(of_kind(found, "ConfigMap")["tensor-lab-dashboard"]["data"]["dashboard.json"])


def declared() -> dict[str, set[str]]:
    """The labels of every series the gateway has."""
    families = [(each, family) for each in metrics.METRICS for family in each.describe()]
    return {
        f"{family.name}{suffix}": set(each._labelnames) | ADDED
        for each, family in families
        for suffix in SUFFIXES[family.type]
    }


def test_every_metric_and_label_that_is_used_exists(found: list[Object]) -> None:
    panels = dashboard(found)["panels"]
    expressions = [rule["expr"] for rule in rules(found)] + [each["expr"] for one in panels for each in one["targets"]]
    expressions.append(
        re.sub(r"label_values\((\w+), (\w+)\)", r"\1{\2=}", dashboard(found)["templating"]["list"][1]["query"])
    )
    series = declared()
    for expression in expressions:
        names = set(re.findall(r"\b(tensor_\w+)", expression))
        assert names <= set(series)
        assert names or "up{" in expression
        labels = set(re.findall(r"(\w+)=", re.sub(r"up{[^}]*}", "", expression)))
        labels |= {word for group in re.findall(r"by \(([^)]*)\)", expression) for word in group.split(", ")}
        assert all(labels <= series[name] for name in names), expression


def test_everything_that_is_measured_is_on_the_dashboard(found: list[Object]) -> None:
    text = json.dumps(dashboard(found))
    assert not [family.name for each in metrics.METRICS for family in each.describe() if family.name not in text]


def test_dashboard_panels_have_their_own_places(found: list[Object]) -> None:
    panels = dashboard(found)["panels"]
    places = {(each["gridPos"]["x"], each["gridPos"]["y"]) for each in panels}
    assert len({each["id"] for each in panels}) == len(places) == len(panels)
    assert of_kind(found, "ConfigMap")["tensor-lab-dashboard"]["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_the_scraper_finds_the_gateways_port(found: list[Object]) -> None:
    (endpoint,) = of_kind(found, "ServiceMonitor")["tensor-rest"]["spec"]["endpoints"]
    service = of_kind(found, "Service")["tensor-rest"]
    wanted = of_kind(found, "ServiceMonitor")["tensor-rest"]["spec"]["selector"]["matchLabels"]
    assert wanted.items() <= service["metadata"]["labels"].items()
    assert endpoint["port"] in [each["name"] for each in service["spec"]["ports"]]
    assert endpoint["path"] == "/metrics"
    assert "authorization" not in endpoint


def test_the_scraper_sends_a_key_where_one_is_required() -> None:
    monitor = of_kind(objects("eks", ("monitoring", "production")), "ServiceMonitor")["tensor-rest"]
    credentials = monitor["spec"]["endpoints"][0]["authorization"]["credentials"]
    assert credentials == {"name": "tensor-rest-metrics", "key": "api-key"}


def test_each_alert_has_a_case(found: list[Object]) -> None:
    cases = yaml.safe_load(UNIT_TESTS.read_text())["tests"]
    fired = {each["alertname"] for case in cases for each in case["alert_rule_test"] if each.get("exp_alerts")}
    quiet = {each["alertname"] for case in cases for each in case["alert_rule_test"] if not each.get("exp_alerts")}
    assert fired == quiet == {rule["alert"] for rule in rules(found)}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_alerts_fire_when_they_should(found: list[Object], tmp_path: Path) -> None:
    spec = of_kind(found, "PrometheusRule")["tensor-lab"]["spec"]
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(spec))
    shutil.copy(UNIT_TESTS, tmp_path)
    command = ["promtool", "test", "rules", "test_alerts.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
