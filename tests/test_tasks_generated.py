"""Labels derived again by routes of their own: texts are parsed back, intervals are enumerated."""

import datetime as dt
import subprocess
import sys
import unicodedata
from functools import cache

import babel
import numpy as np
import pytest
import regex
from scipy import stats

from langsim import languages, splits
from langsim.corpora import catalogs
from langsim.errors import UsageError
from langsim.tasks import generated, metrics, validity
from langsim.tasks.generated import locale_data

CODES = {
    "ner": ("en", "fa", "hi", "ja", "de", "id", "ru"),
    **dict.fromkeys(("pos", "nli", "pi", "qa"), ("en", "fa", "hi", "ja", "de", "sw", "ru", "id")),
}
SIZES = generated.Sizes(train=36, validation=12, test=24)
NAMES = tuple(generated.TASKS)


@cache
def task(name):
    return generated.load(name, CODES[name], sizes=SIZES)


def everything(name, code):
    return [one for examples in task(name).splits[code].values() for one in examples]


def ascii_digits(text):
    return "".join(str(unicodedata.digit(c)) if c.isdigit() else c for c in text)


@cache
def months(code):
    data = babel.Locale.parse(languages.get(code).cldr).months
    names = {name.casefold(): n for use in data.values() for w in ("wide", "abbreviated") for n, name in use[w].items()}
    return {name: number for name, number in names.items() if not name.isdigit()}


@pytest.mark.parametrize("name", NAMES)
def test_sizes_units_and_labels_are_the_same_in_every_language(name):
    found = task(name)
    assert found.languages == sorted(CODES[name]) and not found.unavailable
    assert all(sizes == vars(SIZES) for sizes in found.sizes().values())
    for split in vars(SIZES):
        units = {tuple(one.unit for one in found.examples(code, split)) for code in found.languages}
        assert len(units) == 1
    if found.kind == "pair":
        labels = {tuple(one.label for one in found.examples(code, "test")) for code in found.languages}
        assert len(labels) == 1 and len({labels_.count(x) for labels_ in labels for x in found.labels}) == 1


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_task_and_another_seed_another(name):
    small = generated.Sizes(6, 6, 6)
    one, again, other = (generated.load(name, ("de", "en"), sizes=small, seed=seed) for seed in (1, 1, 2))
    assert one.digest == again.digest != other.digest


@pytest.mark.parametrize("name", NAMES)
def test_no_residue_and_no_fallback(name):
    for code in CODES[name]:
        for one in everything(name, code):
            text = one.text
            assert not regex.search(r"[\u00a0\u200e\u200f\u202f\ue000-\ue0ff]|\{\d\}", text), text
            assert not regex.search(r"(length|mass|duration|volume|digital|temperature|area)-|\bM\d\d\b", text), text
            if code in ("fa", "hi", "ja", "ru") and name in ("nli", "qa"):  # no currency's letters, no catalog text
                assert not regex.search(r"[A-Za-z]{3}", text), text
        if code == "fa" and name != "ner":
            assert not any(regex.search(r"[0-9]", one.text) for one in everything(name, code))


def test_no_value_of_a_test_item_is_in_training():
    for name in ("pi", "qa"):
        texts = {split: {one.text for one in task(name).examples("en", split)} for split in vars(SIZES)}
        assert not texts["train"] & texts["test"]
    asked = {split: {one.question for one in task("qa").examples("en", split)} for split in ("train", "test")}
    days = {split: {text for text in found if "," in text} for split, found in asked.items()}
    assert days["test"] and not days["train"] & days["test"]  # months alone do recur: they have few values
    premises = {split: {one.first for one in task("nli").examples("en", split)} for split in ("train", "test")}
    assert not premises["train"] & premises["test"]


@pytest.mark.parametrize("code", CODES["ner"])
def test_entities_are_names_of_their_type_from_the_reserved_pool(code):
    corpus = catalogs.load()
    types = {"territory": "LOC", "city": "LOC", "language": "LANG", "currency": "CUR"}
    kinds = {}
    for item in corpus.select(domain="names", pool="TASKS"):
        kind = item.split(":")[1]
        if kind in types and item in corpus.texts[code]:
            squeezed = regex.sub(r"\s", "", corpus.texts[code][item])
            kinds.setdefault(squeezed, set()).add((types[kind], corpus.items["unit"][item]))
    units = {}
    for split in vars(SIZES):
        for one in task("ner").examples(code, split):
            spans = []
            for word, tag in zip(one.words, one.tags, strict=True):
                if tag[0] == "B":
                    spans.append([tag[2:], ""])
                assert tag == "O" or tag[2:] == spans[-1][0]
                if tag != "O":
                    spans[-1][1] += word
            assert spans
            for kind, text in spans:
                assert {k for k, _ in kinds[text]} == {kind}, text
                units.setdefault(split, set()).update(unit for _, unit in kinds[text])
    assert not units["train"] & units["test"] and not units["train"] & units["validation"]


@pytest.mark.parametrize("code", ["en", "de", "fa", "ja", "ru", "sw", "id"])
def test_fields_of_full_dates_agree_with_the_calendar(code):
    """Day, month and year as tagged make a date that falls on the weekday as tagged."""
    wide = babel.Locale.parse(code).days["format"]
    weekdays = {
        regex.sub(r"\P{L}", "", name): n for width in ("wide", "abbreviated") for n, name in wide[width].items()
    }
    checked = 0
    for one in everything("pos", code):
        fields = {}
        for word, tag in zip(one.words, one.tags, strict=True):
            if tag == "WEEKDAY":
                fields[tag] = fields.get(tag, "") + word
            elif tag in ("DAY", "MONTH", "YEAR"):
                fields.setdefault(tag, []).append(word)
        if set(map(len, (fields.get(t, ()) for t in ("DAY", "MONTH", "YEAR")))) != {1} or "WEEKDAY" not in fields:
            continue
        day, month, year = (ascii_digits(fields[tag][0]) for tag in ("DAY", "MONTH", "YEAR"))
        names = {regex.sub(r"[^\p{L}\p{M}]", "", name): n for name, n in months(code).items()}
        number = int(month) if month.isdigit() else names[month.casefold()]
        if fields["WEEKDAY"] in weekdays:
            assert dt.date(int(year), number, int(day)).weekday() == weekdays[fields["WEEKDAY"]]
            checked += 1
    assert checked >= 3


UNIT = {"week": 10080, "day": 1440, "hour": 60, "minute": 1, "kilogram": 1000, "gram": 1, "kilometer": 1000, "meter": 1}


def read_interval(text):
    """(first, last) of an English interval, by regular expressions: ordinals of days, or smallest units."""
    units = regex.findall(r"([\d,]+) ([a-z]+?)s?\b", text)
    if len(units) == 2:
        return tuple(int(n.replace(",", "")) * UNIT[unit] for n, unit in units)
    if match := regex.fullmatch(r"([A-Z]\w+) (\d{4})", text):
        first = dt.date(int(match[2]), months("en")[match[1].casefold()], 1)
        return first.toordinal(), (first + dt.timedelta(days=32)).replace(day=1).toordinal() - 1
    low, high = text.split(" – ")
    if regex.fullmatch(r"[A-Z]\w+ \d{4}", low):  # two whole months
        return read_interval(low)[0], read_interval(high)[1]
    year = regex.search(r"\d{4}$", high)[0]
    low = low if regex.search(r"\d{4}$", low) else f"{low}, {year}"
    high = high if high[0].isalpha() else f"{low.split()[0]} {high}"
    return tuple(read_day(part).toordinal() for part in (low, high))


def read_day(text):
    month, day, year = regex.fullmatch(r"(\w+) (\d+), (\d{4})", text).groups()
    return dt.date(int(year), months("en")[month.casefold()], int(day))


def test_inference_labels_by_enumeration():
    for one in everything("nli", "en"):
        premise, hypothesis = (set(range(low, high + 1)) for low, high in map(read_interval, (one.first, one.second)))
        inside, apart = premise <= hypothesis, not premise & hypothesis
        assert one.label == ("entailment" if inside else "contradiction" if apart else "neutral"), one


def test_the_widths_of_inference_do_not_tell_the_label():
    """The same widths are as common with every label, but for chance: the label is drawn after them."""
    found = generated.load("nli", ("en",), sizes=generated.Sizes(train=600, validation=3, test=150))
    widths = {}
    for one in found.examples("en", "train"):
        (a, b), (c, d) = read_interval(one.first), read_interval(one.second)
        assert d - c > b - a, "the hypothesis is the wider one, whatever the label"
        widths.setdefault(one.label, []).append((b - a, d - c))
    for label in found.labels[1:]:
        for side in (0, 1):
            one, other = ([pair[side] for pair in widths[name]] for name in (found.labels[0], label))
            assert stats.ks_2samp(one, other).pvalue > 0.001, (label, side)
    tree = validity.baselines(found)["surface"]["en"]
    assert tree < 60, tree


def test_every_language_has_as_many_messages_the_shared_first():
    from langsim.tasks.generated import entities

    codes = tuple(sorted(CODES["ner"]))
    own = {code: entities._messages(code) for code in codes}
    carriers = entities.carriers(codes)
    size = min(map(len, own.values()))
    assert {len(found) for found in carriers.values()} == {size} and size >= entities.FEWEST_MESSAGES
    often = {item: sum(item in found for found in own.values()) for found in own.values() for item in found}
    for code, found in carriers.items():
        left = set(own[code]) - {item for item, _ in found}
        assert min(often[item] for item, _ in found) >= max((often[item] for item in left), default=0)
    overlap = entities.overlap(codes)
    items = {code: {item for item, _ in carriers[code]} for code in codes}
    assert overlap.at["de", "ja"] == len(items["de"] & items["ja"]) / size and overlap.at["fa", "fa"] == 1
    few = generated.load("ner", ("en", "de", "he"), sizes=generated.Sizes(6, 3, 3)).unavailable
    assert "7 messages" in few["he"] and f"{entities.FEWEST_MESSAGES} are needed" in few["he"]


def test_the_test_has_about_as_many_names_as_the_training():
    from langsim.tasks.generated import entities

    codes = tuple(sorted(CODES["ner"]))
    n = {split: sum(map(len, entities._names(codes, split).values())) for split in vars(SIZES)}
    assert n["test"] > 0.7 * n["train"] and n["test"] > 50


def test_a_drawn_field_is_a_baseline_of_answers():
    found = task("qa")
    floor = validity.baselines(found)
    for code in ("en", "ja"):
        expected = []
        for one in found.examples(code, "test"):
            values = [field.split(": ")[1] for field in one.context.split("; ")]
            assert len(values) == 4 and one.answer in values
            expected.append(np.mean([metrics.squad_f1([one.answer], [value]) for value in values]))
        assert floor.loc[code, "drawn field"] == pytest.approx(np.mean(expected)) and np.mean(expected) > 25
        assert validity.drawn_field(found.examples(code, "test"), "squad_em") == pytest.approx(25)
    assert (floor["drawn field"] > floor["majority"]).mean() > 0.9, "the first words are no floor"


def read_any(text):
    """What an English rendering of the paraphrase task says, as text that is the same for the same meaning."""
    if " – " in text:
        parts = text.split(" – ")
        if "/" in text:
            return [read_any(part) for part in parts]
        return [dt.date.fromordinal(n).isoformat() for n in read_interval(text)]
    if match := regex.fullmatch(r"(.*), (\d\d?:\d\d)", text):
        return read_any(match[1]), match[2].zfill(5)
    if match := regex.fullmatch(r"(\d+)/(\d+)/(\d+)", text):
        return dt.date(2000 + int(match[3]) % 100, int(match[1]), int(match[2])).isoformat()
    if match := regex.search(r"[A-Z]\w+ \d+, \d{4}$", text):
        return read_day(match[0]).isoformat()
    if match := regex.fullmatch(r"([\d,]+) ([a-z]+?)s?", text):
        kind = "time" if match[2] in ("week", "day", "hour", "minute") else match[2][-3:]
        return int(match[1].replace(",", "")) * UNIT[match[2]], kind
    sign, number = regex.fullmatch(r"(\D+?)\s?([\d,.]+)", text).groups()
    return {"$": "USD", "€": "EUR", "£": "GBP", "₹": "INR"}.get(sign, sign), number


def test_paraphrase_labels_by_reading_both_sides():
    for one in everything("pi", "en"):
        assert one.label == ("same" if read_any(one.first) == read_any(one.second) else "different"), one


@pytest.mark.parametrize("code", ["en", "ja", "fa"])
def test_the_answer_is_the_value_of_the_asked_date(code):
    for one in everything("qa", code):
        fields = dict(field.split(": ") for field in one.context.split("; "))
        numbers = [int(n) for n in regex.findall(r"\d+", ascii_digits(one.question))]
        numbers += [
            months(code)[word] for word in one.question.casefold().replace(",", "").split() if word in months(code)
        ]
        wanted = sorted(n % 100 if n > 1000 else n for n in numbers)
        own = {
            label: sorted(int(n) % 100 if len(n) == 4 else int(n) for n in ascii_digits(label).split("/"))
            for label in fields
        }
        assert one.answer in [fields[label] for label in fields if own[label] == wanted], one
        assert one.context[one.start :].startswith(one.answer) and one.context.count(one.answer) == 1


def test_languages_without_data_are_named(monkeypatch):
    found = generated.load("ner", ("en", "de", "sw"), sizes=generated.Sizes(6, 3, 3))
    assert "0 messages" in found.unavailable["sw"]
    without = next(each.code for each in languages.all_languages() if not each.cldr)
    assert "no locale" in generated.load("pos", ("en", without), sizes=generated.Sizes(3, 3, 3)).unavailable[without]
    with pytest.raises(UsageError, match="no language has the data"):
        generated.load("pos", (without,))
    real = locale_data._at
    for fallback in ("root", "en"):
        monkeypatch.setattr(locale_data, "_at", lambda name, path, f=fallback: real(f if name == "sw" else name, path))
        assert locale_data.unavailable("sw", (locale_data.MONTHS,))
        assert not locale_data.unavailable("de", (locale_data.MONTHS,))


@pytest.mark.parametrize("first", ["ko", "en"])
def test_a_language_reads_the_same_whatever_was_read_before_it(first):
    """Babel resolves aliases in place: what was read of `root` once would be inherited by locales that are loaded
    later, and Korean and Nepali months would be "M 09". In processes that have read nothing yet."""
    code = f"""if True:
        from langsim.tasks import generated
        from langsim.tasks.generated import locale_data
        if {first!r} != "ko":
            locale_data.unavailable({first!r}, [locale_data.MONTHS, locale_data.DAYS, locale_data.LISTS])
        made = generated.load("pos", ["ko", "ne"], sizes=generated.Sizes(60, 20, 60))
        for code in made.languages:
            words = [word for one in made.examples(code, "train") for word in one.words]
            assert len(words) > 200 and "M" not in words, code
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_bad_requests():
    with pytest.raises(UsageError, match="generated task"):
        generated.load("pos2")
    with pytest.raises(UsageError, match="size of train"):
        generated.Sizes(train=0)
    with pytest.raises(UsageError, match="nowhere"):
        generated.load("pos", ("nowhere",))


def test_reserved_messages_alone_are_used():
    corpus = catalogs.load()
    reserved = {
        splits.normalise(corpus.texts["de"][i])
        for i in corpus.select(domain="software", pool="TASKS")
        if i in corpus.texts["de"]
    }
    from langsim.tasks.generated import entities

    assert {splits.normalise(text) for text in entities._messages("de").values()} <= reserved
