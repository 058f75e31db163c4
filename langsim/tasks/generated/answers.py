"""QA at `mini`: the value of a field whose label the question writes in another form.

The context is a list of localized fields ("5/3/22: 14:05; 6/3/22: 9:30; ..."), the question the label of one of them in
another form ("May 3, 2022"), the answer that field's value. Labels near the asked one (one field of the date changed)
are among the others. It measures matching of forms and copying; no sentence is read.
"""

from collections.abc import Sequence

from langsim.tasks.base import Answer
from langsim.tasks.generated import rendering
from langsim.tasks.generated.locale_data import DAYS, MONTHS, unavailable
from langsim.tasks.generated.meanings import Draw
from langsim.tasks.generated.recipe import Recipe

NAME = "mini-qa"
FORMS = (("date:long", "date:short"), ("date:full", "yMd"), ("yMMMM", "yM"))  # of the question, of the context
FIELDS = 4
UNITS = ("length-kilometer", "mass-kilogram", "duration-minute", "volume-liter")
NEEDS = (MONTHS, DAYS)


def unavailable_in(code: str) -> str:
    """Why this language can't have the task, or an empty string."""
    return unavailable(code, NEEDS, UNITS)


def recipe(codes: Sequence[str]) -> Recipe:
    """The task; `codes` does not matter to it."""
    return Recipe(NAME, "answer", "squad_f1", (), _draw, _render)


def values(context: str) -> list[str]:
    """The values of a context's fields, in their order: what somebody can answer who does not read the question."""
    return [field.partition(": ")[2] for field in context.split("; ")]


def _draw(draw: Draw, number: int) -> tuple:
    """(forms, kind of value, unit or currency, keys, values, number of the asked field)."""
    kind = ("clock", "amount", "quantity")[number % 3]
    asked = draw.date()
    keys = [asked]
    for _ in range(FIELDS - 1):  # another month each, for the forms without a day
        taken = {(key.year, key.month) for key in keys}
        other = draw.until(
            lambda: draw.other_date(draw.one_of(keys)), lambda key, taken=taken: (key.year, key.month) not in taken
        )
        keys.append(other)
    values: list = []
    for _ in range(FIELDS):
        values.append(draw.until(lambda: _value(draw, kind), lambda one: one not in values))
    order = draw.rng.permutation(FIELDS)
    place = int(list(order).index(0))
    unit = {"clock": "Hm", "amount": draw.one_of(("USD", "EUR", "GBP")), "quantity": draw.one_of(UNITS)}[kind]
    return FORMS[number // 3 % len(FORMS)], kind, unit, tuple(keys[i] for i in order), tuple(values), place


def _value(draw: Draw, kind: str) -> object:
    """A time of day, or a number (of hundredths, for an amount)."""
    return draw.clock() if kind == "clock" else draw.number(100, 99999)


def _render(code: str, meaning: tuple, unit: str) -> Answer | None:
    """None where both forms are one, or the answer stands in the context twice."""
    (asked_form, listed_form), kind, of, keys, values, place = meaning
    labels = [rendering.plain(rendering.moment(code, listed_form, key)) for key in keys]
    question = rendering.plain(rendering.moment(code, asked_form, keys[place]))
    told = [rendering.plain(_VALUES[kind](code, of, value)) for value in values]
    fields = [f"{label}: {value}" for label, value in zip(labels, told, strict=True)]
    context, answer = "; ".join(fields), told[place]
    if question == labels[place] or len(set(labels)) < len(labels) or context.count(answer) != 1:
        return None
    return Answer(question, context, answer, context.index(answer), unit)


_VALUES = {
    "clock": lambda code, form, value: rendering.moment(code, form, value),
    "amount": lambda code, currency, value: rendering.amount(code, value / 100, currency),
    "quantity": lambda code, unit, value: rendering.quantity(code, value, unit),
}
