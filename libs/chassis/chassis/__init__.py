"""The plumbing that the services share. No domain word, no work at import, no base service class."""
