"""`python -m rsa_ops.cli` is `rsa-ops`."""

from rsa_ops.cli.main import main

main()
