"""What is shipped for Prometheus and Grafana: promtool's own tests of the alerts, and that both name metrics that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from places import REPO

from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.engine.inspect.metrics import DESCRIBED, of_signal

FOLDER = REPO / "prometheus"
#: Of Prometheus and node_exporter, and those that prometheus_client adds of the daemon's process.
OTHERS = {"up", "node_textfile_mtime_seconds", "sentinel_process_cpu_seconds_total", "sentinel_process_resident_memory_bytes"}


def promtool(*words: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool (apt-get install prometheus)")
    return subprocess.run(["promtool", *words], capture_output=True, text=True, timeout=60, check=False, cwd=FOLDER)


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))
    return found


def known() -> set[str]:
    """Every metric of the daemon."""
    signals = {about.name for signal in CATALOGUE.values() if (about := of_signal(signal)) is not None}
    return signals | {f"{one.name}_total" if one.kind == "counter" else one.name for one in DESCRIBED} | OTHERS


def metrics_in(expression: str) -> set[str]:
    """Names with an underscore that are neither labels nor within quotes."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|(?:by|on|unless on) ?\([^)]*\)', "", expression)
    return set(re.findall(r"\b(?:sentinel|node)_\w+|\bup\b", bare))


def test_promtool_accepts_the_alerts_and_their_tests() -> None:
    checked = promtool("check", "rules", "--lint-fatal", "alerts.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = promtool("test", "rules", "alerts.test.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.parametrize(
    ("what", "instead"),
    [
        ('silenced="no"', 'silenced=~".*"'),
        ("\n          unless on (instance) (time()", "\n          or on (instance) (time()"),
        ("        keep_firing_for: 1m\n", ""),
        ("        for: 2m\n", ""),
        ("sentinel_rule_healthy == 0", "sentinel_rule_healthy == 1"),
    ],
)  # fmt: skip
def test_the_tests_of_the_alerts_can_fail(what: str, instead: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("mutant")
    text = (FOLDER / "alerts.yml").read_text(encoding="utf-8")
    assert what in text
    (folder / "alerts.yml").write_text(text.replace(what, instead), encoding="utf-8")
    shutil.copy(FOLDER / "alerts.test.yml", folder)
    assert promtool("test", "rules", str(folder / "alerts.test.yml")).returncode == 1


def test_every_alert_is_tried_by_promtools_tests() -> None:
    alerts = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))
    tests = yaml.safe_load((FOLDER / "alerts.test.yml").read_text(encoding="utf-8"))
    fired = {c["alertname"] for t in tests["tests"] for c in t.get("alert_rule_test", ()) if c["exp_alerts"]}
    # Its own test says that it does not fire: what is information is silenced there.
    assert {rule["alert"] for group in alerts["groups"] for rule in group["rules"]} - fired == {"SentinelInfo"}


def test_alerts_and_dashboard_name_metrics_that_there_are() -> None:
    alerts = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))
    expressions = [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
    expressions += [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())]
    expressions += [one["definition"] for one in dashboard()["templating"]["list"] if "definition" in one]
    named = set().union(*map(metrics_in, expressions))

    assert named - known() == set()
    assert len(named) > 30


def test_the_page_and_the_anchor_of_a_cause_are_there_for_every_rule() -> None:
    """runbook_url ends with docs/rules/RULE.md#CAUSE."""
    alerts = (FOLDER / "alerts.yml").read_text(encoding="utf-8")
    assert "/docs/rules/{{ $labels.rule }}.md#{{ $labels.cause }}" in alerts
    pages = {path.stem: path.read_text(encoding="utf-8") for path in (REPO / "docs/rules").glob("*.md")}
    for rule in (REPO / "rules").glob("*.toml"):
        if rule.stem in pages:
            causes = re.findall(r'(?m)^\[\[cause\]\]\nid = "([^"]+)"', rule.read_text(encoding="utf-8"))
            assert [cause for cause in causes if f"\n### {cause}\n" not in pages[rule.stem]] == [], rule.stem


def test_the_dashboard_has_what_grafana_needs_to_import_it() -> None:
    """No panel twice, none over another, and no data source of the machine that it was made on."""
    board = dashboard()
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"
            assert 'instance=~"$instance"' in target["expr"], panel["title"]
