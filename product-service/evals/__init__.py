"""Evaluation of the search: queries with graded answers (`python -m evals`)."""
