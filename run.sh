#!/usr/bin/env bash
# From a fresh checkout to a running three-node cluster. Arguments go to `dynakv demo`; Ctrl-C stops everything.
set -euo pipefail
cd "$(dirname "$0")"
. ./setup-env.sh
make_venv ""
exec .venv/bin/dynakv demo "$@"
