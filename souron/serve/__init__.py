"""``souron serve``: the predictions of ``souron predict --json`` over HTTP."""
