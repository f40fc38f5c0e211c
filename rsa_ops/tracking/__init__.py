"""The only importer of mlflow: runs, artifacts, registry. It records and finds; it decides nothing."""
