"""Scenes of cut-outs on photographs with complete annotations: boxes, masks, label maps, words.

``composer.Composer`` makes one scene after another, ``scenes.scenes`` a whole data set of them.
"""
