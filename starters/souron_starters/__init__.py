"""Published networks for souron, converted to safetensors; see ``souron.hub.networks``."""

__version__ = "0.1.0"
