"""Names of the methods that detect harmful output, without heavy imports."""

from typing import Literal, get_args

from souron.utils.messages import N_

Way = Literal["lexicon", "classifier", "both"]
WAYS: tuple[Way, ...] = get_args(Way)
WAY_NAMES = {"lexicon": N_("lexicon"), "classifier": N_("classifier"), "both": N_("both")}
