"""Small weights for souron, a run's folder for each system; see ``souron.hub.zoo``."""
