# Runs inside the booted system: what a local user may try on the service, and what systemd does for it. Sourced by bash as root;
# $OUT receives what the tests read, $PREFIX is the virtual environment, $BASE its Python.
set -e
trap '[ $? = 0 ] || { journalctl -u sentinel -u llama -n 60 --no-pager -o short-precise >&2; systemctl status sentinel --no-pager >&2; }' EXIT
SOCK=/run/sentinel/sentinel.sock

ask() { curl -sS --max-time 5 --unix-socket $SOCK "http://localhost$1"; }
fired() { journalctl -q -o cat SENTINEL_ENTITY="$1" SENTINEL_STATE=firing SENTINEL_SEVERITY=critical | grep -q .; }
state_is() { ask /v1/status | grep -q "\"name\": \"llama.service\"[^}]*\"state\": \"$1\""; }

# The service's user may go where they are.
for place in $PREFIX $BASE; do
    while [ "$place" != / ]; do
        place=$(dirname "$place")
        chmod a+x "$place" 2>/dev/null || true
    done
done
useradd --system llama
useradd --system stranger
cp sentinel.sysusers.conf /usr/lib/sysusers.d/sentinel.conf
systemd-sysusers /usr/lib/sysusers.d/sentinel.conf
sed "s,@PREFIX@,$PREFIX," sentinel.service >/etc/systemd/system/sentinel.service
mkdir -p /etc/systemd/system/sentinel.service.d /etc/sentinel /opt/llama
cat >/etc/systemd/system/sentinel.service.d/lab.conf <<END
[Service]
ExecStart=
ExecStart=$PREFIX/bin/python $PWD/busy_inside.py
WatchdogSec=4
RestartSec=0.2
END
touch /var/log/mine.log
cat >/etc/sentinel/sentinel.toml <<END
[[server]]
name = "mine"
log = "/var/log/mine.log"
END
cp "$(readlink -f /bin/sh)" /opt/llama/llama-server
cat >/etc/systemd/system/llama.service <<END
[Service]
User=llama
ExecStart=/opt/llama/llama-server $PWD/server_inside.sh llama-server --port 8099
END
cat >server_inside.sh <<END
trap '/usr/bin/python3 $PWD/forge_inside.py \$\$ server' USR1
trap 'echo "0.05.000.000 I srv  handle_sleep: server is entering sleeping state"' USR2
echo "0.00.100.000 I srv  llama_server: loading model"
echo "0.01.000.000 I srv  llama_server: server is listening on http://127.0.0.1:8099"
while :; do sleep 0.2; done
END
# A memory daemon's unit runs, so that its messages are read.
systemd-run -q --unit=earlyoom sleep infinity
systemctl daemon-reload
systemctl start llama sentinel
until_true ask /v1/alerts
until_true state_is ready
SERVER=$(systemctl show -P MainPID llama)

# --- forged entries ---
systemctl kill --kill-whom=main --signal=USR1 llama
systemd-run -q --wait --uid=stranger /usr/bin/python3 $PWD/forge_inside.py "$SERVER" stranger
until_true sh -c 'journalctl -q -o cat FORGED_BY=server | grep -q "dumped core"'
journalctl --sync
journalctl -q -o json FORGED_BY=stranger + FORGED_BY=server >$OUT/forged.json
# Printed after them: when this is known, they have been read.
systemctl kill --kill-whom=main --signal=USR2 llama
until_true state_is sleeping
sleep 2
ask /v1/history >$OUT/history.json
ask /v1/status >$OUT/status.json

# --- the watchdog ---
cat >>/var/log/mine.log <<END
0.00.215.813 E gguf_init_from_file: failed to open GGUF file '/none.gguf' (No such file or directory)
0.00.216.131 E srv    load_model: failed to load model, '/none.gguf'
0.00.216.539 E srv  llama_server: exiting due to model loading error
END
until_true fired server:mine
ask /v1/alerts >$OUT/before.json
systemctl kill --kill-whom=main --signal=USR1 sentinel
until_true sh -c '[ "$(systemctl show -P NRestarts sentinel)" = 1 ] && systemctl is-active -q sentinel'
until_true ask /v1/alerts
ask /v1/alerts >$OUT/after.json
journalctl --sync
journalctl -q -o cat -u sentinel >$OUT/service.txt
journalctl -q -o json SENTINEL_ENTITY=server:mine >$OUT/mine.json

# --- two daemons on one state folder ---
cat >second.toml <<END
state_dir = "/var/lib/sentinel"
socket = "/run/second/sentinel.sock"
END
set +e
timeout 20 $PREFIX/bin/sentinel run --config second.toml >$OUT/second.txt 2>&1
echo $? >$OUT/second.code
set -e
ask /v1/alerts >$OUT/still.json

# --- a true end, for contrast ---
systemctl kill --kill-whom=main --signal=ABRT llama
until_true fired server:llama.service
journalctl -q -o json SENTINEL_ENTITY=server:llama.service >$OUT/true.json

# --- the runtime folder in a stranger's hands ---
systemctl stop sentinel
mkdir -p /run/shared
chmod 1777 /run/shared
cat >impostor.py <<END
import fcntl, socket, time
held = open("/run/shared/sentinel.sock.lock", "w")
fcntl.flock(held, fcntl.LOCK_EX)
with socket.socket(socket.AF_UNIX) as impostor:
    impostor.bind("/run/shared/sentinel.sock")
    impostor.listen()
    time.sleep(600)
END
systemd-run -q --unit=impostor --uid=stranger /usr/bin/python3 $PWD/impostor.py
until_true test -S /run/shared/sentinel.sock
sed -i '1i socket = "/run/shared/sentinel.sock"' /etc/sentinel/sentinel.toml
systemctl start sentinel
systemctl is-active sentinel >$OUT/hijacked.state
cat >>/var/log/mine.log <<END
0.00.212.903 I cmn  common_param: common_params_print_info: verbosity = 3 (adjust with the \`-lv N\` CLI arg)
0.00.374.713 I srv  llama_server: listening on http://127.0.0.1:8098
END
until_true sh -c 'journalctl -q -o cat SENTINEL_ENTITY=server:mine SENTINEL_STATE=resolved | grep -q .'
journalctl --sync
journalctl -q -o cat -u sentinel >$OUT/hijacked.txt
stat -c '%U' /run/shared/sentinel.sock >$OUT/hijacked.owner
# The unit's own folder: systemd gives it back to the service.
systemctl stop sentinel
sed -i 1d /etc/sentinel/sentinel.toml
chown stranger /run/sentinel
systemctl start sentinel
until_true ask /v1/alerts
stat -c '%U' /run/sentinel $SOCK >$OUT/given_back
