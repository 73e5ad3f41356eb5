"""Full-text search in memory: text analysis, an inverted index and a vocabulary.

Services that search the same texts use the same functions, so that a word found by one is found by
the other.
"""
