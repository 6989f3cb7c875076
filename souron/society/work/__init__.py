"""Exposure of the tasks of occupations, or of one's own tasks, to language models."""
