#!/bin/sh
# Make the virtual environment from a hash-locked file, and see that WeasyPrint finds Pango.
# usage: tools/install.sh PYTHON VENV LOCKFILE
set -eu
python=$1 venv=$2 lock=$3

say() { printf 'auditor: %s\n' "$*" >&2; }

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
    say "$python is missing or older than 3.11; install Python 3.11 or later, or say make PYTHON=/path/to/python"
    exit 2
}
if [ ! -x "$venv/bin/python" ]; then
    say "making the environment in $venv"
    "$python" -m venv "$venv" || {
        say "the venv module is missing; on Debian and Ubuntu: apt-get install python3-venv"
        exit 2
    }
fi
say "installing from $lock"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .

# WeasyPrint draws text with Pango, a system library that no wheel brings.
has_pango() { "$venv/bin/python" -c 'import weasyprint' >/dev/null 2>&1; }
has_pango && exit 0
if command -v apt-get >/dev/null; then
    how="apt-get install -y libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fonts-dejavu-core"
elif command -v dnf >/dev/null; then
    how="dnf install -y pango dejavu-sans-fonts"
elif command -v apk >/dev/null; then
    how="apk add pango font-dejavu"
elif command -v brew >/dev/null; then
    how="brew install pango"
else
    how="install Pango 1.44 or later with your system's package manager"
fi
may_install=no
[ "$(id -u)" = 0 ] && may_install=yes
case $how in brew*) may_install=yes ;; install*) may_install=no ;; esac
if [ "$may_install" = yes ]; then
    say "installing Pango: $how"
    case $how in apt-get*) apt-get update -qq >/dev/null 2>&1 || true ;; esac
    DEBIAN_FRONTEND=noninteractive $how >/dev/null 2>&1 || true
    has_pango && exit 0
fi
say "Pango is missing, and the PDF report needs it; type: sudo $how"
exit 2
