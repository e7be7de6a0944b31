"""Every SQL statement of this service, by noun.

Each statement takes many inputs and answers each of them by its ordinal. In every one of
them the tenant is part of the predicates, rows are locked in the order of their keys, trades
before refunds before keys, and what must be true together is written together.
"""
