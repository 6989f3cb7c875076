"""Read files of other programs into cases: the code that several formats share."""
