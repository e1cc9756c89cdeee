#!/bin/sh
# Installs sentinel as a service, or takes it away again. `make install`, `make uninstall`, `make install-user`,
# `make uninstall-user` and `make deb` call this.
#
#   PREFIX=/opt/sentinel   where the program goes: a folder of its own (for a user: ~/.local/share/sentinel)
#   DESTDIR=               put in front of every path (for packagers); nothing is started or registered then
#   PYTHON=/usr/bin/python3
#   EXTRAS=[nvidia,notify,top,web]   optional libraries (docs/service.md)
#   BINDIR= SHAREDIR= UNITDIR= USERUNITDIR= EXAMPLES=   other places, for packagers
set -eu

VERB=${1:-}
DESTDIR=${DESTDIR:-}
PYTHON=${PYTHON:-/usr/bin/python3}
SOURCE=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

die() {
    echo "sentinel install: $1" >&2
    exit 2
}

case $VERB in
install | uninstall)
    SCOPE=system
    PREFIX=${PREFIX:-/opt/sentinel}
    BINDIR=${BINDIR:-/usr/local/bin}
    SHAREDIR=${SHAREDIR:-/usr/local/share}
    UNITDIR=${UNITDIR:-/etc/systemd/system}
    USERUNITDIR=${USERUNITDIR:-/etc/systemd/user}
    ;;
install-user | uninstall-user)
    SCOPE=user
    case ${HOME:-} in /*) ;; *) die "HOME is not set to a folder; set HOME and try again" ;; esac
    PREFIX=${PREFIX:-${XDG_DATA_HOME:-$HOME/.local/share}/sentinel}
    BINDIR=${BINDIR:-$HOME/.local/bin}
    SHAREDIR=${SHAREDIR:-${XDG_DATA_HOME:-$HOME/.local/share}}
    USERUNITDIR=${USERUNITDIR:-${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user}
    ;;
*) die "usage: [PREFIX=...] [DESTDIR=...] systemd/install.sh install|uninstall|install-user|uninstall-user" ;;
esac

TARGET=$DESTDIR$PREFIX
# Written before anything else: what carries it is ours to replace and to remove, whatever PREFIX says.
MARK=$TARGET/.installed-by-sentinel
LINK=$DESTDIR$BINDIR/sentinel
MANUAL=$DESTDIR$SHAREDIR/man/man1/sentinel.1
BASH_COMPLETION=$DESTDIR$SHAREDIR/bash-completion/completions/sentinel
ZSH_COMPLETION=$DESTDIR$SHAREDIR/zsh/${ZSH_FOLDER:-site-functions}/_sentinel
FISH_COMPLETION=$DESTDIR$SHAREDIR/fish/vendor_completions.d/sentinel.fish
USERUNIT=$DESTDIR$USERUNITDIR/sentinel.service
USERNOTIFY=$DESTDIR$USERUNITDIR/sentinel-notify.service
USERWEB=$DESTDIR$USERUNITDIR/sentinel-web.service
USERCURE=$DESTDIR$USERUNITDIR/sentinel-cure.service
EXAMPLES=$DESTDIR${EXAMPLES:-$PREFIX/share/sentinel/systemd}
if [ "$SCOPE" = system ]; then
    UNIT=$DESTDIR$UNITDIR/sentinel.service
    SOCKET=$DESTDIR$UNITDIR/sentinel.socket
    NOTIFY=$DESTDIR$UNITDIR/sentinel-notify.service
    WEB=$DESTDIR$UNITDIR/sentinel-web.service
    CURE=$DESTDIR$UNITDIR/sentinel-cure.service
    SYSUSERS=$DESTDIR/usr/lib/sysusers.d/sentinel.conf
    TMPFILES=$DESTDIR/usr/lib/tmpfiles.d/sentinel.conf
    CATALOG=$DESTDIR/usr/lib/systemd/catalog/sentinel.catalog
fi

live() {
    [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]
}

# A user's systemd runs and can be asked.
live_user() {
    [ -z "$DESTDIR" ] && [ -S "${XDG_RUNTIME_DIR:-/nowhere}/systemd/private" ]
}

check() {
    case $PREFIX in
    /*) ;;
    *) die "PREFIX must begin with /, it is '$PREFIX'; try PREFIX=/opt/sentinel" ;;
    esac
    case $PREFIX in
    *[!A-Za-z0-9/._+-]*) die "PREFIX=$PREFIX: use letters, digits and / . _ + - only" ;;
    esac
    if [ "$SCOPE" = system ]; then
        case $PREFIX in
        /root/* | /home/* | /run/user/* | /tmp/*)
            die "PREFIX=$PREFIX: the service's user cannot rely on a program there; try PREFIX=/opt/sentinel" ;;
        esac
    fi
    if [ -d "$TARGET" ] && [ ! -e "$MARK" ] && [ -n "$(ls -A "$TARGET")" ]; then
        die "$TARGET holds files that sentinel did not put there; choose a PREFIX of its own, for example /opt/sentinel"
    fi
    [ "$SCOPE" = user ] || [ -n "$DESTDIR" ] || [ "$(id -u)" = 0 ] ||
        die "needs root; try: sudo make $VERB, or make $VERB-user for a service of your own"
}

check_python() {
    [ -x "$PYTHON" ] || die "no Python at $PYTHON; install python3 or set PYTHON=/path/to/python3"
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "$PYTHON is $("$PYTHON" --version 2>&1); sentinel needs Python 3.11 or later (set PYTHON=)"
    if [ "$SCOPE" = system ]; then
        real=$("$PYTHON" -c 'import os, sys; print(os.path.realpath(sys.executable))')
        case $real in
        /root/* | /home/*) die "$PYTHON is $real, which the service's user cannot run; set PYTHON= to the system's Python" ;;
        esac
    fi
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
        die "$PYTHON cannot make virtual environments; install python3-venv (Debian, Ubuntu) and try again"
}

install_program() {
    mkdir -p "$TARGET"
    : >"$MARK"
    # Built from a copy: whatever a build leaves behind must not lie in somebody's checkout, owned by root.
    copy=$(mktemp -d)
    trap 'rm -rf "$copy"' EXIT
    (cd "$SOURCE" && tar -cf - --exclude='./.[!.]*' --exclude=__pycache__ --exclude=./tests --exclude=./bench --exclude=./dist .) | tar -xf - -C "$copy"
    "$PYTHON" -m venv "$TARGET"
    "$TARGET/bin/python3" -m pip install --quiet --disable-pip-version-check --no-input --upgrade "$copy${EXTRAS:-}"
    if [ -n "$DESTDIR" ]; then
        # An environment knows its own path; the one it will have is without DESTDIR.
        grep -rlF -- "$TARGET" "$TARGET/bin" "$TARGET/pyvenv.cfg" | while read -r file; do
            [ -L "$file" ] || sed -i "s,$TARGET,$PREFIX,g" "$file"
        done
    fi
    # Whoever installs with a strict umask still wants the service's user to read its program.
    chmod -R go+rX "$TARGET"
}

# put SOURCE TARGET: one file that everybody may read, with the program's place in it.
put() {
    mkdir -p "$(dirname "$2")"
    sed "s,@PREFIX@,$PREFIX,g" "$SOURCE/$1" >"$2"
    chmod 644 "$2"
}

# complete SHELL TARGET: the completion that the installed program makes of its own command line.
complete() {
    mkdir -p "$(dirname "$2")"
    "$TARGET/bin/python3" -m sentinel completion "$1" >"$2"
    chmod 644 "$2"
}

install_files() {
    complete bash "$BASH_COMPLETION"
    complete zsh "$ZSH_COMPLETION"
    complete fish "$FISH_COMPLETION"
    put man/sentinel.1 "$MANUAL"
    put systemd/user/sentinel.service "$USERUNIT"
    put systemd/user/sentinel-notify.service "$USERNOTIFY"
    put systemd/user/sentinel-web.service "$USERWEB"
    put systemd/user/sentinel-cure.service "$USERCURE"
    # The wheel's units start the command where pipx, uv and pip put it.
    sed -i "s,%h/.local/bin/,$PREFIX/bin/," "$USERUNIT" "$USERNOTIFY" "$USERWEB" "$USERCURE"
    for example in "$SOURCE"/systemd/llama-server/*.conf; do
        put "systemd/llama-server/${example##*/}" "$EXAMPLES/llama-server/${example##*/}"
    done
    if [ "$SCOPE" = system ]; then
        put systemd/no-capabilities.conf "$EXAMPLES/no-capabilities.conf"
        put systemd/sentinel.service "$UNIT"
        put systemd/sentinel.socket "$SOCKET"
        put systemd/sentinel-notify.service "$NOTIFY"
        put systemd/sentinel-web.service "$WEB"
        put systemd/sentinel-cure.service "$CURE"
        put systemd/sentinel.sysusers.conf "$SYSUSERS"
        put systemd/sentinel.tmpfiles.conf "$TMPFILES"
        put systemd/sentinel.catalog "$CATALOG"
    fi
    mkdir -p "$(dirname "$LINK")"
    if [ -e "$LINK" ] && [ ! -L "$LINK" ]; then
        echo "sentinel install: $LINK exists and is left alone; the command is $PREFIX/bin/sentinel"
    else
        ln -sfn "$PREFIX/bin/sentinel" "$LINK"
    fi
}

register() {
    systemd-sysusers "$SYSUSERS"
    systemd-tmpfiles --create "$TMPFILES"
    systemctl daemon-reload
    journalctl --update-catalog
    # A service that runs already goes on with the new program. One that made its socket itself, of a version without a socket
    # unit, is stopped for it: systemd takes a socket only for a service that is not there.
    if systemctl is-active --quiet sentinel.socket; then
        systemctl try-restart sentinel.service
    elif systemctl is-active --quiet sentinel.service; then
        systemctl stop sentinel.service
        systemctl start sentinel.socket sentinel.service
    fi
    systemctl try-restart sentinel-notify.service sentinel-cure.service sentinel-web.service
    echo "sentinel is installed in $PREFIX."
    echo "  start it:        sudo systemctl enable --now sentinel"
    echo "  ask it:          sudo sentinel status   (without sudo: sudo usermod -aG sentinel \$USER, log in again)"
}

do_install() {
    check
    check_python
    install_program
    install_files
    if live; then
        register
    elif [ -z "$DESTDIR" ]; then
        echo "sentinel is installed in $PREFIX; systemd does not run here, start it with: $PREFIX/bin/sentinel run"
    fi
}

do_install_user() {
    check
    check_python
    install_program
    install_files
    if live_user; then
        systemctl --user daemon-reload
        systemctl --user try-restart sentinel.service sentinel-notify.service sentinel-web.service sentinel-cure.service
    fi
    echo "sentinel is installed in $PREFIX, the command is $BINDIR/sentinel."
    echo "  start it:        systemctl --user enable --now sentinel   (also without a login: loginctl enable-linger)"
}

remove_files() {
    rm -f "$MANUAL" "$USERUNIT" "$USERNOTIFY" "$USERWEB" "$USERCURE" "$BASH_COMPLETION" "$ZSH_COMPLETION" "$FISH_COMPLETION"
    if [ "$(readlink "$LINK" 2>/dev/null)" = "$PREFIX/bin/sentinel" ]; then rm -f "$LINK"; fi
    if [ -e "$MARK" ]; then rm -rf "$TARGET"; fi
}

do_uninstall() {
    check
    if live; then systemctl disable --now --quiet sentinel-cure.service sentinel-web.service sentinel-notify.service sentinel.service sentinel.socket 2>/dev/null || true; fi
    rm -f "$UNIT" "$SOCKET" "$NOTIFY" "$CURE" "$WEB" "$SYSUSERS" "$TMPFILES" "$CATALOG"
    remove_files
    if live; then
        systemctl daemon-reload
        journalctl --update-catalog || true
        rm -rf /run/sentinel
    fi
    echo "sentinel is removed. Kept: its users, its history in /var/lib/sentinel, the configuration in /etc/sentinel."
    echo "  remove them too: sudo rm -rf /var/lib/sentinel /etc/sentinel && sudo userdel sentinel-cure && sudo userdel sentinel"
}

do_uninstall_user() {
    check
    if live_user; then systemctl --user disable --now --quiet sentinel-cure.service sentinel-web.service sentinel-notify.service sentinel.service 2>/dev/null || true; fi
    remove_files
    if live_user; then systemctl --user daemon-reload; fi
    echo "sentinel is removed. Kept: its history in ${XDG_STATE_HOME:-$HOME/.local/state}/sentinel and your configuration."
}

case $VERB in
install) do_install ;;
uninstall) do_uninstall ;;
install-user) do_install_user ;;
uninstall-user) do_uninstall_user ;;
esac
