"""Evaluate what is recognised in images and volumes, one file a task."""
