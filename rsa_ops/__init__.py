"""rsa_ops: train sparse adapters, prove them by statistics, price them, and gate their promotion."""

__version__ = "0.1.0"
