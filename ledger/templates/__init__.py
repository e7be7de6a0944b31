"""The table of templates, one module for each family; `ledger/postings.py` puts it together."""
