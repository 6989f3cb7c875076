"""souron (総論): every AI system of an overview lecture, on your own computer.

    import souron
    model = souron.train("resnet18", data="photos/").model
    model("cat.jpg").top5
    souron.compare(["alexnet", "resnet18", "vit"], data="photos/", budget="5min", seeds=3)

Nothing heavy is imported until it is used.
"""

__version__ = "0.1.0"
