"""Engines that run the parts of a long computation on several processes or machines."""
