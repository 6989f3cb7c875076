"""The questions of ``souron plan``: the assumptions that each needs, and the patients that it asks for."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from souron.kinds.signature import typed_as
from souron.stats import sample_size
from souron.stats.sample_size import LinearPredictor
from souron.utils.messages import UserError, _

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Question:
    """One question: its options with their defaults, and what it computes from them."""

    name: str
    defaults: Mapping[str, Any]  # None: not assumed unless it is named
    criteria: Callable[[Values], dict[str, int]]  # criterion -> independent patients
    varies: str  # the assumption that the curve follows
    references: Sequence[str]


COMMON = {"level": 0.95, "images": 1.0, "icc": 0.0, "margin": None}
BUDERER = "Buderer 1996, https://doi.org/10.1111/j.1553-2712.1996.tb03538.x"
WILSON = "Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953"
HANLEY = "Hanley, McNeil 1982, https://doi.org/10.1148/radiology.143.1.7063747"
HANLEY_PAIRED = "Hanley, McNeil 1983, https://doi.org/10.1148/radiology.148.3.6878708"
CONNOR = "Connor 1987, https://doi.org/10.2307/2531961"
LIU = "Liu et al. 2002, https://doi.org/10.1002/sim.1012"
VALIDATION = (
    "Riley et al. 2021, https://doi.org/10.1002/sim.9025",
    "Riley et al. 2024, https://doi.org/10.1136/bmj-2023-074821",
)
DEVELOPMENT = (
    "Riley et al. 2020, https://doi.org/10.1136/bmj.m441",
    "Riley et al. 2019, https://doi.org/10.1002/sim.7992",
    "van Smeden et al. 2019, https://doi.org/10.1177/0962280218784726",
)
KISH = "Kish 1965, Survey Sampling"

INSIDE = (0.0, 1.0)
LIMITS: dict[str, tuple[float, float]] = {  # between these two, neither included
    "sensitivity": INSIDE,
    "specificity": INSIDE,
    "prevalence": INSIDE,
    "width": (0.0, 0.5),
    "auc": (0.5, 1.0),
    "other_auc": (0.5, 1.0),
    "power": INSIDE,
    "level": INSIDE,
    "oe_width": (0.0, 10.0),
    "slope_width": (0.0, 10.0),
    "auc_width": INSIDE,
    "benefit_width": (0.0, 10.0),
    "threshold": INSIDE,
    "lp_sd": (0.0, 20.0),
    "lp_mean": (-20.0, 20.0),
    "r2": INSIDE,
    "shrinkage": INSIDE,
    "optimism": INSIDE,
    "risk_width": (0.0, 0.5),
    "mean_error": (0.0, 0.5),
}
CLOSED: dict[str, tuple[float, float]] = {  # from one to the other, both included
    "null_auc": (0.5, 0.999),
    "correlation": (0.0, 0.99),
    "discordant": (0.001, 1.0),
    "difference": (0.0, 1.0),
    "parameters": (1, 10_000),
    "images": (1.0, 10_000.0),
    "icc": (0.0, 1.0),
    "margin": (0.0, 100.0),
}
LEAST = 0.001  # of a difference, or a margin, that can be planned for
AMONG = {"interval": ("wilson", "normal"), "compared": ("accuracy", "sensitivity", "specificity")}


def accuracy(given: Values) -> dict[str, int]:
    """Return the patients for sensitivity and for specificity, each to the half-width."""
    wilson = given["interval"] == "wilson"
    counts = {
        name: sample_size.proportion(given[name], given["width"], given["level"], wilson)
        for name in ("sensitivity", "specificity")
    }
    return {
        "sensitivity": up(counts["sensitivity"] / given["prevalence"]),
        "specificity": up(counts["specificity"] / (1 - given["prevalence"])),
    }


def area(given: Values) -> dict[str, int]:
    """Return the patients for an AUC, to a half-width or against a null value."""
    auc, prevalence, level = given["auc"], given["prevalence"], given["level"]
    if given["null_auc"] is None:
        return {"auc": sample_size.auc_precision(auc, prevalence, given["width"], level)}
    return {"auc": sample_size.auc_power(auc, given["null_auc"], prevalence, given["power"], level)}


def two_areas(given: Values) -> dict[str, int]:
    """Return the patients for the difference of two AUCs of the same patients."""
    names = ("auc", "other_auc", "correlation", "prevalence", "power", "level")
    return {"auc difference": sample_size.auc_difference(*(given[name] for name in names))}


def methods(given: Values) -> dict[str, int]:
    """Return the patients for two methods; those with, or without, the disease are a part of them."""
    share = {"accuracy": 1.0, "sensitivity": given["prevalence"], "specificity": 1 - given["prevalence"]}
    criterion = "non-inferiority" if by_margin(given) else "difference"
    return {criterion: up(pairs(given) / share[given["compared"]])}


def pairs(given: Values) -> int:
    """Return the pairs for McNemar's test, or for the margin of two equal methods."""
    if by_margin(given):
        return sample_size.not_inferior(given["discordant"], given["margin"] / 100, given["power"], given["level"])
    return sample_size.mcnemar(given["discordant"], given["difference"], given["power"], given["level"])


def by_margin(given: Values) -> bool:
    """Return whether the patients are those for a margin: of two methods without a difference."""
    return given.get("difference") == 0


def discordant_pairs(made: "Plan") -> float:
    """Return the independent discordant pairs that a plan for two methods expects; infinity for other plans."""
    return float(pairs(made.values) * made.values["discordant"]) if made.question == "methods" else math.inf


def predictor(given: Values) -> LinearPredictor:
    """Return the distribution of a model's log-odds: as named, or the one of its AUC and prevalence."""
    if given["lp_mean"] is not None:
        return LinearPredictor(given["lp_mean"], given["lp_sd"])
    return LinearPredictor.of(given["prevalence"], given["auc"])


def validation(given: Values) -> dict[str, int]:
    """Return the patients for each measure of an external validation."""
    prevalence, level, log_odds = given["prevalence"], given["level"], predictor(given)
    found = {
        "observed/expected": sample_size.observed_expected(prevalence, given["oe_width"], level),
        "calibration slope": sample_size.calibration_slope(log_odds, given["slope_width"], level),
        "c statistic": sample_size.c_statistic(given["auc"], prevalence, given["auc_width"], level),
    }
    if given["threshold"] is not None:
        sensitivity, specificity = log_odds.at(given["threshold"])
        found["net benefit"] = sample_size.net_benefit(
            sensitivity if given["sensitivity"] is None else given["sensitivity"],
            specificity if given["specificity"] is None else given["specificity"],
            prevalence,
            given["threshold"],
            given["benefit_width"],
            level,
        )
    return found


def r2(given: Values) -> float:
    """Return the Cox-Snell R2: as named, that of the AUC, or 15 % of the largest possible one."""
    if given["r2"] is not None:
        return float(given["r2"])
    if given["auc"] is not None:
        return sample_size.r2_of_auc(given["prevalence"], given["auc"])
    return sample_size.RULE_OF_THUMB * sample_size.largest_r2(given["prevalence"])


def development(given: Values) -> dict[str, int]:
    """Return the patients for each criterion of developing a model."""
    targets = (given[name] for name in ("shrinkage", "optimism", "risk_width", "mean_error", "level"))
    return sample_size.development(given["parameters"], r2(given), given["prevalence"], *targets)


QUESTIONS = {
    one.name: one
    for one in (
        Question(
            "sensitivity",
            {"sensitivity": 0.9, "specificity": 0.9, "prevalence": 0.2, "width": 0.05, "interval": "wilson"},
            accuracy,
            "prevalence",
            (BUDERER, WILSON),
        ),
        Question(
            "auc",
            {"auc": 0.85, "prevalence": 0.2, "width": 0.05, "null_auc": None, "power": 0.8},
            area,
            "prevalence",
            (HANLEY,),
        ),
        Question(
            "two-aucs",
            {"auc": 0.85, "other_auc": 0.8, "correlation": 0.5, "prevalence": 0.2, "power": 0.8},
            two_areas,
            "correlation",
            (HANLEY_PAIRED, HANLEY),
        ),
        Question(
            "methods",
            {"discordant": 0.2, "difference": 0.1, "compared": "accuracy", "prevalence": 0.2, "power": 0.8},
            methods,
            "discordant",
            (CONNOR, LIU),
        ),
        Question(
            "validation",
            {
                "auc": 0.8,
                "prevalence": 0.2,
                "oe_width": 0.2,
                "slope_width": 0.2,
                "auc_width": 0.1,
                "benefit_width": 0.2,
                "threshold": None,
                "sensitivity": None,
                "specificity": None,
                "lp_mean": None,
                "lp_sd": None,
            },
            validation,
            "prevalence",
            VALIDATION,
        ),
        Question(
            "development",
            {
                "parameters": 20,
                "prevalence": 0.2,
                "r2": None,
                "auc": None,
                "shrinkage": 0.9,
                "optimism": 0.05,
                "risk_width": 0.05,
                "mean_error": 0.05,
            },
            development,
            "parameters",
            DEVELOPMENT,
        ),
    )
}


@dataclass(frozen=True)
class Plan:
    """The answer to a question: patients, images, and the assumptions behind them."""

    question: str
    values: dict[str, Any]  # every assumption by the name of its option
    sources: dict[str, str]  # of each: "option", "pilot" or "default"
    criteria: dict[str, int]  # patients for each criterion, clusters counted
    curve: tuple[tuple[float, int], ...]  # the assumption that varies, and the patients

    @property
    def patients(self) -> int:
        return max(self.criteria.values())

    @property
    def effect(self) -> float:
        return sample_size.design_effect(self.values["images"], self.values["icc"])

    @property
    def images(self) -> int:
        return up(self.patients * self.values["images"])

    def diseased(self, patients: int) -> int:
        return up(patients * self.values["prevalence"])


def up(number: float) -> int:
    """Round up, past the errors of floating-point numbers."""
    return math.ceil(round(number, 6))


def plan(question: str, named: Values, pilot: Values) -> Plan:
    """Answer a question from the options that were named and a pilot's figures. Raises UserError."""
    asked = QUESTIONS[question]
    values, sources = assumptions(asked, named, pilot)
    made = Plan(question, values, sources, patients(asked, values), ())
    return replace(made, curve=tuple(followed(asked, values)))


def assumptions(asked: Question, named: Values, pilot: Values) -> tuple[dict[str, Any], dict[str, str]]:
    """Return each assumption and its source: an option, a pilot, or the default. Raises UserError."""
    known = {**asked.defaults, **COMMON}
    for name in named:
        if name not in known:
            refuse(asked, name)
    values, sources = {}, {}
    for name, default in known.items():
        if name in named:
            values[name], sources[name] = read(name, named[name], default), "option"
        elif name in pilot and possible(name, pilot[name]) and default is not None:
            values[name], sources[name] = pilot[name], "pilot"
        else:
            values[name], sources[name] = default, "default"
    check_together(asked, values, named)
    for name in without_effect(asked, values):
        del values[name], sources[name]
    return values, sources


def without_effect(asked: Question, values: Values) -> list[str]:
    """Return the options that these values leave without an effect, so that no page lists them as assumptions."""
    if asked.name == "auc":
        return ["power" if values["null_auc"] is None else "width"]
    return ["benefit_width"] if asked.name == "validation" and values["threshold"] is None else []


def refuse(asked: Question, name: str) -> None:
    """Raises UserError for an option of another question."""
    others = [one.name for one in QUESTIONS.values() if name in one.defaults]
    raise UserError(
        "option",
        _("{name}= does not belong to the question {question}").format(name=name, question=asked.name),
        expected=", ".join([*asked.defaults, *COMMON]),
        fix=f"souron plan question={others[0]} {name}=..." if others else "souron plan --help",
    )


def read(name: str, value: Any, default: Any) -> Any:
    """Return the value of an option, in its type. Raises UserError outside of its range."""
    if name in AMONG:
        if value in AMONG[name]:
            return value
        expected = ", ".join(AMONG[name])
    else:
        value = typed_as(name, value, 1 if isinstance(default, int) else 0.5)
        if possible(name, value):
            return value
        low, high = LIMITS.get(name) or CLOSED[name]
        text = _("a number above {low} and below {high}") if name in LIMITS else _("a number from {low} to {high}")
        expected = text.format(low=f"{low:g}", high=f"{high:g}")
    raise UserError(
        "value", _("{name}={value} cannot be planned with").format(name=name, value=value), expected=expected
    )


def possible(name: str, value: Any) -> bool:
    """Return whether a value lies in the range of an option."""
    if name in AMONG:
        return value in AMONG[name]
    if name in LIMITS:
        return LIMITS[name][0] < value < LIMITS[name][1]
    return CLOSED[name][0] <= value <= CLOSED[name][1]


def check_together(asked: Question, values: Values, named: Values) -> None:
    """Raises UserError where assumptions contradict each other."""

    def wrong(found: str, expected: str) -> UserError:
        return UserError("value", found, expected=expected, fix="souron plan --help")

    if asked.name == "auc" and values["null_auc"] is None and "power" in named:
        raise wrong(_("power= needs a value to test against"), "null_auc=0.7 power=0.8")
    if asked.name == "auc" and values["null_auc"] is not None:
        if "width" in named:
            raise wrong(_("width= and null_auc= ask two different questions"), _("one of the two"))
        if values["null_auc"] >= values["auc"]:
            raise wrong(
                _("auc={auc} is not above null_auc={null}").format(auc=values["auc"], null=values["null_auc"]),
                _("an expected AUC above the null value"),
            )
    if asked.name == "two-aucs" and values["auc"] == values["other_auc"]:
        raise wrong(_("both AUCs are {auc}").format(auc=values["auc"]), _("two different AUCs"))
    if asked.name == "methods" and values["difference"] > values["discordant"]:
        raise wrong(
            _("difference={difference} is larger than discordant={discordant}").format(**values),
            _("a difference of at most the share of discordant cases"),
        )
    counted_for = (values["margin"] or 0) / 100 if by_margin(values) else values.get("difference", LEAST)
    if counted_for < LEAST:
        raise wrong(
            _("difference={difference} is too small to plan for").format(**values),
            _("a difference from {least} on, or difference=0 and a margin from {points} on").format(
                least=f"{LEAST:g}", points=f"{100 * LEAST:g}"
            ),
        )
    if asked.name == "validation":
        if (values["lp_mean"] is None) != (values["lp_sd"] is None):
            raise wrong(_("one of lp_mean= and lp_sd= is missing"), "lp_mean=-2 lp_sd=1")
        without = [name for name in ("sensitivity", "specificity", "benefit_width") if name in named]
        if values["threshold"] is None and without:
            raise wrong(_("{name}= needs threshold=, for the net benefit").format(name=without[0]), "threshold=0.1")
    if asked.name == "development":
        if "r2" in named and "auc" in named:
            raise wrong(_("r2= and auc= say the same thing twice"), _("one of the two"))
        most = min(sample_size.largest_r2(values["prevalence"]), values["shrinkage"])
        if r2(values) >= most:
            raise wrong(
                _("a Cox-Snell R2 of {r2} is not possible here").format(r2=f"{r2(values):.3g}"),
                _("an R2 below {most}").format(most=f"{most:.3g}"),
            )


def patients(asked: Question, values: Values) -> dict[str, int]:
    """Return the patients for each criterion, with the design effect of several images of one. Raises UserError."""
    effect = sample_size.design_effect(values["images"], values["icc"]) / values["images"]
    try:
        return {name: up(count * effect) for name, count in asked.criteria(values).items()}
    except (ValueError, OverflowError) as error:  # also where no distribution has these figures
        raise UserError(
            "value",
            _("no study of a billion patients would be enough for these assumptions"),
            expected=_("a wider interval, a larger difference, or a higher prevalence"),
        ) from error


STEPS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)  # times the plan's own value
CORRELATIONS = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9)


def followed(asked: Question, values: Values) -> list[tuple[float, int]]:
    """Return the patients for other values of the assumption that matters most."""
    found, own = [], values[asked.varies]
    others = {*CORRELATIONS, own} if asked.varies == "correlation" else {own * step for step in STEPS}
    for value in sorted(others):
        value = round(value) if isinstance(own, int) else round(value, 4)
        if not possible(asked.varies, value):
            continue
        try:
            other = {**values, asked.varies: value}
            check_together(asked, other, {})
            found.append((value, max(patients(asked, other).values())))
        except UserError:
            continue
    return found
