"""Classifying by the rules: a picture on which a model is unsure goes to the model its rule names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from .classify import Answer, Ranking
from .errors import ApiError
from .glyphs import Pixels
from .inference.concept import Concept
from .models import Target
from .rules import Rule, Rules

Classify = Callable[[Target, Sequence[bytes]], Answer]


@dataclass(frozen=True)
class Verdict:
    """What was said of one picture in the end, by which answer, and the rules that fired on the way.

    `concept`: how foreign the picture is to that answer's model, where that is known in time.
    `unsure`: the best score is below the rule of the model that answered, or of the one before if that one failed.
    """

    answer: Answer
    ranking: Ranking | ApiError
    pixels: Pixels | ApiError
    unsure: bool = False
    fired: tuple[dict[str, Any], ...] = field(default=())
    concept: Concept | None = None


class Judgement(NamedTuple):
    """One verdict for each picture, and every answer that was asked for on the way, that of the asked model first."""

    verdicts: list[Verdict]
    answers: list[Answer]


def classify(ask: Classify, rules: Rules, target: Target, pictures: Sequence[bytes]) -> Judgement:
    """Ask the model, and by its rule others. Rules apply only to requests that name no version or label."""
    answer = ask(target, pictures)
    concepts = answer.concepts or [None] * len(answer.rankings)
    found = zip(answer.rankings, answer.pixels, concepts, strict=True)
    verdicts = [Verdict(answer, ranking, pixels, concept=concept) for ranking, pixels, concept in found]
    rule = rules.get(target.model) if target == Target(target.model) else None
    if rule is None:
        return Judgement(verdicts, [answer])
    unsure = [
        number
        for number, verdict in enumerate(verdicts)
        if not isinstance(verdict.ranking, ApiError) and verdict.ranking[0][1] < rule.min_score
    ]
    for number in unsure:
        verdicts[number] = _fired(verdicts[number], rule)
    if rule.then is None or not unsure:
        return Judgement(verdicts, [answer])
    try:
        second = classify(ask, rules, Target(rule.then), [pictures[number] for number in unsure])
    except ApiError as error:  # an unsure answer is better than none
        for number in unsure:
            (fired,) = verdicts[number].fired
            verdicts[number] = replace(verdicts[number], fired=({**fired, "error": str(error)},))
        return Judgement(verdicts, [answer])
    for number, verdict in zip(unsure, second.verdicts, strict=True):
        verdicts[number] = replace(verdict, fired=verdicts[number].fired + verdict.fired)
    return Judgement(verdicts, [answer, *second.answers])


def _fired(verdict: Verdict, rule: Rule) -> Verdict:
    """The verdict with a note of the rule; its ranking is there."""
    answer = verdict.answer
    score = 0.0 if isinstance(verdict.ranking, ApiError) else verdict.ranking[0][1]
    note = {"model": answer.model, "version": answer.version, "score": round(score, 6), **rule.model_dump()}
    return replace(verdict, unsure=True, fired=(note,))
