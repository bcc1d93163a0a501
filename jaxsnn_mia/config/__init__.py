"""From flags to settings: parsed, checked, swept, and turned into specs."""

from jaxsnn_mia.config.parse import from_dict, smoke

__all__ = ["from_dict", "smoke"]
