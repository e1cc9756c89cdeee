"""The recipe of docs/service.md for the alerts of several machines in one journal, with systemd's own programs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from boot import INSIDE, boot
from sample_transitions import FIRING

REPO = Path(__file__).resolve().parents[2]
#: as docs/service.md has them: where the machines send to, and without TLS
UPLOAD = "[Upload]\nURL=http://127.0.0.1:19532\n"
REMOTE = """\
[Service]
ExecStart=
ExecStart=/lib/systemd/systemd-journal-remote --listen-http=-3 --output=/var/log/journal/remote/
"""

pytestmark = [pytest.mark.booted, pytest.mark.root, pytest.mark.long]


def test_an_alert_is_in_the_journal_of_the_collecting_machine_with_all_fields(tmp_path: Path) -> None:
    if not Path("/lib/systemd/systemd-journal-upload").exists():
        pytest.skip("needs systemd-journal-upload (Debian: systemd-journal-remote)")
    files = tmp_path / "files"
    lab = files / INSIDE.relative_to("/")
    lab.mkdir(parents=True)
    shutil.copytree(REPO / "sentinel", lab / "sentinel", ignore=shutil.ignore_patterns("__pycache__"))
    for source in ("tests/support/sample_transitions.py", "tests/e2e/journal_inside.py"):
        shutil.copy(REPO / source, lab)
    for path, text in (
        ("etc/systemd/journal-upload.conf", UPLOAD),
        ("etc/systemd/system/systemd-journal-remote.service.d/http.conf", REMOTE),
    ):
        (files / path).parent.mkdir(parents=True, exist_ok=True)
        (files / path).write_text(text, encoding="utf-8")
    script = """
set -e
mkdir -p /var/log/journal/remote
chown systemd-journal-remote: /var/log/journal/remote
systemctl start systemd-journal-remote.socket systemd-journal-upload.service
systemd-run --quiet --unit=llama-server sleep infinity
/usr/bin/python3 journal_inside.py send $OUT
journalctl --sync
for _ in $(seq 300); do
    journalctl -q -D /var/log/journal/remote -o json --all SENTINEL_RULE=cpu-fallback > $OUT/there 2>/dev/null || true
    [ -s $OUT/there ] && exit 0
    sleep 0.1
done
systemctl status --no-pager systemd-journal-upload systemd-journal-remote >&2
exit 1
"""
    outcome = boot(tmp_path / "work", script, files)
    assert outcome.code == 0, outcome.stderr + outcome.console
    entry = json.loads(outcome.text("there").splitlines()[0])
    assert (entry["SENTINEL_STATE"], entry["SENTINEL_FINGERPRINT"]) == ("firing", FIRING.fingerprint)
    assert json.loads(entry["SENTINEL_JSON"])["host"] == entry["_HOSTNAME"]


def test_the_recipe_is_the_one_of_the_docs() -> None:
    text = (REPO / "docs/service.md").read_text(encoding="utf-8").replace("    ", "")
    assert UPLOAD.replace("127.0.0.1", "logs.lan") in text
    assert REMOTE in text
