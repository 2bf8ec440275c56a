#!/usr/bin/env bash
# Lint, types, documentation, tests, simulation and the walkthrough on three real processes. Sets up what it needs.
# Arguments go to pytest, and then only pytest runs.
set -euo pipefail
cd "$(dirname "$0")"
PATH=$PATH:/usr/sbin # where Debian has nginx and haproxy
. ./setup-env.sh
make_venv "[dev]"
if ! { command -v chromium && command -v chromedriver; } >/dev/null && may_apt; then
    say "installing chromium and chromium-driver (once) ..."
    apt_install chromium chromium-driver || true
fi
if ! { command -v nginx && command -v haproxy; } >/dev/null && may_apt; then
    say "installing nginx and haproxy (once) ..."
    apt_install nginx haproxy || true
fi
if ! { command -v etcd && command -v etcdctl && command -v redis-server; } >/dev/null && may_apt; then
    say "installing etcd and redis-server, for imports from them (once) ..."
    apt_install etcd-server etcd-client redis-server || true
fi
if ! command -v promtool >/dev/null && may_apt; then
    say "installing prometheus, whose promtool drills the alerts (once) ..."
    apt_install prometheus || true
fi
TMPDIR=$(mktemp -d)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
if [ $# -gt 0 ]; then
    .venv/bin/pytest "$@"
    exit
fi
say "lint ..."
.venv/bin/ruff check -q .
.venv/bin/ruff format -q --check .
say "types ..."
.venv/bin/mypy --no-error-summary
say "documentation ..."
.venv/bin/sphinx-build -q -W -b html docs docs/_build/html
say "tests ..."
# Three at once on two cores: half of the time is spent waiting. A file stays together, for the nodes that its tests share.
.venv/bin/pytest tests -n 3 --dist loadfile
