"""Classification with rules: an image on which a model is unsure is sent to the model that its rule names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from tensor_rest.errors import ApiError
from tensor_rest.images.preprocess import Pixels
from tensor_rest.inference.classifier import Answer, Ranking
from tensor_rest.inference.concept import Concept
from tensor_rest.inference.metadata import Target
from tensor_rest.inference.rules import Rule, Rules

Classify = Callable[[Target, Sequence[bytes]], Answer]


@dataclass(frozen=True)
class Classification:
    """The final classification of one image, the answer it is from, and the rules that fired.

    `concept`: how unlike that model's training data the image is, if its score arrived in time.
    `unsure`: the best score is below the threshold of the model that answered.
    """

    answer: Answer
    ranking: Ranking | ApiError
    pixels: Pixels | ApiError
    unsure: bool = False
    fired: tuple[dict[str, Any], ...] = field(default=())
    concept: Concept | None = None


class ClassificationRun(NamedTuple):
    """One classification for each image, and all answers received, that of the requested model first."""

    classifications: list[Classification]
    answers: list[Answer]


def classify(classify_once: Classify, rules: Rules, target: Target, images: Sequence[bytes]) -> ClassificationRun:
    """Classify with the target's model; images on which it is unsure also with the model its rule names, and so on.

    Rules apply only to requests that name no version or label.
    """
    answer = classify_once(target, images)
    concepts = answer.concepts or [None] * len(answer.rankings)
    found = zip(answer.rankings, answer.pixels, concepts, strict=True)
    classifications = [Classification(answer, ranking, pixels, concept=concept) for ranking, pixels, concept in found]
    rule = rules.get(target.model) if target == Target(target.model) else None
    if rule is None:
        return ClassificationRun(classifications, [answer])
    unsure = [
        number
        for number, classification in enumerate(classifications)
        if not isinstance(classification.ranking, ApiError) and classification.ranking[0][1] < rule.min_score
    ]
    for number in unsure:
        classifications[number] = _fired(classifications[number], rule)
    if rule.then is None or not unsure:
        return ClassificationRun(classifications, [answer])
    try:
        second = classify(classify_once, rules, Target(rule.then), [images[number] for number in unsure])
    except ApiError as error:  # an unsure answer is better than none
        for number in unsure:
            (fired,) = classifications[number].fired
            classifications[number] = replace(classifications[number], fired=({**fired, "error": str(error)},))
        return ClassificationRun(classifications, [answer])
    for number, classification in zip(unsure, second.classifications, strict=True):
        classifications[number] = replace(classification, fired=classifications[number].fired + classification.fired)
    return ClassificationRun(classifications, [answer, *second.answers])


def _fired(classification: Classification, rule: Rule) -> Classification:
    """Return the classification with the rule noted; its ranking must not be an error."""
    answer = classification.answer
    score = 0.0 if isinstance(classification.ranking, ApiError) else classification.ranking[0][1]
    note = {"model": answer.model, "version": answer.version, "score": round(score, 6), **rule.model_dump()}
    return replace(classification, unsure=True, fired=(note,))
