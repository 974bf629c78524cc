"""Drawings too long for a cell, one module a chapter: they take what a paper's module measured and return figures."""
