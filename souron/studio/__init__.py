"""The studio: everything in the browser, on this machine, drawn from the same signatures."""
