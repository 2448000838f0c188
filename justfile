# Recipes run inside the environment that ./justw prepares: ./justw RECIPE.

members := "libs services tests bench scripts deploy"
packages := "libs/cli/src libs/common/src libs/models/src libs/retrieval/src libs/standalone/src libs/testing/src libs/work/src services/agent/src services/api/src services/console/src services/indexer/src services/mcp/src services/reconciler/src services/webhooks/src"
compile := "uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
  --prerelease=if-necessary-or-explicit -p 3.11 --no-header --no-annotate"

[private]
default:
    @just --list --unsorted

# The stack in the foreground until Ctrl-C (--detach: in the background)
[group('stack')]
[no-exit-message]
up *options:
    @exec aperag up {{ options }}

# Stop the stack
[group('stack')]
[no-exit-message]
down:
    @exec aperag down

# What runs, and since when
[group('stack')]
[no-exit-message]
status *options:
    @exec aperag status {{ options }}

# The log of one service (-f: follow)
[group('stack')]
[no-exit-message]
logs *arguments:
    @exec aperag logs {{ arguments }}

# Find problems, and say what to do
[group('stack')]
[no-exit-message]
doctor:
    @exec aperag doctor

# Start the stack, ingest the sample documents, search them, stop (--keep: leave it running)
[group('stack')]
[no-exit-message]
demo *options:
    @exec aperag demo {{ options }}

# The command line, in the caller's folder: documents, searches, tasks, events, keys (--help: the list)
[group('stack')]
[no-cd]
[no-exit-message]
[positional-arguments]
aperag *arguments:
    @APERAG_HOME="${APERAG_HOME:-{{ justfile_directory() }}/.aperag}" exec aperag "$@"

# Everything that must hold: check, then every test that does not take minutes by design
[group('work')]
test *options: check
    pytest tests -n 3 --dist worksteal -m "not long" {{ options }}

# The tests that take half a minute or more: faults of every kind, an ingest during which everything is killed, rotation
[group('work')]
test-long *options:
    pytest tests -m long {{ options }}

# The built wheel in fresh environments of every Python here: a minute each, and it installs from a package index
[group('work')]
test-wheel *options:
    pytest tests/wheel {{ options }}

# The browser that tests of the console drive: Debian's Chromium (needs root)
[group('work')]
browser:
    command -v chromium || apt-get install --yes --no-install-recommends chromium

# Format, lint, layers, types, dead code, what a security linter finds
[group('work')]
[parallel]
check: _lint _types

_lint:
    ruff format --check {{ members }}
    ruff check {{ members }}
    lint-imports
    python scripts/dead_code.py
    bandit --quiet --severity-level medium --confidence-level medium --recursive {{ packages }}

_types:
    mypy {{ packages }}

# Put code into the one format, and fix what ruff can
[group('work')]
fmt:
    ruff check --fix-only --quiet {{ members }}
    ruff format {{ members }}

# Benchmarks: ingest, search, quality, footprint, chaos, fairness, dispatch, pipeline (none named: the list)
[group('work')]
[no-exit-message]
bench *options:
    @python -m bench {{ options }}

# The small inputs of public bug reports: what is read of them, how it is cut, what finds it (a folder may be named)
[group('work')]
check-cases *folder:
    @python -m tests.cases.run {{ folder }}

# The MCP service against the public conformance suite and the inspector (needs npm)
[group('work')]
mcp-conformance:
    python -m tests.conformance.run

# The AsyncAPI document against the parser of the AsyncAPI Initiative (needs npm)
[group('work')]
asyncapi:
    python -m tests.asyncapi.run

# The gateway against its own OpenAPI description: random requests, for nine minutes (--help: the options)
[group('work')]
fuzz *options:
    python -m tests.fuzz.run {{ options }}

# Known vulnerabilities of the dependencies (needs the network)
[group('work')]
audit:
    python scripts/audit.py

# A new migration from the difference between models and database
[group('work')]
migrate message:
    python -m aperag_standalone.revision "{{ message }}"

# Pin the dependencies again, those of the wheel first, with hashes and without the address of any index
[group('work')]
lock:
    #!/bin/sh
    set -eu
    {{ compile }} pyproject.toml -o requirements/run.txt
    set --
    for member in libs/* services/*; do set -- "$@" --no-emit-package "aperag-${member#*/}"; done
    {{ compile }} "$@" pyproject.toml --group pyproject.toml:dev -c requirements/run.txt -o requirements/dev.txt
    {{ compile }} "$@" pyproject.toml --group pyproject.toml:dev --group pyproject.toml:bench \
        -c requirements/dev.txt -o requirements/bench.txt

# Validate Docker Compose (it is not run here)
[group('work')]
compose-check:
    deploy/check.sh

# Write the generated pages again (--check: only say whether they are up to date)
[group('work')]
docs *options:
    python scripts/settings_table.py {{ options }}
    python scripts/messages.py {{ options }}
    python scripts/events_table.py {{ options }}
    python scripts/third_party.py {{ options }}
