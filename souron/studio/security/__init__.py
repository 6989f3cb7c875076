"""Security of the studio: allowed requests, paths, uploads and their names."""
