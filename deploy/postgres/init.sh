#!/bin/sh
# Runs when the data directory is new: the roles and the database. `aperag` owns the database and nothing else, and
# migrates it; each service has a role of its own, to which the migration grants what it needs. The extension needs a
# superuser, so it is made here. Safe to repeat: it sets the passwords to what the environment says.
set -eu

# As statements on standard input: arguments could be read by whoever lists processes.
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
SET log_min_error_statement = panic;
\getenv owner APERAG_POSTGRES_PASSWORD
\getenv agent APERAG_POSTGRES_AGENT_PASSWORD
\getenv api APERAG_POSTGRES_API_PASSWORD
\getenv indexer APERAG_POSTGRES_INDEXER_PASSWORD
\getenv reconciler APERAG_POSTGRES_RECONCILER_PASSWORD
\getenv webhooks APERAG_POSTGRES_WEBHOOKS_PASSWORD
SELECT format(CASE WHEN pg_roles.rolname IS NULL THEN 'CREATE' ELSE 'ALTER' END || ' ROLE %I LOGIN PASSWORD %L',
        wanted.name, wanted.password)
    FROM (VALUES ('aperag', :'owner'), ('aperag_agent', :'agent'), ('aperag_api', :'api'),
        ('aperag_indexer', :'indexer'), ('aperag_reconciler', :'reconciler'),
        ('aperag_webhooks', :'webhooks')) AS wanted (name, password)
    LEFT JOIN pg_roles ON pg_roles.rolname = wanted.name \gexec
SELECT 'CREATE DATABASE aperag OWNER aperag' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'aperag') \gexec
REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC;
\connect aperag
CREATE EXTENSION IF NOT EXISTS vector;
SQL
