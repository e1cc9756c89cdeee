# Runs inside the booted system: a user's own daemon, a unit of the user's systemd that fails at each start, and the shipped unit that
# restarts it. Sourced by bash as root; $OUT receives what the tests read, $PREFIX is the virtual environment, $BASE its Python.
set -e
trap '[ $? = 0 ] || journalctl _UID=$(id -u joe) -n 80 --no-pager -o short-precise >&2' EXIT

cat >said.py <<'END'
import json, sys
found = [t for t in json.load(sys.stdin)["transitions"] if (t["rule"], t["reason"]) == ("fault-1", sys.argv[1])]
sys.exit(len(found) != int(sys.argv[2]))
END

# The user may go where they are.
for place in $PREFIX $BASE $PWD; do
    while [ "$place" != / ]; do
        place=$(dirname "$place")
        chmod a+x "$place" 2>/dev/null || true
    done
done
useradd --create-home joe
HOME_OF=/home/joe
RUN=/run/user/$(id -u joe)
joe() { runuser -u joe -- env HOME=$HOME_OF XDG_RUNTIME_DIR="$RUN" "$@"; }
# So many transitions of the alert have this reason.
said() { joe curl -sS --max-time 5 --unix-socket "$RUN/sentinel/sentinel.sock" http://localhost/v1/history | /usr/bin/python3 said.py "$@"; }
# A journal in memory has no part that its user may read.
mkdir -p /var/log/journal /opt/llama
journalctl --flush
UNITS=$HOME_OF/.config/systemd/user
mkdir -p $UNITS $HOME_OF/.config/sentinel
for unit in sentinel sentinel-cure; do
    sed "s,%h/.local/bin/sentinel,$PREFIX/bin/python -m sentinel," $unit.service >$UNITS/$unit.service
done
printf 'rules = ["%s/own-rules"]\n' "$PWD" >$HOME_OF/.config/sentinel/sentinel.toml
printf '[[action]]\nrestart = "llama.service"\nrules = ["fault-1"]\nper_hour = 1\n' >$HOME_OF/.config/sentinel/cure.toml
cp "$(readlink -f /bin/sh)" /opt/llama/llama-server
cat >$UNITS/llama.service <<END
[Service]
ExecStart=/opt/llama/llama-server $PWD/server_inside.sh llama-server --port 8099
END
# It goes wrong half a second after each start.
cat >server_inside.sh <<END
echo start >>$HOME_OF/starts
echo "0.00.100.000 I srv  llama_server: loading model"
echo "0.01.000.000 I srv  llama_server: server is listening on http://127.0.0.1:8099"
sleep 0.5
# By the shell itself: of a process that has ended meanwhile the journal does not know the user's unit.
printf '%s\n' "\$(cat $PWD/sleeps)"
while :; do sleep 0.2; done
END
chown -R joe: $HOME_OF
systemctl start dbus "user@$(id -u joe).service"

joe systemctl --user start sentinel llama
until_true said condition-met 1
joe systemctl --user start sentinel-cure
until_true said restart 1
# The restarted one fails again: the limit is found.
until_true said restart-limit 1
wc -l <$HOME_OF/starts >"$OUT/starts"
grep -E '^(Uid|NoNewPrivs|VmRSS):' "/proc/$(joe systemctl --user show -P MainPID sentinel-cure)/status" >"$OUT/process"
id -u joe >"$OUT/uid"
joe curl -sS --unix-socket "$RUN/sentinel/sentinel.sock" http://localhost/v1/history >"$OUT/history"
joe systemctl --user stop sentinel-cure llama sentinel
