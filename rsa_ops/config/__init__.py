"""YAML text and a typed model -> a frozen instance, or every problem at once."""

from rsa_ops.config.load import load_config, read_config

__all__ = ["load_config", "read_config"]
