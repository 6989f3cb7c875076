"""Send the data of a comparison to workers that do not have it: ``send=true``, ``send=patients``."""

from typing import Any

from souron.data import parcels
from souron.engines import engine
from souron.engines.engine import Delivery
from souron.utils.messages import UserError, _

PATIENTS = "patients"
WISHES = {"": "", "false": "", "none": "", "true": "true", PATIENTS: PATIENTS}


def wish(send: Any, on: str | None) -> str:
    """Return "", "true" or "patients". Raises UserError, also where the way is not private."""
    text = str(send or "").lower()
    if text not in WISHES:
        raise UserError(
            "option",
            _("{name}={value} is not understood").format(name="send", value=send),
            expected="true, patients",
            fix="send=true",
        )
    if not WISHES[text]:
        return ""
    if on is None:
        raise UserError(
            "option",
            _("send={send} without on= sends to nobody").format(send=text),
            expected=_("an engine whose workers do not have the data"),
            fix="on=dask:tls://HOST:PORT",
        )
    engine.check_private(on)
    return WISHES[text]


def delivery(comparison: Any, wish: str) -> Delivery | None:
    """Return the data with its splits, to be delivered to workers; None without a ``wish``.

    Raises UserError where the data may be of patients and the wish does not say so.
    """
    if not wish:
        return None
    data = comparison.everything
    if wish != PATIENTS and (data.units or data.question):
        raise UserError(
            "send",
            _("{name} may hold data of patients").format(name=data.name),
            expected=_("send=patients, if they may leave this computer: images and texts are sent as they are"),
            fix="souron data anonymise FOLDER OUT",
            exit=2,
        )
    content = parcels.pack(data, comparison.plan)
    return Delivery(parcels.key_of(content), content, parcels.lacks, parcels.keep)
