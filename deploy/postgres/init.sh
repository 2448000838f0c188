#!/bin/sh
# Runs once, when the data directory is new: the services' role and database. The role owns its database and nothing
# else; the extension needs a superuser, so it is made here and not by the migration.
set -eu

psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
    --set password="$APERAG_POSTGRES_PASSWORD" <<'SQL'
CREATE ROLE aperag LOGIN PASSWORD :'password';
CREATE DATABASE aperag OWNER aperag;
\connect aperag
CREATE EXTENSION vector;
SQL
