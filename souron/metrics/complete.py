"""Names of the metrics of language models."""

import math

BITS, PREFERRED = "bits per byte", "preference accuracy"
NAT = 1 / math.log(2)  # bits
