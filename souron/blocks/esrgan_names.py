"""Convert the weight names of ESRGAN's published files to one convention.

There are files of the authors' first program (``model.1.sub.0.RDB1.conv1.0``), of its published
copy (``RRDB_trunk.0.RDB1.conv1``) and of the later one (``body.0.rdb1.conv1``), with the tensors
inside ``params_ema`` or ``params``, or at the top level.
"""

import re
from collections.abc import Mapping

from torch import Tensor


def renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename weights to the convention of the authors' later program."""
    tensors = dict(weights)
    for outer in ("params_ema.", "params."):
        inside = {n.removeprefix(outer): w for n, w in tensors.items() if n.startswith(outer)}
        tensors = inside or tensors
    ends = sorted(int(m[1]) for name in tensors if (m := re.fullmatch(r"model\.(\d{1,2})\.weight", name)))
    names = (
        dict(
            zip(
                map(str, ends),
                ["conv_first", *(f"conv_up{i}" for i in range(1, len(ends) - 2)), "conv_hr", "conv_last"],
                strict=False,
            )
        )
        if len(ends) > 2
        else {}
    )
    state_dict = {}
    for name, weight in tensors.items():
        name = re.sub(r"^model\.1\.sub\.(\d{1,3})\.RDB(\d)\.conv(\d)\.0\.", r"body.\1.rdb\2.conv\3.", name)
        name = re.sub(r"^model\.1\.sub\.\d{1,3}\.(weight|bias)$", r"conv_body.\1", name)
        name = re.sub(r"^model\.(\d{1,2})\.", lambda m: f"{names.get(m[1], m[0])}.", name)
        name = re.sub(r"^RRDB_trunk\.(\d{1,3})\.RDB(\d)\.", r"body.\1.rdb\2.", name)
        name = re.sub(r"^upconv(\d)\.", r"conv_up\1.", name)
        name = re.sub(r"^trunk_conv\.", "conv_body.", name)
        state_dict[re.sub(r"^HRconv\.", "conv_hr.", name)] = weight
    return state_dict
