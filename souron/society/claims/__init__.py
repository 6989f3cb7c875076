"""Whether an answer stands in its sources, sentence by sentence."""
