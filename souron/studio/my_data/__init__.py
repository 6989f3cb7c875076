"""My data: one data set from its files to a verdict, and drawing on its images."""
