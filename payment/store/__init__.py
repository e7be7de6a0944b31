"""Every SQL statement of this service, by noun.

Three rules hold in every statement: the tenant is part of every join, rows are locked in the
order of their keys, and what must be true together is written together.
"""
