"""Faults put into the code one at a time, each of which the fast tests must notice."""
