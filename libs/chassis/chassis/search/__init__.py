"""Full-text search in memory: text analysis, an inverted index and a vocabulary.

product-service (search, suggestions, facets) and ai-service (retrieval) use the same functions, so
that a word found by one is found by the other.
"""
