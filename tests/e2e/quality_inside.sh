# Runs inside the booted system: the daily check of answers under the shipped unit. Sourced by bash as root; $OUT receives what the
# tests read, $PREFIX is the virtual environment, $BASE its Python, $PORT a free port.
set -e
trap '[ $? = 0 ] || { journalctl -u sentinel -u llama -n 60 --no-pager -o short-precise; sentinel_says | grep quality_; } >&2' EXIT

# Its exit code says that there are alerts.
sentinel_says() { $PREFIX/bin/sentinel status --json || true; }
# The machine may have other work.
PATIENCE=240
verdict_is() { sentinel_says | grep -q "\"quality_verdict\": \"$1\""; }
fired() { journalctl -q -o cat SENTINEL_RULE="$1" SENTINEL_STATE=firing | grep -q .; }
child() { pgrep -u sentinel -f quality.daily.errand; }
# What the child may do, as the kernel says it: of the one that asks, after it has shed its rights.
look_at_child() {
    pid=$(child | head -n 1)
    grep -q '^CapAmb:\s*0*$' "/proc/$pid/status" || return 1
    grep -E '^(Uid|CapEff|CapAmb|Seccomp|NoNewPrivs|VmHWM):' "/proc/$pid/status" >"$OUT/child" && grep -q VmHWM "$OUT/child"
    cat "/proc/$pid/cgroup" >"$OUT/child.cgroup"
}

# The service's user may go where they are.
for place in $PREFIX $BASE; do
    while [ "$place" != / ]; do
        place=$(dirname "$place")
        chmod a+x "$place" 2>/dev/null || true
    done
done
useradd --system llama
cp sentinel.sysusers.conf /usr/lib/sysusers.d/sentinel.conf
systemd-sysusers /usr/lib/sysusers.d/sentinel.conf
sed "s,@PREFIX@,$PREFIX," sentinel.service >/etc/systemd/system/sentinel.service
mkdir -p /etc/systemd/system/sentinel.service.d /etc/sentinel
# A quarter of the short prefixes; nothing of the sandbox is changed.
printf '[Service]\nEnvironment=PYTHONPATH=%s\n' "$PWD/fewer" >/etc/systemd/system/sentinel.service.d/lab.conf
cat >/etc/sentinel/sentinel.toml <<END
[quality]
idle = "5s"
tokens_a_day = 200000
[[quality.server]]
name = "llama.service"
check = true
END
cat >/etc/systemd/system/llama.service <<END
[Service]
User=llama
Environment=LD_LIBRARY_PATH=/opt/llama
ExecStart=/opt/llama/llama-server -m /opt/models/m.gguf -c 2048 -np 1 -t 1 -ngl 0 -fit off --no-warmup --port $PORT
END
chmod -R a+rX /opt/llama /opt/models /opt/lab
systemctl daemon-reload
# The daemon comes after the server each time: where both started together, it was seen to take the server for a router for good (as it
# does where a command line is empty, which it is for a moment while a program is put in place). That is not what is tried here.
answers() { curl -sSf --max-time 5 "http://127.0.0.1:$PORT/health"; }
systemctl start llama
until_true answers
systemctl start sentinel

until_true look_at_child
until_true verdict_is learned
sentinel_says >"$OUT/learned.json"

cp /opt/models/other.gguf /opt/models/m.new
mv /opt/models/m.new /opt/models/m.gguf
systemctl stop sentinel
systemctl restart llama
until_true answers
systemctl start sentinel
until_true fired quality-shift
journalctl -q -o json SENTINEL_RULE=quality-shift SENTINEL_STATE=firing >"$OUT/shift.json"
sentinel_says >"$OUT/shifted.json"
journalctl -q -o cat -u sentinel -p warning >"$OUT/said"
cp /var/lib/sentinel/quality/daily/*.reference.json "$OUT/reference.json"
systemctl show -P NRestarts sentinel >"$OUT/restarts"
