#!/bin/sh
# Validates the form with containers as far as this machine's tools go: what is missing is said and skipped.
# Nothing is built, pulled or started.
set -eu

cd -- "$(dirname -- "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

have() {
    command -v "$1" >/dev/null 2>&1 && return
    printf 'skipped  %s: %s is not installed\n' "$2" "$1"
    return 1
}

# step TEXT COMMAND…: its output is shown only where it fails.
step() {
    text=$1
    shift
    if "$@" >"$scratch/output" 2>&1; then
        printf 'ok       %s\n' "$text"
    else
        printf 'FAILED   %s\n' "$text"
        sed 's/^/         /' "$scratch/output"
        failed=1
    fi
}

says() {
    wanted=$1
    shift
    "$@" 2>&1 | grep -F "$wanted"
}

compose() {
    if docker compose version >/dev/null 2>&1; then
        docker compose "$@"
    else
        docker-compose "$@"
    fi
}

sed 's/=$/=not-a-secret/' deploy/.env.example >"$scratch/filled"

have check-jsonschema "compose.yaml against the Compose schema" &&
    step "compose.yaml against the Compose schema" \
        check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
have hadolint "deploy/Dockerfile" && step "deploy/Dockerfile" hadolint deploy/Dockerfile
if docker compose version >/dev/null 2>&1 || have docker-compose "what compose makes of compose.yaml"; then
    step "what compose makes of compose.yaml" compose --env-file "$scratch/filled" config --quiet
    step "the same with the profile observability" \
        compose --env-file "$scratch/filled" --profile observability config --quiet
    step "an empty secret is refused" \
        says "set it in deploy/.env" compose --env-file deploy/.env.example config --quiet
fi
step "deploy/postgres/init.sh is a script" sh -n deploy/postgres/init.sh
if have promtool "what Prometheus is told"; then
    step "deploy/observability/prometheus.yml" promtool check config deploy/observability/prometheus.yml
    step "alerts fire when they should, and only then" promtool test rules deploy/observability/alerts.test.yml
fi
if have python "the dashboard"; then
    step "the dashboard is JSON" python -m json.tool deploy/observability/grafana/dashboards/aperag.json
fi
if have python "NATS identities"; then
    step "NATS identities" python deploy/nats/identities.py "$scratch"
    if have nats-server "deploy/nats/nats.conf with these identities"; then
        cp deploy/nats/nats.conf "$scratch/nats.conf"
        ln -s server "$scratch/identities"
        sed -i "s|/etc/nats/identities|$scratch/identities|" "$scratch/server/tls.conf"
        step "deploy/nats/nats.conf with these identities" nats-server -t -c "$scratch/nats.conf"
    fi
fi
exit "$failed"
