"""Computer graphics: outlines, isosurfaces, overlays and rendering."""
