"""Scenes made of cut-outs on photographs, in which everything is known: boxes, masks, maps, words.

``composer.Composer`` makes one scene after the other, ``many.scenes`` a whole data set of them.
"""
