"""``souron serve``: what ``souron predict --json`` says, over HTTP."""
