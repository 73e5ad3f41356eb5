"""PostgreSQL: connection pool, migrations, transactional outbox and its relay."""
