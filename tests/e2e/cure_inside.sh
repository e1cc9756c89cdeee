# Runs inside the booted system: a unit that fails at each start, and the service that restarts it. Sourced by bash as root;
# $OUT receives what the tests read, $PREFIX is the virtual environment, $BASE its Python.
set -e
trap '[ $? = 0 ] || journalctl -u sentinel -u sentinel-cure -u llama -u polkit -n 60 --no-pager -o short-precise >&2' EXIT
SOCK=/run/sentinel/sentinel.sock

cat >said.py <<'END'
import json, sys
found = [t for t in json.load(sys.stdin)["transitions"] if (t["rule"], t["reason"]) == ("fault-1", sys.argv[1])]
sys.exit(len(found) != int(sys.argv[2]))
END
# So many transitions of the alert have this reason.
said() { curl -sS --max-time 5 --unix-socket $SOCK http://localhost/v1/history | /usr/bin/python3 said.py "$@"; }
starts() { wc -l <"$PWD/starts"; }

# The services' users may go where they are.
for place in $PREFIX $BASE $PWD; do
    while [ "$place" != / ]; do
        place=$(dirname "$place")
        chmod a+x "$place" 2>/dev/null || true
    done
done
cp sentinel.sysusers.conf /usr/lib/sysusers.d/sentinel.conf
systemd-sysusers /usr/lib/sysusers.d/sentinel.conf
mkdir -p /etc/sentinel /opt/llama
for unit in sentinel sentinel-cure; do
    sed "s,@PREFIX@,$PREFIX," $unit.service >/etc/systemd/system/$unit.service
    mkdir -p /etc/systemd/system/$unit.service.d
    # The checkout may be in a home, or in /tmp.
    printf '[Service]\nExecStart=\nExecStart=%s/bin/python -m sentinel %s\nWorkingDirectory=/\nProtectHome=no\nPrivateTmp=no\n' \
        "$PREFIX" "$([ $unit = sentinel ] && echo run || echo cure)" >/etc/systemd/system/$unit.service.d/lab.conf
done
printf 'rules = ["%s/own-rules"]\n' "$PWD" >/etc/sentinel/sentinel.toml
cp "$(readlink -f /bin/sh)" /opt/llama/llama-server
cat >/etc/systemd/system/llama.service <<END
[Service]
ExecStart=/opt/llama/llama-server $PWD/server_inside.sh llama-server --port 8099
END
# It goes wrong half a second after each start.
cat >server_inside.sh <<END
echo start >>$PWD/starts
echo "0.00.100.000 I srv  llama_server: loading model"
echo "0.01.000.000 I srv  llama_server: server is listening on http://127.0.0.1:8099"
sleep 0.5
cat $PWD/sleeps
while :; do sleep 0.2; done
END
systemctl daemon-reload
systemctl start dbus polkit
systemctl start llama sentinel
until_true said condition-met 1

# --- not allowed yet ---
printf '[[action]]\nrestart = "llama.service"\nrules = ["fault-1"]\nper_hour = 1\n' >/etc/sentinel/cure.toml
$PREFIX/bin/python -m sentinel cure --check >"$OUT/check" 2>&1
timeout 8 $PREFIX/bin/python -m sentinel cure --dry-run >"$OUT/dry" 2>&1 || true
starts >"$OUT/starts.dry"
systemctl start sentinel-cure
until_true said restart-failed 1
starts >"$OUT/starts.refused"
systemctl stop sentinel-cure

# --- allowed: restarted once, and not in a circle ---
mkdir -p /etc/polkit-1/rules.d
$PREFIX/bin/python -m sentinel cure --polkit >/etc/polkit-1/rules.d/50-sentinel-cure.rules
as() { runuser -u "$1" -- systemctl --no-ask-password "${@:2}" && echo done; }
as sentinel-cure stop llama.service >"$OUT/stop" 2>&1 || true
as sentinel-cure restart sentinel.service >"$OUT/other" 2>&1 || true
as nobody restart llama.service >"$OUT/nobody" 2>&1 || true
# Its end is seen before it begins again: what another process prints meanwhile may clear the alert first.
systemctl stop llama
until_true said server-gone 1
systemctl start llama
systemctl start sentinel-cure
until_true said restart-limit 1
starts >"$OUT/starts.after"
grep -E '^(Uid|CapEff|NoNewPrivs|VmRSS):' "/proc/$(systemctl show -P MainPID sentinel-cure)/status" >"$OUT/process"
id -u sentinel-cure >"$OUT/uid"
curl -sS --unix-socket $SOCK http://localhost/v1/history >"$OUT/history"
runuser -u sentinel-cure -- curl -sS -X POST --unix-socket $SOCK http://localhost/v1/reload >"$OUT/reload"
systemd-analyze security --no-pager sentinel-cure.service | tail -1 >"$OUT/exposure" || true
systemctl stop sentinel-cure
journalctl --sync
journalctl -q -o cat -u sentinel-cure >"$OUT/journal"
journalctl -q -o cat SENTINEL_RULE=fault-1 >"$OUT/alerts"
