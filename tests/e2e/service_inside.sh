# Runs inside the booted system: the package's whole life, and what each kind of person does with it. Sourced by bash as root;
# $OUT receives what the tests read, $LAB holds the packages.
set -e
trap '[ $? = 0 ] || journalctl -u sentinel -u sentinel-web -u llama -n 60 --no-pager -o short-precise >&2' EXIT
LAB=/opt/lab
SOCK=/run/sentinel/sentinel.sock

fired() { journalctl -q -o cat SENTINEL_RULE="$1" SENTINEL_STATE=firing "${@:2}" | grep -q .; }
ask() { curl -sS --unix-socket $SOCK "http://localhost$1"; }
step() { echo "$(date +%s.%N) $*" >>"$OUT/steps"; }

systemctl restart systemd-journald
useradd --system llama
# Machines that are images forbid packages to start anything.
rm -f /usr/sbin/policy-rc.d

step install
dpkg --force-unsafe-io -i $LAB/old.deb >"$OUT/dpkg.txt" 2>&1 || { cat "$OUT/dpkg.txt"; journalctl -u sentinel --no-pager; exit 1; }
systemctl show -P ActiveState,NRestarts,StatusText sentinel.service >"$OUT/started"
systemctl is-enabled sentinel.service sentinel.socket >"$OUT/enabled"
systemctl is-active sentinel.service sentinel.socket >>"$OUT/enabled"
stat -c '%a %U %G' $SOCK /run/sentinel /var/lib/sentinel >"$OUT/modes"
id -Gn sentinel >"$OUT/groups"
id -u sentinel >"$OUT/uid"
systemd-analyze verify sentinel.service sentinel.socket sentinel-notify.service sentinel-web.service /usr/lib/systemd/user/sentinel.service >"$OUT/verify" 2>&1 || true

step failure
systemctl start llama
until_true fired cpu-fallback
journalctl --sync
journalctl -q -o json --all SENTINEL_RULE=cpu-fallback >"$OUT/alerts.json"
ask /v1/status >"$OUT/status.json"
ask /v1/alerts >"$OUT/open.json"
set +e
sentinel status >"$OUT/status.txt" 2>&1
echo $? >"$OUT/status.code"
sentinel alerts --json >"$OUT/cli.json" 2>&1
sentinel alerts >"$OUT/cli.txt" 2>&1
set -e
until_true sh -c "systemctl show -P StatusText sentinel | grep -q cpu-fallback"
systemctl show -P StatusText sentinel >"$OUT/headline"

step notify
systemctl is-enabled sentinel-notify.service >"$OUT/notify.before" || true
systemctl start sentinel-notify.service
systemctl is-active sentinel-notify.service >>"$OUT/notify.before" || true
umask 077
mkdir -p /etc/sentinel/notify.secrets /etc/systemd/system/sentinel-notify.service.d
printf '[[channel]]\nname = "ops"\ntype = "webhook"\nurl = "http://127.0.0.1:9199/{secret:token}"\ngroup_wait = "0s"\n' >/etc/sentinel/notify.toml
echo s3cr3t-t0ken-77 >/etc/sentinel/notify.secrets/token
printf '[Service]\nLoadCredential=token:/etc/sentinel/notify.secrets/token\n' >/etc/systemd/system/sentinel-notify.service.d/secrets.conf
umask 022
systemctl daemon-reload
sentinel notify --check >"$OUT/notify.check" 2>&1 || true
python3 $LAB/notify_inside.py "$OUT/notified" &
sink=$!
systemctl start sentinel-notify.service
until_true grep -q cpu-fallback "$OUT/notified"
until_true sh -c "sentinel notify --status | grep -q '1 message delivered'"
sentinel notify --status >"$OUT/notify.status" 2>&1 || true
pid=$(systemctl show -P MainPID sentinel-notify.service)
grep -E '^(Uid|Groups|CapEff|Seccomp|NoNewPrivs|VmRSS):' "/proc/$pid/status" >"$OUT/notify.process"
getent group sentinel | cut -d: -f3 >"$OUT/notify.group"
systemctl restart sentinel-notify.service
systemctl stop sentinel-notify.service
kill $sink
journalctl -q -o cat -u sentinel-notify.service >"$OUT/notify.journal"
rm -r /etc/sentinel/notify.toml /etc/sentinel/notify.secrets /etc/systemd/system/sentinel-notify.service.d
systemctl daemon-reload

step web
systemctl is-enabled sentinel-web.service >"$OUT/web.before" || true
systemctl start sentinel-web.service
until_true curl -sSf -o "$OUT/web.html" http://127.0.0.1:8477/
curl -sSf http://127.0.0.1:8477/v1/summary >"$OUT/web.json"
curl -sSf http://127.0.0.1:8477/report >"$OUT/web.report"
pid=$(systemctl show -P MainPID sentinel-web.service)
grep -E '^(Uid|Groups|CapEff|Seccomp|NoNewPrivs|VmRSS):' "/proc/$pid/status" >"$OUT/web.process"
# For others: refused without a file, then with one that systemd hands over.
mkdir -p /etc/systemd/system/sentinel-web.service.d
printf 'OPTIONS=--listen :8477\n' >/etc/sentinel/web.env
systemctl restart sentinel-web.service
until_true sh -c '[ "$(systemctl show -P ActiveState sentinel-web.service)" = failed ]'
hash=$(/usr/lib/sentinel/bin/python3 -c 'import bcrypt; print(bcrypt.hashpw(b"lovelace", bcrypt.gensalt(4)).decode())')
(umask 077 && printf 'basic_auth_users:\n  ada: %s\n' "$hash" >/etc/sentinel/web.yml)
printf '[Service]\nLoadCredential=web.yml:/etc/sentinel/web.yml\n' >/etc/systemd/system/sentinel-web.service.d/file.conf
systemctl daemon-reload
systemctl restart sentinel-web.service
until_true curl -sSf -u ada:lovelace -o /dev/null http://127.0.0.1:8477/metrics
curl -sS -o /dev/null -w '%{http_code}' http://127.0.0.1:8477/metrics >"$OUT/web.stranger"
systemctl stop sentinel-web.service
journalctl -q -o cat -u sentinel-web.service >"$OUT/web.journal"
rm -r /etc/sentinel/web.env /etc/sentinel/web.yml /etc/systemd/system/sentinel-web.service.d
systemctl daemon-reload

step journal
journalctl --list-catalog >"$OUT/catalog"
journalctl -q -x --no-pager SENTINEL_RULE=cpu-fallback SENTINEL_STATE=firing >"$OUT/explained"
journalctl -q -o cat -u llama >"$OUT/of_unit"
# The command that `sentinel alerts` prints, run as it is printed.
sed -n 's/^.*\(journalctl -x .*\)$/\1/p' "$OUT/cli.txt" | sort -u >"$OUT/query"
sh -c "$(cat "$OUT/query") --no-pager -o cat" >"$OUT/together"

step restart
python3 $LAB/clients_inside.py "$OUT/enough" >"$OUT/clients.json" &
until_true ask /v1/status
systemctl restart sentinel
touch "$OUT/enough"
wait %1

step killed
systemctl kill --signal=KILL sentinel
# The worst moment: the entries are in the journal, and that they were told was not written down any more. RestartSec= is 5 s.
python3 - <<'END' >"$OUT/unmarked"
import sqlite3
with sqlite3.connect("/var/lib/sentinel/history.sqlite") as history:
    print(history.execute("UPDATE marks SET last_id = 0 WHERE sink = 'journald'").rowcount)
END
until_true sh -c '[ "$(systemctl show -P NRestarts sentinel)" = 1 ] && systemctl is-active -q sentinel'
ask /v1/history >"$OUT/history.json"
journalctl --sync
journalctl -q -o json --all SENTINEL_RULE=cpu-fallback SENTINEL_STATE=firing >"$OUT/after.json"
systemctl show -P Result sentinel >"$OUT/result"

step broken
# A mistake in the configuration: told once for each try to start, and never in a circle.
systemctl stop sentinel
echo 'sink = "nowhere"' >/etc/sentinel/sentinel.toml
for _ in 1 2; do curl -sS --max-time 10 --unix-socket $SOCK http://localhost/v1/status >>"$OUT/broken" 2>&1 || true; done
until_true sh -c '[ "$(systemctl show -P ActiveState sentinel.service)" = failed ]'
journalctl -q -o cat -u sentinel -p err >"$OUT/mistake"
systemctl is-active sentinel.socket >"$OUT/broken.socket" || true
rm /etc/sentinel/sentinel.toml

step activated
# Whoever asks starts it.
ask /v1/status >"$OUT/activated.json"

step rules
# An expression language with what is left of its libraries in the package.
sentinel rules test /usr/lib/sentinel/lib/python3*/site-packages/sentinel/shipped/cpu-fallback.toml >"$OUT/rules.txt" 2>&1

step reload
# A mistake is told to whoever reloads, and the old rules stay.
# Who asks is answered before the start is over, and what systemd is told to reload meanwhile it takes for a part of the start.
until_true systemctl is-active -q sentinel
cp $LAB/broken.toml /etc/sentinel/rules.d/
systemctl reload sentinel >"$OUT/reload.bad" 2>&1 || echo "failed" >>"$OUT/reload.bad"
journalctl --sync
journalctl -q -o cat -u sentinel --since -20s >"$OUT/reload.said"
rm /etc/sentinel/rules.d/broken.toml
systemctl reload sentinel
systemctl is-active sentinel >"$OUT/reload.good"

step upgrade
sentinel silence load-oom --for 2h --reason 'kept over an upgrade' >/dev/null
dpkg --force-unsafe-io -i $LAB/new.deb >>"$OUT/dpkg.txt" 2>&1
dpkg-query -W -f '${Version} ${Status}\n' llama-sentinel >"$OUT/upgraded"
systemctl is-active sentinel.service sentinel.socket >>"$OUT/upgraded"
ask /v1/history >"$OUT/upgraded.history.json"
ask /v1/silences >"$OUT/upgraded.silences.json"
journalctl --sync
journalctl -q -o json --all SENTINEL_RULE=cpu-fallback SENTINEL_STATE=firing >"$OUT/upgraded.told.json"

step library
# Gone half a millisecond after its start.
mkdir /opt/alone
cp /opt/llama/llama-server /opt/alone/
printf '[Service]\nUser=llama\nExecStart=/opt/alone/llama-server -m /opt/models/tiny.gguf --port 8082\n' >/etc/systemd/system/alone.service
systemctl daemon-reload
systemctl start alone
until_true fired start-failed SENTINEL_ENTITY=server:alone.service
journalctl -q -o json --all SENTINEL_ENTITY=server:alone.service SENTINEL_STATE=firing >"$OUT/library.json"
sentinel forget alone.service >/dev/null
rm /etc/systemd/system/alone.service
systemctl daemon-reload

step capabilities
sentinel doctor --json >"$OUT/doctor.full.json" || true
mkdir -p /etc/systemd/system/sentinel.service.d
cp /usr/share/doc/llama-sentinel/examples/no-capabilities.conf /etc/systemd/system/sentinel.service.d/
systemctl daemon-reload
before=$(date +%s)
systemctl restart sentinel
grep CapEff "/proc/$(systemctl show -P MainPID sentinel)/status" >"$OUT/bare.caps"
sentinel doctor --json >"$OUT/doctor.bare.json" || true
ask /v1/status >"$OUT/bare.status.json"
# What was open about the start of the step before is said once more, at times.
journalctl -q -o cat -u sentinel -p err --since "@$before" | { grep -v alone.service || true; } >"$OUT/bare.errors"
systemctl show -P ActiveState,NRestarts sentinel >"$OUT/bare.state"
rm -r /etc/systemd/system/sentinel.service.d
systemctl daemon-reload

step without-socket
systemctl stop sentinel.service sentinel.socket
systemctl mask --quiet sentinel.socket
systemctl start sentinel.service
ask /v1/status >"$OUT/own.json"
stat -c '%a %U %G' $SOCK >"$OUT/own.modes"
systemctl stop sentinel.service
test ! -e $SOCK
systemctl unmask --quiet sentinel.socket

step user
as_joe() { runuser -u joe -- env XDG_RUNTIME_DIR="/run/user/$uid" "$@"; }
of_a_user() {
    mkdir -p ~joe/.config/systemd/user
    cp $LAB/llama-user.service ~joe/.config/systemd/user/joes.service
    chown -R joe: ~joe
    as_joe systemctl --user daemon-reload
    as_joe systemctl --user start sentinel.service
    as_joe systemctl --user show -P ActiveState,NRestarts sentinel.service >"$OUT/user.state"
    as_joe systemctl --user start joes.service
    until_true fired cpu-fallback _UID="$uid"
    journalctl --sync
    as_joe journalctl -q --user -u joes -o cat >"$OUT/user.of_unit" || true
    as_joe sentinel status --json >"$OUT/user.status.json" || true
    stat -c '%a %U' "/run/user/$uid/sentinel/sentinel.sock" ~joe/.local/state/sentinel >"$OUT/user.modes"
    as_joe systemctl --user stop sentinel.service joes.service
    systemctl stop "user@$uid.service"
}
useradd --create-home joe
uid=$(id -u joe)
# Where the machine's systemd has no part for users, the rest goes on.
if systemctl start "user@$uid.service"; then of_a_user; else touch "$OUT/no-user-manager"; fi

step drop-ins
# Images without udev may lack it.
getent group render >/dev/null || groupadd --system render
mkdir /etc/systemd/system/llama.service.d
cp /usr/share/doc/llama-sentinel/examples/llama-server/*.conf /etc/systemd/system/llama.service.d/
systemctl daemon-reload
systemctl restart llama
pid=$(systemctl show -P MainPID llama)
# systemd calls it started before it has become the program.
until_true test "/proc/$pid/exe" -ef /opt/llama/llama-server
# What systemd was told: in a container without CAP_SYS_RESOURCE it cannot raise the limit itself.
{ systemctl show -P LimitMEMLOCK llama; cat "/proc/$pid/oom_score_adj"; } >"$OUT/drop-ins"
sed -n 's/^Groups:\s*//p' "/proc/$pid/status" | tr -s ' \t' '\n' | xargs -r getent group | cut -d: -f1 | sort >"$OUT/drop-ins.groups"
tr '\0' '\n' <"/proc/$pid/environ" | grep LLAMA_ARG >"$OUT/drop-ins.environ"

step remove
systemctl start sentinel.socket sentinel.service
journalctl -u sentinel -u llama --no-pager >"$OUT/own.log"
systemctl stop llama
dpkg --force-unsafe-io -r llama-sentinel >>"$OUT/dpkg.txt" 2>&1
ls -d /var/lib/sentinel /etc/sentinel /usr/lib/sentinel $SOCK /usr/bin/sentinel >"$OUT/removed" 2>/dev/null || true
systemctl list-units --all --plain --no-legend 'sentinel*' >"$OUT/removed.units"
journalctl --list-catalog >"$OUT/removed.catalog"
step purge
dpkg -P llama-sentinel >>"$OUT/dpkg.txt" 2>&1
ls -d /var/lib/sentinel /etc/sentinel >"$OUT/purged" 2>/dev/null || true
step end
