"""Terms of products and queries: stems and synonyms."""

from collections.abc import Iterable, Mapping

from chassis.search.analysis import fold, split, stemmer


class Vocabulary:
    """Map words of products and queries to terms of the index.

    Args:
        same: term → its synonyms; all become the same term.
        broader: term → narrower words; a product of merino is also found as wool.
        ignored: stop words.
    """

    def __init__(
        self, same: Mapping[str, str], broader: Mapping[str, str], ignored: Iterable[str]
    ) -> None:
        self._stemmer = stemmer("english")
        stem = self._stemmer.stemWord
        self._same: dict[str, str] = {
            stem(word): stem(term) for term, words in same.items() for word in words.split()
        }
        self._broader = {
            self.term(word): self.term(term)
            for term, words in broader.items()
            for word in words.split()
        }
        self.ignored = frozenset(ignored)

    def term(self, word: str) -> str:
        """Return the term of one folded word."""
        stem = str(self._stemmer.stemWord(word))
        return self._same.get(stem, stem)

    def extract_terms(self, text: str) -> list[str]:
        """Return the terms of a product's text, including broader ones, in order."""
        found = []
        for word in split(fold(text)):
            if word in self.ignored:
                continue
            term = self.term(word)
            found.append(term)
            if (broader := self._broader.get(term)) is not None:
                found.append(broader)
        return found
