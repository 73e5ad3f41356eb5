"""The plumbing that services share. No domain word, no work at import, no base service class."""
