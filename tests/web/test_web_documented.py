"""What docs/web.md shows is true: the dashboards' fields are in the answer, Prometheus takes its file, the paths are served."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from live import wait_for
from places import REPO
from said_daemon import SaidDaemon
from sample_answers import STATES, alert

from prometheus import prometheus
from sentinel.report.summary import summary

TEXT = (REPO / "docs/web.md").read_text(encoding="utf-8")
SNIPPETS = {text.split(":", 1)[0].strip("- \n"): text for text in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)}


@pytest.mark.parametrize("state", ["empty", "healthy", "three-alerts", "loading", "forty-servers", "gone"])
def test_a_summary_is_flat_and_has_the_same_keys_whatever_is_the_case(state: str) -> None:
    status, fault = ({}, "no daemon at /s; start it") if state == "gone" else (STATES[state], "")
    found = summary(status, fault, "gpu-1")

    assert all(value is None or isinstance(value, str | int | float) for value in found.values())
    documented = set(re.findall(r"`(\w+)`", " ".join(row.split("|")[1] for row in re.findall(r"(?m)^\| `.*$", _table()))))
    assert set(found) | {"api_version"} == documented


def _table() -> str:
    return TEXT[TEXT.index("| key | is |") : TEXT.index("[Homepage]")]


def test_a_summary_says_what_is_wrong_and_what_to_do_first() -> None:
    found = summary(STATES["three-alerts"], "", "gpu-1")

    assert (found["state"], found["servers"], found["alerts"], found["critical"], found["warning"]) == ("critical", 2, 2, 1, 1)
    assert found["silenced"] == 1
    assert found["text"].startswith("gemma-3-27b-it-Q4_K_M :8080 runs on the CPU")
    assert found["text"].endswith(" (and 1 more)")
    assert found["alert"] == "cpu-fallback"
    assert found["command"] == "sudo usermod -aG render,video llama && sudo systemctl restart llama.service"
    assert found["tokens_per_second"] == 42.3
    assert found["gpu_memory_percent"] == 75.0
    assert found["memory_percent"] == 26.8


def test_advice_and_silenced_alerts_leave_a_machine_well() -> None:
    quiet = [alert("routing-noise", "x", severity="info"), alert("cpu-fallback", "y", silenced="3")]
    found = summary({**STATES["healthy"], "alerts": quiet}, "", "gpu-1")
    assert (found["state"], found["text"], found["alerts"], found["silenced"]) == ("ok", "2 servers, no alert", 0, 1)


@pytest.mark.parametrize("state", ["healthy", "three-alerts", "empty", "gone"])
def test_the_examples_for_dashboards_read_what_is_there(state: str) -> None:
    jinja = pytest.importorskip("jinja2", reason="needs jinja2")
    status, fault = ({}, "no daemon") if state == "gone" else (STATES[state], "")
    found = summary(status, fault, "gpu-1")

    homepage = yaml.safe_load(SNIPPETS["Models"])[0]["Models"][0]["gpu-box"]["widget"]
    assert homepage["type"] == "customapi"
    assert [one["field"] for one in homepage["mappings"] if one["field"] not in found] == []
    # Homepage shows the first four, and what is null as 0 or NaN (1.12) where it is not replaced.
    assert len(homepage["mappings"]) <= 4
    for one in homepage["mappings"]:
        assert found[one["field"]] is not None or one["remap"] == [{"value": None, "to": "?"}], one

    (rest,) = yaml.safe_load(SNIPPETS["rest"].replace("!secret ", ""))["rest"]
    for sensor in [*rest["sensor"], *rest["binary_sensor"]]:
        assert set(sensor.get("json_attributes", ())) <= set(found)
        shown = {
            key: jinja.Template(sensor[key]).render(value_json=found)
            for key in ("value_template", "availability")
            if key in sensor
        }
        if shown.get("availability", "True") == "True":
            assert shown["value_template"] not in ("", "None")
        if "unit_of_measurement" in sensor:
            # Home Assistant (2024.3) reads the value before it asks whether there is one; no number is an error.
            float(shown["value_template"])
            # Where nobody answers there is no value_json at all.
            assert jinja.Template(sensor["availability"]).render() == "False"
    (problem,) = rest["binary_sensor"]
    assert jinja.Template(problem["value_template"]).render(value_json=found) == str(state in ("three-alerts", "gone"))


def test_a_real_prometheus_scrapes_over_tls_with_a_password(tmp_path: Path) -> None:
    pytest.importorskip("bcrypt")
    from certificates import certificate, make_authority, serving, tls, users

    make_authority(tmp_path)
    certificate(tmp_path, "server", "DNS:localhost")
    (tmp_path / "password").write_text("lovelace")
    daemon = SaidDaemon(tmp_path / "s", STATES["healthy"])
    daemon.begin()
    site = serving(tmp_path, daemon, tls(tmp_path) + users())
    jobs = SNIPPETS["scrape_configs"]
    for shown, real in (
        ("/etc/prometheus/sentinel.password", str(tmp_path / "password")),
        ("/etc/prometheus/gpu-box.pem", str(tmp_path / "ca.pem")),
        ("gpu-box:8477", f"localhost:{site.port}"),
    ):
        assert shown in jobs
        jobs = jobs.replace(shown, real)
    try:
        with prometheus(tmp_path, daemon.socket, jobs=jobs) as one:
            wait_for(lambda: one.ask("sentinel_alerts == 1"), lambda: f"its figures are there; {one.ask('up')}", 30)
            assert [series["value"][1] for series in one.ask("up{job='sentinel'}")] == ["1"]
    finally:
        assert site.end() == 0
        daemon.close()
