#!/bin/sh
# Installs sentinel as a service, or takes it away again. `make install` and `make uninstall` call this.
#
#   PREFIX=/opt/sentinel   where the program goes: a folder of its own
#   DESTDIR=               put in front of every path (for packagers); nothing is started or registered then
#   PYTHON=/usr/bin/python3
set -eu

PREFIX=${PREFIX:-/opt/sentinel}
DESTDIR=${DESTDIR:-}
PYTHON=${PYTHON:-/usr/bin/python3}
SOURCE=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
TARGET=$DESTDIR$PREFIX
# Written before anything else: what carries it is ours to replace and to remove, whatever PREFIX says.
MARK=$TARGET/.installed-by-sentinel
UNIT=$DESTDIR/etc/systemd/system/sentinel.service
SYSUSERS=$DESTDIR/usr/lib/sysusers.d/sentinel.conf
CATALOG=$DESTDIR/usr/lib/systemd/catalog/sentinel.catalog
LINK=$DESTDIR/usr/local/bin/sentinel
MANUAL=$DESTDIR/usr/local/share/man/man1/sentinel.1

die() {
    echo "sentinel install: $1" >&2
    exit 2
}

live() {
    [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]
}

check() {
    case $PREFIX in
    /*) ;;
    *) die "PREFIX must begin with /, it is '$PREFIX'; try PREFIX=/opt/sentinel" ;;
    esac
    case $PREFIX in
    /root/* | /home/* | /run/user/* | /tmp/*)
        die "PREFIX=$PREFIX: the service's user cannot rely on a program there; try PREFIX=/opt/sentinel" ;;
    *[!A-Za-z0-9/._+-]*) die "PREFIX=$PREFIX: use letters, digits and / . _ + - only" ;;
    esac
    if [ -d "$TARGET" ] && [ ! -e "$MARK" ] && [ -n "$(ls -A "$TARGET")" ]; then
        die "$TARGET holds files that sentinel did not put there; choose a PREFIX of its own, for example /opt/sentinel"
    fi
    [ -n "$DESTDIR" ] || [ "$(id -u)" = 0 ] || die "needs root; try: sudo make $1"
}

check_python() {
    [ -x "$PYTHON" ] || die "no Python at $PYTHON; install python3 or set PYTHON=/path/to/python3"
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "$PYTHON is $("$PYTHON" --version 2>&1); sentinel needs Python 3.11 or later (set PYTHON=)"
    real=$("$PYTHON" -c 'import os, sys; print(os.path.realpath(sys.executable))')
    case $real in
    /root/* | /home/*) die "$PYTHON is $real, which the service's user cannot run; set PYTHON= to the system's Python" ;;
    esac
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
        die "$PYTHON cannot make virtual environments; install python3-venv (Debian, Ubuntu) and try again"
}

install_program() {
    mkdir -p "$TARGET"
    : >"$MARK"
    # Built from a copy: whatever a build leaves behind must not lie in somebody's checkout, owned by root.
    copy=$(mktemp -d)
    trap 'rm -rf "$copy"' EXIT
    (cd "$SOURCE" && tar -cf - --exclude='./.[!.]*' --exclude=__pycache__ --exclude=./tests --exclude=./bench .) | tar -xf - -C "$copy"
    "$PYTHON" -m venv "$TARGET"
    "$TARGET/bin/python3" -m pip install --quiet --disable-pip-version-check --no-input --upgrade "$copy"
    if [ -n "$DESTDIR" ]; then
        # An environment knows its own path; the one it will have is without DESTDIR.
        grep -rlF -- "$TARGET" "$TARGET/bin" "$TARGET/pyvenv.cfg" | while read -r file; do
            [ -L "$file" ] || sed -i "s,$TARGET,$PREFIX,g" "$file"
        done
    fi
    # Whoever installs with a strict umask still wants the service's user to read its program.
    chmod -R go+rX "$TARGET"
}

install_service() {
    mkdir -p "$(dirname "$UNIT")" "$(dirname "$SYSUSERS")" "$(dirname "$LINK")" "$(dirname "$MANUAL")"
    sed "s,@PREFIX@,$PREFIX,g" "$SOURCE/systemd/sentinel.service" >"$UNIT"
    cp "$SOURCE/systemd/sentinel.sysusers.conf" "$SYSUSERS"
    cp "$SOURCE/man/sentinel.1" "$MANUAL"
    chmod 644 "$UNIT" "$SYSUSERS" "$MANUAL"
    if [ -f "$SOURCE/systemd/sentinel.catalog" ]; then
        mkdir -p "$(dirname "$CATALOG")"
        cp "$SOURCE/systemd/sentinel.catalog" "$CATALOG"
        chmod 644 "$CATALOG"
    fi
    if [ -e "$LINK" ] && [ ! -L "$LINK" ]; then
        echo "sentinel install: $LINK exists and is left alone; the command is $PREFIX/bin/sentinel"
    else
        ln -sfn "$PREFIX/bin/sentinel" "$LINK"
    fi
}

register() {
    systemd-sysusers "$SYSUSERS"
    systemctl daemon-reload
    if [ -f "$CATALOG" ]; then journalctl --update-catalog; fi
    # A service that runs already goes on with the new program.
    systemctl try-restart sentinel.service
    echo "sentinel is installed in $PREFIX."
    echo "  start it:        sudo systemctl enable --now sentinel"
    echo "  ask it:          sudo sentinel status   (without sudo: sudo usermod -aG sentinel \$USER, log in again)"
}

do_install() {
    check install
    check_python
    install_program
    install_service
    if live; then
        register
    elif [ -z "$DESTDIR" ]; then
        echo "sentinel is installed in $PREFIX; systemd does not run here, start it with: $PREFIX/bin/sentinel run"
    fi
}

do_uninstall() {
    check uninstall
    if live; then systemctl disable --now --quiet sentinel.service 2>/dev/null || true; fi
    rm -f "$UNIT" "$SYSUSERS" "$CATALOG" "$MANUAL"
    if [ "$(readlink "$LINK" 2>/dev/null)" = "$PREFIX/bin/sentinel" ]; then rm -f "$LINK"; fi
    if [ -e "$MARK" ]; then rm -rf "$TARGET"; fi
    if live; then
        systemctl daemon-reload
        journalctl --update-catalog || true
    fi
    echo "sentinel is removed. Kept: the user sentinel, its history in /var/lib/sentinel, the configuration in /etc/sentinel."
    echo "  remove them too: sudo rm -rf /var/lib/sentinel /etc/sentinel && sudo userdel sentinel"
}

case ${1:-} in
install) do_install ;;
uninstall) do_uninstall ;;
*) die "usage: [PREFIX=...] [DESTDIR=...] systemd/install.sh install|uninstall" ;;
esac
