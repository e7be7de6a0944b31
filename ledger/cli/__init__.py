"""Look at the books and keep their accounts, as an operator of a running installation.

An account is named by its id, or as its book calls it: `kind:owner:currency`, such as
`wallet:MALL/u1:CNY`, `merchant_pending:mch_1:CNY`, `suspense::CNY`.
"""

from __future__ import annotations

from importlib import import_module

from cyclopts import App

# A verb is the function of that name in the module of that name.
VERBS = (
    "account",
    "accounts",
    "balance",
    "block",
    "clearing",
    "close",
    "close_day",
    "close_income",
    "cut",
    "days",
    "export",
    "history",
    "holds",
    "income",
    "limits",
    "pushed",
    "pushes",
    "sheet",
    "statement",
    "subjects",
    "suspense",
    "trial",
    "unblock",
    "verify",
)

ledger = App(name="ledger", help=__doc__)
for _verb in VERBS:
    ledger.command(getattr(import_module(f"{__name__}.{_verb}"), _verb))
