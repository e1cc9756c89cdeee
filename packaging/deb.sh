#!/bin/sh
# Builds a Debian package: `make deb`. The program lies in /usr/lib/sentinel with an environment of its own, made from the
# system's Python, so that installing it needs no network and touches no other package's libraries.
#
#   OUT=dist                where the package goes
#   VERSION=                of the package; without it the one in sentinel/__init__.py
#   DEB_MAINTAINER='Name <mail>'
#   DEB_COMPRESSION=        options of dpkg-deb, for example -Zgzip -z1 to build faster
set -eu

SOURCE=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
PYTHON=${PYTHON:-/usr/bin/python3}
OUT=${OUT:-$SOURCE/dist}
NAME=llama-sentinel
PREFIX=/usr/lib/sentinel

die() {
    echo "sentinel deb: $1" >&2
    exit 2
}

command -v dpkg-deb >/dev/null || die "no dpkg-deb here; a Debian package is built on Debian or a system made from it"
VERSION=${VERSION:-$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$SOURCE/sentinel/__init__.py")}
MAINTAINER=${DEB_MAINTAINER:-The authors of sentinel <sentinel@localhost>}
dpkg --validate-version "$VERSION" || die "VERSION=$VERSION is no version of a Debian package; try VERSION=0.1.0"

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
umask 022
chmod 755 "$tree"

# Everything is compiled once, at the end. (pip takes the variable for the value of what --no-compile switches off.)
PIP_NO_COMPILE=0 DESTDIR=$tree PREFIX=$PREFIX PYTHON=$PYTHON EXTRAS='[nvidia,notify,web]' BINDIR=/usr/bin SHAREDIR=/usr/share ZSH_FOLDER=vendor-completions \
    UNITDIR=/usr/lib/systemd/system USERUNITDIR=/usr/lib/systemd/user EXAMPLES=/usr/share/doc/$NAME/examples \
    "$SOURCE/systemd/install.sh" install

# What installs packages, commands of libraries, and a second copy of the manual are no part of it. Neither is what the CEL
# library needs for a command line of its own, which sentinel never imports (sentinel/engine/rules/expression.py): half of all files.
site=$(echo "$tree$PREFIX"/lib/python3.*/site-packages)
"$tree$PREFIX/bin/python3" -m pip uninstall --quiet --yes typer rich prompt-toolkit pygments pydantic pydantic-core \
    markdown-it-py mdurl wcwidth shellingham annotated-types annotated-doc typing-inspection
rm -rf "$site"/pip "$site"/pip-* "$site"/setuptools "$site"/setuptools-* "$site"/pkg_resources "$site"/_distutils_hack \
    "$site"/distutils-precedence.pth "$tree$PREFIX/include" "$tree$PREFIX/share" "$tree$PREFIX/.installed-by-sentinel"
find "$tree$PREFIX/bin" -type f ! -name sentinel -delete
# Compiled once more, so that tracebacks name the place where the files will be.
"$PYTHON" -m compileall -q -f -s "$tree" -p / "$site"

gzip -9n "$tree/usr/share/man/man1/sentinel.1"
documents=$tree/usr/share/doc/$NAME
cp "$SOURCE/packaging/debian/copyright" "$documents/copyright"
gzip -9nc "$SOURCE/CHANGELOG.md" >"$documents/CHANGELOG.md.gz"
# Debian's own form; SOURCE_DATE_EPOCH makes builds comparable (reproducible-builds.org).
gzip -9n >"$documents/changelog.gz" <<END
$NAME ($VERSION) unstable; urgency=medium

  * See CHANGELOG.md.gz.

 -- $MAINTAINER  $(date -R -d "@${SOURCE_DATE_EPOCH:-$(date +%s)}")
END
# The command's link may not depend on where the root is.
ln -sfn ../lib/sentinel/bin/sentinel "$tree/usr/bin/sentinel"

mkdir "$tree/DEBIAN"
minor=$("$PYTHON" -c 'import sys; print(sys.version_info[1])')
sed -e "s/@VERSION@/$VERSION/" -e "s/@ARCHITECTURE@/$(dpkg --print-architecture)/" \
    -e "s/@PYTHON@/python3 (>= 3.$minor~), python3 (<< 3.$((minor + 1))~)/" \
    -e "s/@SIZE@/$(du -sk --exclude=DEBIAN "$tree" | cut -f1)/" \
    -e "s/@MAINTAINER@/$MAINTAINER/" \
    "$SOURCE/packaging/debian/control" >"$tree/DEBIAN/control"
for script in postinst prerm postrm; do
    install -m 755 "$SOURCE/packaging/debian/$script" "$tree/DEBIAN/$script"
done
(cd "$tree" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$tree/DEBIAN/md5sums"

mkdir -p "$OUT"
# shellcheck disable=SC2086 # several options
dpkg-deb --root-owner-group ${DEB_COMPRESSION:-} --build "$tree" "$OUT/${NAME}_${VERSION}_$(dpkg --print-architecture).deb"
