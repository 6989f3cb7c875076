"""Generate and evaluate texts, and judge answers."""
