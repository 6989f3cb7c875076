"""The plan in words, tables and a curve."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from souron.action import Fact, Record
from souron.actions.plan import questions
from souron.actions.plan.questions import KISH, QUESTIONS, Plan
from souron.report.blocks import Cell, Section, Table, sections
from souron.stats import sample_size
from souron.utils import plotting, units
from souron.utils.messages import N_, _

FEW_DISCORDANT = 20  # pairs; McNemar's approximation is rough with fewer
FEW = 10  # patients with, or without, the disease
STRONG = 0.8  # AUC from which the formula of the shrinkage is too low


@dataclass
class PlanRecord(Record):
    """The patients that a study needs, and why."""

    eyebrow = N_("plan")
    json_file = "plan.json"

    plan: Plan
    pilots: tuple[str, ...]  # folders
    pilot: dict[str, Any]  # their figures
    folder: Path | None

    def page_title(self) -> str:
        return _("How many patients? {question}").format(question=title(self.plan.question))

    def as_json(self) -> dict[str, Any]:
        made = self.plan
        return {
            "question": made.question,
            "patients": made.patients,
            "diseased": made.diseased(made.patients),
            "images": made.images,
            "design_effect": made.effect,
            "criteria": [
                {"name": name, "patients": count, "diseased": made.diseased(count)}
                for name, count in made.criteria.items()
            ],
            "assumptions": {
                name: {"value": value, "source": made.sources[name]} for name, value in made.values.items()
            },
            "margin": made.values["margin"],
            "references": references(made),
            "protocol": protocol(made),
            "curve": [{QUESTIONS[made.question].varies: value, "patients": count} for value, count in made.curve],
            "pilots": list(self.pilots),
            "pilot": self.pilot,
        }

    def sentences(self) -> list[str]:
        made = self.plan
        headline = _("{patients} patients are needed, {diseased} of them with the disease.")
        whole = {"patients": units.whole(made.patients), "diseased": units.whole(made.diseased(made.patients))}
        return [headline.format(**whole), protocol(made)]

    def facts(self) -> list[Fact]:
        made = self.plan
        found = [
            Fact(_("patients"), units.whole(made.patients)),
            Fact(_("with the disease"), units.whole(made.diseased(made.patients))),
        ]
        if made.values["images"] > 1:
            effect = _("design effect {effect}").format(effect=f"{made.effect:.3g}")
            found.append(Fact(_("images"), units.whole(made.images), effect))
        if made.values["margin"] is not None:
            found.append(Fact(_("margin"), f"{made.values['margin']:g}", _("percentage points, kept with the plan")))
        return found

    def notes(self) -> list[str]:
        made = self.plan
        found = []
        if any(source == "pilot" for source in made.sources.values()):
            found.append(
                _(
                    "The pilot's figures are uncertain themselves. Plan again with less favourable ones before you "
                    "decide."
                )
            )
        if made.sources.get("other_auc") == "pilot":
            found.append(
                _("The difference is the pilot's own. Plan for the smallest difference that would matter to patients.")
            )
        least = min(made.diseased(made.patients), made.patients - made.diseased(made.patients))
        if least < FEW:
            found.append(
                _("Only {count} patients are on the smaller side: the formulas assume more.").format(count=least)
            )
        if (pairs := questions.discordant_pairs(made)) < FEW_DISCORDANT:
            found.append(
                _("About {count} discordant pairs are expected: plan an exact test, which needs more.").format(
                    count=round(pairs)
                )
            )
        if made.values["margin"] is not None and not questions.by_margin(made.values):
            found.append(
                _(
                    "The margin is kept with the plan, but the patients are not counted for it: question=methods "
                    "difference=0 margin={margin} counts those that show that a method is not inferior."
                ).format(margin=number(made.values["margin"]))
            )
        if made.question == "development":
            found += about_development(made)
        if made.values["images"] > 1 and made.values["icc"] == 0:
            found.append(_("icc=0 takes the images of a patient as independent, which they hardly are."))
        if made.question == "validation" and made.values["lp_mean"] is not None:
            implied = questions.predictor(made.values).prevalence
            if abs(implied - made.values["prevalence"]) > made.values["prevalence"] / 4:
                found.append(
                    _("lp_mean and lp_sd stand for a prevalence of {implied}, not {prevalence}.").format(
                        implied=units.percent(implied), prevalence=units.percent(made.values["prevalence"])
                    )
                )
        return found

    def tables(self) -> Sequence[Table]:
        made = self.plan
        count, diseased = _("patients"), _("with the disease")
        needs = [
            (criterion(name), units.whole(n), units.whole(made.diseased(n)), of_criterion(made, name))
            for name, n in made.criteria.items()
        ]
        sources = {"option": _("option"), "pilot": _("from the pilot"), "default": _("default")}
        assumed = [
            (name, number(value), sources[made.sources[name]])
            for name, value in made.values.items()
            if value is not None and (name != "margin" or questions.by_margin(made.values))
        ]
        varies = QUESTIONS[made.question].varies
        return [
            Table(
                (_("criterion"), count, diseased, _("target")),
                needs,
                _("Patients for each criterion; the largest number counts"),
                right=(count, diseased),
                text=_("Formulas: {references}").format(references="; ".join(references(made))),
            ),
            Table((_("option"), _("value"), _("source")), assumed, _("Assumptions"), text=" ".join(assumptions(made))),
            Table(
                (varies, count),
                [(number(value), units.whole(n)) for value, n in made.curve],
                _("Patients for other values of {option}").format(option=varies),
                right=(varies, count),
            ),
        ]

    def sections(self) -> list[Section]:
        from souron.report import page

        needs, assumed, curve = self.tables()
        return sections(
            ("protocol", _("For the protocol"), [Cell(protocol(self.plan), style="blockquote")]),
            ("criteria", _("Patients"), [needs]),
            ("assumptions", _("Assumptions"), [assumed]),
            ("curve", curve.title, [page.plot(drawn_curve(self.plan), curve.title)]),
            ("values", _("The same in numbers"), [curve]),
        )


def title(question: str) -> str:
    """Return a question in words."""
    return {
        "sensitivity": _("Sensitivity and specificity"),
        "auc": _("One AUC"),
        "two-aucs": _("Two AUCs of the same patients"),
        "methods": _("Two methods on the same cases"),
        "validation": _("External validation of a prediction model"),
        "development": _("Development of a prediction model"),
    }[question]


def criterion(name: str) -> str:
    """Return the name of a criterion in words."""
    return {
        "sensitivity": _("sensitivity"),
        "specificity": _("specificity"),
        "auc": _("AUC"),
        "auc difference": _("difference of two AUCs"),
        "difference": _("McNemar's test"),
        "non-inferiority": _("non-inferiority"),
        "observed/expected": _("observed / expected"),
        "calibration slope": _("calibration slope"),
        "c statistic": _("c statistic (AUC)"),
        "net benefit": _("standardised net benefit"),
        "shrinkage": _("shrinkage of the coefficients"),
        "optimism": _("optimism in R2"),
        "overall risk": _("overall risk"),
        "mean error": _("mean error of the risks"),
    }[name]


def of_criterion(made: Plan, name: str) -> str:
    """Return what a criterion asks for, in short."""
    given = made.values
    if name in ("sensitivity", "specificity"):
        return f"{units.percent(given[name])} ± {points(given['width'])}"
    if name == "auc":
        if given["null_auc"] is None:
            return f"{given['auc']:.3g} ± {given['width']:g}"
        return _("{auc} against {null}").format(auc=f"{given['auc']:.3g}", null=f"{given['null_auc']:.3g}")
    if name == "auc difference":
        return _("{auc} against {null}").format(auc=f"{given['auc']:.3g}", null=f"{given['other_auc']:.3g}")
    if name == "difference":
        return points(given["difference"])
    if name == "non-inferiority":
        return f"> -{points(given['margin'] / 100)}"
    widths = {
        "observed/expected": "oe_width",
        "calibration slope": "slope_width",
        "c statistic": "auc_width",
        "net benefit": "benefit_width",
    }
    if name in widths:
        return _("interval of width {width}").format(width=f"{given[widths[name]]:g}")
    if name == "overall risk":
        return f"{units.percent(given['prevalence'])} ± {points(given['risk_width'])}"
    if name == "mean error":
        return f"≤ {points(given['mean_error'])}"
    least = name == "shrinkage"
    return f"≥ {given['shrinkage']:g}" if least else f"≤ {given['optimism']:g}"


def points(share: float) -> str:
    """Return a share as percentage points."""
    return _("{points} percentage points").format(points=f"{100 * share:.3g}")


def number(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.3g}" if abs(value) < 100 else f"{value:g}"


def references(made: Plan) -> list[str]:
    """Return the papers whose formulas were used."""
    found = [*QUESTIONS[made.question].references]
    if made.question == "sensitivity" and made.values["interval"] == "normal":
        found.remove(questions.WILSON)
    if made.question == "methods":
        found.remove(questions.CONNOR if questions.by_margin(made.values) else questions.LIU)
    return [*found, KISH] if made.effect > 1 else found


def protocol(made: Plan) -> str:
    """Return a sentence for a protocol, with the numbers, the assumptions and the source."""
    given, needed = made.values, made.patients
    text = {
        "sensitivity": _(
            "With an expected sensitivity of {sensitivity} and specificity of {specificity} at a prevalence of "
            "{prevalence}, {patients} patients ({diseased} with the disease) give two-sided {level} confidence "
            "intervals ({interval}) of ±{width} (Buderer 1996)."
        ),
        "auc": _(
            "With an expected AUC of {auc} at a prevalence of {prevalence}, {patients} patients ({diseased} with the "
            "disease) give a two-sided {level} confidence interval of ±{half} (Hanley and McNeil 1982)."
        ),
        "null": _(
            "With an expected AUC of {auc} at a prevalence of {prevalence}, {patients} patients ({diseased} with the "
            "disease) give a power of {power} to reject an AUC of {null_auc} at a two-sided significance level of "
            "{alpha} (Hanley and McNeil 1982)."
        ),
        "two-aucs": _(
            "With expected AUCs of {auc} and {other_auc} on the same patients, correlated by {correlation}, and a "
            "prevalence of {prevalence}, {patients} patients ({diseased} with the disease) give a power of {power} to "
            "detect the difference at a two-sided significance level of {alpha} (Hanley and McNeil 1983)."
        ),
        "methods": _(
            "If {discordant} of cases are decided correctly by only one of the two methods, {patients} patients "
            "({diseased} with the disease) give McNemar's test a power of {power} to detect a difference of "
            "{difference} in {compared} at a two-sided significance level of {alpha} (Connor 1987)."
        ),
        "margin": _(
            "If two methods have the same {compared} and {discordant} of cases are decided correctly by only one of "
            "them, {patients} patients ({diseased} with the disease) give a power of {power} to show that one is not "
            "inferior to the other by {margin}, with a two-sided {level} confidence interval (Liu et al. 2002)."
        ),
        "validation": _(
            "With an expected c statistic of {auc} and an outcome proportion of {prevalence}, {patients} patients "
            "({diseased} with the outcome) are needed to estimate calibration and discrimination with the targeted "
            "{level} confidence intervals; the largest number comes from: {largest} (Riley et al. 2021, 2024)."
        ),
        "development": _(
            "With {parameters} candidate parameters, an outcome proportion of {prevalence} and a Cox-Snell R2 of {r2}, "
            "{patients} patients ({diseased} with the outcome, {epp} for each parameter) are needed; the largest "
            "number comes from: {largest} (Riley et al. 2020)."
        ),
    }[_protocol_of(made)]
    filled = {name: number(value) for name, value in given.items() if value is not None}
    filled |= {
        name: units.percent(given[name])
        for name in ("sensitivity", "specificity", "prevalence", "power", "discordant")
        if given.get(name) is not None
    }
    filled |= {name: points(given[name]) for name in ("width", "difference") if name in given}
    largest = max(made.criteria, key=lambda name: made.criteria[name])
    diseased = made.diseased(needed)
    filled |= {
        "patients": units.whole(needed),
        "diseased": units.whole(diseased),
        "level": f"{100 * given['level']:g} %",
        "alpha": f"{100 * (1 - given['level']):.3g} %",
        "half": f"{given.get('width', 0):g}",
        "largest": criterion(largest),
    }
    if made.question == "sensitivity":
        filled["interval"] = "Wilson" if given["interval"] == "wilson" else _("normal approximation")
    if made.question == "methods":
        filled["compared"] = criterion_compared(given["compared"])
    if questions.by_margin(given):
        filled["margin"] = points(given["margin"] / 100)
    if made.question == "development":
        filled |= {
            "r2": f"{questions.r2(given):.3g}",
            "epp": f"{needed * given['prevalence'] / given['parameters']:.2g}",
        }
    return text.format(**filled) + clustered(made)


def _protocol_of(made: Plan) -> str:
    """Return the key of a plan's sentence for the protocol."""
    if made.question == "auc" and made.values["null_auc"] is not None:
        return "null"
    return "margin" if questions.by_margin(made.values) else made.question


def about_development(made: Plan) -> list[str]:
    """Return where the formulas of a development are known to fail."""
    given, found = made.values, []
    if questions.r2(given) > sample_size.r2_of_auc(given["prevalence"], STRONG):
        found.append(
            _(
                "The model is expected to be strong (AUC above {auc}): the formula of the shrinkage then gives too few "
                "patients. Of an AUC of 0.85 at least 50 % more are needed, of 0.9 twice as many (Pavlou et al. 2024, "
                "https://doi.org/10.1186/s12874-024-02268-5)."
            ).format(auc=STRONG)
        )
    if given["parameters"] > sample_size.MOST_PARAMETERS:
        text = _("The formula of the mean error was fitted for at most {count} parameters.")
        found.append(text.format(count=sample_size.MOST_PARAMETERS))
    return found


def criterion_compared(name: str) -> str:
    return _("accuracy") if name == "accuracy" else criterion(name)


def clustered(made: Plan) -> str:
    """Return the sentence on several images of a patient; "" for one image of each."""
    given = made.values
    if given["images"] == 1:
        return ""
    text = _(
        "Each patient contributes {images} images on average with an intraclass correlation of {icc} (design effect "
        "{effect}), so {all} images are expected."
    )
    return " " + text.format(
        images=number(given["images"]),
        icc=number(given["icc"]),
        effect=f"{made.effect:.3g}",
        all=units.whole(made.images),
    )


def assumptions(made: Plan) -> list[str]:
    """Return what the formulas take for granted, in sentences."""
    given = made.values
    found = [
        _("Patients come as they do in practice, so that the share with the disease is the prevalence on average.")
    ]
    if made.question in ("auc", "two-aucs"):
        found.append(_("The variance of an AUC is that of scores with exponential distributions."))
    if made.question == "two-aucs":
        found.append(_("correlation is that of the two areas, which is somewhat lower than that of the scores."))
    if questions.by_margin(given):
        found.append(_("The two methods are equal, and the interval is that of the normal approximation."))
    elif made.question == "methods":
        found.append(_("The test is McNemar's without correction, by the normal approximation."))
    if made.question == "validation":
        found.append(
            _(
                "The model is taken as well calibrated, with normally distributed log-odds: mean {mean}, SD {sd}."
            ).format(mean=f"{questions.predictor(given).mean:.3g}", sd=f"{questions.predictor(given).sd:.3g}")
        )
    if made.question == "development":
        source = _("The Cox-Snell R2 is given.")
        if given["r2"] is None:
            source = _("The Cox-Snell R2 of {r2} is that of the AUC, for normally distributed log-odds.")
            if given["auc"] is None:
                source = _("Nothing is known of the model: its Cox-Snell R2 of {r2} is 15 % of the largest possible.")
        found.append(source.format(r2=f"{questions.r2(given):.3g}"))
    found.append(_("Nobody drops out, and no result is missing: add those whom you expect to lose."))
    return found


def drawn_curve(made: Plan) -> bytes:
    """Plot the patients against the assumption that varies, with the plan's own value marked, as PNG."""
    from matplotlib.ticker import FuncFormatter

    varies = QUESTIONS[made.question].varies
    figure = plotting.new_figure(6.4, 3.4)
    axes = figure.subplots()
    plotting.style_axes(axes, varies, _("patients"))
    axes.plot(*zip(*made.curve, strict=True), marker="o", markersize=4, linewidth=1.6, **plotting.line_style(0))
    axes.plot(made.values[varies], made.patients, "o", markersize=10, fillstyle="none", color=plotting.COLOURS[1])
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda n, _place: units.count(n)))
    return plotting.as_png(figure)
