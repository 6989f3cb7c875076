"""Jobs of the studio: their queue, the worker that forks them, their progress."""
