"""Mutants of the sources that a death may interrupt: how they are made and what they must be caught by."""
