"""Read products from catalogue files: CSV, NDJSON and JSON, of this shop and of others."""
