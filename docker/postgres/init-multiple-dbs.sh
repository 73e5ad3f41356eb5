#!/usr/bin/env bash
# Create a database for each service with its own owner, who cannot connect to other databases.
# The image runs this script once, when the data folder is empty.
#
# POSTGRES_DATABASES: entries of the form database:owner:NAME_OF_THE_VARIABLE_WITH_THE_PASSWORD
set -euo pipefail

for entry in ${POSTGRES_DATABASES:?}; do
  IFS=: read -r database owner variable <<<"$entry"
  # Pass values as psql variables, which psql quotes correctly.
  psql --set ON_ERROR_STOP=1 --no-psqlrc --quiet --username "${POSTGRES_USER:-postgres}" --dbname postgres \
    --set database="$database" --set owner="$owner" --set password="${!variable:?}" <<'SQL'
CREATE ROLE :"owner" LOGIN PASSWORD :'password';
CREATE DATABASE :"database" OWNER :"owner";
REVOKE CONNECT ON DATABASE :"database" FROM PUBLIC;
SQL
  echo "init-multiple-dbs: $database belongs to $owner"
done
