"""Rows of the lecture: for each system its idea, mechanism, use and failures."""
