# Runs inside the booted system: the wheel in environments of its own, as pipx makes them, one of root's and one of a user's, and the units
# that `sentinel service install` writes for each. Sourced by bash as root; $OUT receives what the tests read, $PREFIX is the virtual
# environment of the tests, $BASE its Python.
set -e
trap '[ $? = 0 ] || journalctl -n 80 --no-pager -o short-precise >&2' EXIT

# The libraries come from the environment of the tests: the services' users may go there.
for place in "$PREFIX" "$BASE"; do
    while [ "$place" != / ]; do
        chmod a+x "$place" 2>/dev/null || true
        place=$(dirname "$place")
    done
done
# A checkout may lie in /tmp, and the units have one of their own.
mkdir /opt/libraries
mount --bind "$(echo "$PREFIX"/lib/python3.*/site-packages)" /opt/libraries
# environment FOLDER: the wheel, installed there by the system's Python.
environment() {
    /usr/bin/python3 -m venv --without-pip "$1"
    "$PREFIX/bin/python" -m pip --python "$1/bin/python" install --quiet --no-deps --no-index ./*.whl
    echo /opt/libraries >"$(echo "$1"/lib/python3.*/site-packages)/libraries.pth"
}
useradd --create-home joe
RUN=/run/user/$(id -u joe)
joe() { runuser -u joe -- env HOME=/home/joe XDG_RUNTIME_DIR="$RUN" "$@"; }
MACHINE=/opt/pipx/venvs/llama-sentinel
OWN=/home/joe/.local/share/pipx/venvs/llama-sentinel
environment $MACHINE
mkdir -p $(dirname $OWN)
environment $OWN
chown -R joe: /home/joe
chmod 711 /home/joe

# --- the machine's service ---
$OWN/bin/sentinel service install >"$OUT/of-joe" 2>&1 && exit 1
joe $MACHINE/bin/sentinel service install >"$OUT/no-root" 2>&1 && exit 1
$MACHINE/bin/sentinel service install --dry-run >"$OUT/dry"
! ls /etc/systemd/system/sentinel* 2>/dev/null
$MACHINE/bin/sentinel service install >"$OUT/installed"
systemctl enable --now sentinel
until_true $MACHINE/bin/sentinel status
journalctl --list-catalog >"$OUT/catalog"
ps -o user=,args= -p "$(systemctl show -P MainPID sentinel)" >"$OUT/process"
printf '[[channel]]\nname = "x"\ntype = "command"\ncommand = ["/bin/true"]\n' >/etc/sentinel/notify.toml
printf '[[action]]\nrestart = "x.service"\nrules = ["server-wedged"]\n' >/etc/sentinel/cure.toml
chmod 600 /etc/sentinel/notify.toml
systemctl start sentinel-web sentinel-notify sentinel-cure
until_true curl -sSf http://127.0.0.1:8477/v1/summary
curl -sS http://127.0.0.1:8477/v1/summary >"$OUT/summary"

# What the test shows where one of the five is not active.
journalctl -u sentinel -u sentinel-web -u sentinel-notify -u sentinel-cure --no-pager -o short-precise >"$OUT/journal"
systemctl is-active sentinel sentinel.socket sentinel-web sentinel-notify sentinel-cure >"$OUT/active" || true
$MACHINE/bin/sentinel service install >"$OUT/again"
systemctl is-active sentinel sentinel-web >/dev/null
$MACHINE/bin/sentinel service uninstall >"$OUT/removed"
systemctl is-active sentinel sentinel.socket sentinel-web sentinel-notify sentinel-cure >"$OUT/inactive" || true
ls /etc/systemd/system/sentinel* /etc/sysusers.d/sentinel* /etc/tmpfiles.d/sentinel* /etc/systemd/system/*/sentinel* >"$OUT/left" 2>/dev/null || true
ls -d /var/lib/sentinel /etc/sentinel/notify.toml >"$OUT/kept"

# --- a user's own ---
systemctl start dbus "user@$(id -u joe).service"
joe $OWN/bin/sentinel service install --user >"$OUT/own"
joe systemctl --user enable --now sentinel
until_true joe $OWN/bin/sentinel status
ps -o user=,args= -p "$(joe systemctl --user show -P MainPID sentinel)" >"$OUT/own-process"
joe $OWN/bin/sentinel service uninstall --user >"$OUT/own-removed"
joe systemctl --user is-active sentinel >"$OUT/own-inactive" || true
joe ls -R /home/joe/.config/systemd >"$OUT/own-left"
