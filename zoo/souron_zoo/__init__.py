"""Small weights for souron, a run's folder for each system; see ``souron.hub.zoo``."""

__version__ = "0.1.0"
