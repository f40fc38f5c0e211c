"""Serving: a resolved version becomes a model that answers, or is refused. It knows nothing of the ledger."""
