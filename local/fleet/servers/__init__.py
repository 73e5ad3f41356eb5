"""Server programs: PostgreSQL, MongoDB, Kafka and Valkey from PyPI, and the emulators."""
