#!/usr/bin/env bash
# Runs the tests of tracking against an `mlflow server` with PostgreSQL behind it.
#
#     tests/tracking/postgresql.sh [pytest arguments]
#
# Installs Debian's PostgreSQL where it is missing (as root), and starts a server of its own in a temporary folder, on
# loopback and a free port. Both the folder and the server are gone afterwards.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-$PWD/.venv/bin/python}

ls -d /usr/lib/postgresql/*/bin >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq postgresql; }
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1)
work=$(mktemp -d)
owner=()
if [ "$(id -u)" = 0 ]; then  # PostgreSQL refuses to run as root
    chown postgres "$work"
    owner=(runuser -u postgres --)
fi
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
finish() {
    "${owner[@]}" "$bin/pg_ctl" -D "$work/data" -m fast stop >/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
cd "$work"
"${owner[@]}" "$bin/initdb" -D "$work/data" -U mlflow -A trust >/dev/null
"${owner[@]}" "$bin/pg_ctl" -D "$work/data" -l "$work/log" -w -o "-p $port -k $work -c listen_addresses=127.0.0.1" start >/dev/null
"${owner[@]}" "$bin/createdb" -h 127.0.0.1 -p "$port" -U mlflow mlflow
cd "$OLDPWD"
"$python" -m pip install -q --target "$work/site" psycopg2-binary

export PYTHONPATH="$PWD/src:$work/site" CDM_MLFLOW_STORE="postgresql+psycopg2://mlflow@127.0.0.1:$port/mlflow"
query() { "$bin/psql" -h 127.0.0.1 -p "$port" -U mlflow -At -c "$1" mlflow; }
query "select version()"
"$python" -m pytest -q tests/tracking/test_tracked_project.py tests/tracking/test_delivery.py tests/tracking/test_registry.py "$@"
echo "runs in PostgreSQL: $(query "select string_agg(status || ' ' || n, ', ') from (select status, count(*) n from runs group by status) x")"
echo "model versions:     $(query "select string_agg(name || ' ' || n, ', ') from (select name, count(*) n from model_versions where name !~ '[0-9a-f]{8}' group by name order by name) x")"
