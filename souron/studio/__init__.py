"""The studio: souron in a local web browser, with forms built from the commands' own signatures."""
