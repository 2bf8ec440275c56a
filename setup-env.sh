# Sourced by run.sh and test.sh: finds Python, makes .venv and installs the checkout into it, once per change of its
# dependencies. Needs nothing but Python 3.11 or newer; on Debian it installs what venv lacks, if it may.

say() { printf '%s\n' "$*" >&2; }

may_apt() { command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }; }

apt_install() {
    local sudo=""
    [ "$(id -u)" = 0 ] || sudo="sudo -n"
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq update >/dev/null || true
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -y install "$@" >/dev/null 2>&1
}

# Debian's interpreter, or one built with profile-guided optimisation, before others: a fifth more requests a second
# (docs/performance.rst).
find_python() {
    local name any=""
    for name in python3 /usr/bin/python3 python3.14 python3.13 python3.12 python3.11; do
        if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            name=$(command -v "$name")
            "$name" -c 'import ensurepip' 2>/dev/null || may_apt || continue
            case "$("$name" -c 'import sysconfig; print(sysconfig.get_config_var("CONFIG_ARGS"))')" in
                *--enable-optimizations* | *--prefix=/usr\'*) printf '%s' "$name"; return ;;
            esac
            any=${any:-$name}
        fi
    done
    if [ -n "$any" ]; then printf '%s' "$any"; return; fi
    say "Python 3.11 or newer is needed; install it (Debian: apt install python3 python3-venv)"
    return 1
}

# make_venv EXTRAS: with the extras of pyproject.toml named, such as "[dev]".
make_venv() {
    local python stamp
    python=$(find_python) || exit 1
    stamp="$python $("$python" --version) $(cat pyproject.toml setup.py setup-env.sh native/Cargo.* native/src/*.rs | cksum)"
    if [ -x .venv/bin/dynakv ]; then
        case "$(cat .venv/stamp 2>/dev/null)" in "$1 $stamp" | "[dev] $stamp") return ;; esac
    fi
    say "setting up .venv (once) ..."
    if ! "$python" -m venv --clear .venv >/dev/null 2>&1; then
        may_apt && apt_install python3-venv
        "$python" -m venv --clear .venv || { say "cannot make a virtual environment (Debian: apt install python3-venv)"; exit 1; }
    fi
    .venv/bin/python -m pip install -q --disable-pip-version-check --upgrade pip
    .venv/bin/python -m pip install -q --disable-pip-version-check -e ".$1" || { say "pip could not install what is needed"; exit 1; }
    printf '%s' "$1 $stamp" >.venv/stamp
}
