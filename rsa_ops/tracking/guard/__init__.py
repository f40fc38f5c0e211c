"""The guard of an MLflow server: what the ledger names changes only as an open intent says.

`decision` decides and knows no HTTP, `routes` reads requests, `holdings` looks up which runs and files belong to a
version, `app` stands in front of the server. Where the answers come from is for whoever starts it to say.
"""
