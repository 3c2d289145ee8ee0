"""The rules of tools/tidy.py, by theme. Importing this package registers all of them."""

from tidy_rules import bytes, documents, orders, shape, steps  # noqa: F401
