"""What a publication does to the version that answers requests which name none."""

import dataclasses
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

from tensor_jupyter.context import Context
from tensor_jupyter.data import LabelledImages
from tensor_jupyter.errors import LabError
from tensor_jupyter.publishing import default_version
from tensor_jupyter.publishing import export as exporting
from tensor_jupyter.publishing.default_version import decide
from tensor_jupyter.publishing.registry import Registry
from tensor_jupyter.publishing.release_gate import check_version
from tensor_jupyter.publishing.replay import replay
from tensor_jupyter.publishing.samples import Sample, write_golden_samples


@pytest.fixture
def publish(brightness_net, brightness_data, settings, monkeypatch):
    """publish(right, data, number): the decision about one more version of `b`; right: whether it answers so."""
    monkeypatch.setattr(exporting, "check", replay)
    decisions = []
    monkeypatch.setattr(exporting, "decide", lambda *given: decisions.append(decide(*given)))
    good = brightness_net.get_weights()

    def one(right=True, data=brightness_data, number=None):
        kernel, bias = good
        brightness_net.set_weights(good if right else [-kernel, 1 - bias])
        exporting.export(brightness_net, Context("b", number, settings), data, metrics={"test_accuracy": 1.0})
        return decisions[-1]

    return one


@pytest.fixture
def registry(settings):
    return Registry(settings.models, "b")


def default(registry):
    return registry.settings().default(registry.numbers())


def stand_in(data):
    return dataclasses.replace(data, name="brightness-drawn", stand_in_for="brightness")


def test_the_first_version_is_the_default_and_a_stand_in_is_named(publish, registry, brightness_data):
    decision = publish(data=stand_in(brightness_data))
    assert (decision.version, decision.is_default) == (1, True)
    assert "trained on brightness-drawn, a stand-in for brightness" in decision.message
    assert registry.settings().document == {}


def test_a_version_as_good_takes_over_without_labels(publish, registry):
    publish()
    assert publish().is_default
    assert default(registry) == 2
    assert registry.settings().document == {}


def test_the_present_version_answers_while_the_new_one_is_measured(publish, registry, monkeypatch):
    publish()
    seen = []
    gate = default_version.release_gate.check_version
    monkeypatch.setattr(
        default_version.release_gate, "check_version", lambda *a, **b: seen.append(default(registry)) or gate(*a, **b)
    )
    assert publish().is_default
    assert seen == [1]
    assert default(registry) == 2


def test_a_publication_that_was_killed_before_the_decision_leaves_the_next_one_free(publish, registry):
    publish()
    registry.hold_default([1])
    assert registry.settings().labels == {"stable": 1}
    assert publish().is_default
    assert registry.settings().document == {}


def test_a_worse_version_is_a_candidate_until_it_is_promoted(publish, registry, caplog):
    publish()
    decision = publish(right=False)
    assert (decision.version, decision.default) == (2, 1)
    assert registry.settings().labels == {"stable": 1, "candidate": 2}
    assert registry.settings().listed([1, 2]) == [1, 2]
    assert registry.report(2)["default"]["default"] == 1
    for words in ("accuracy is", "version 1 stays the default", "`lab models promote b 2`"):
        assert words in caplog.text
    registry.promote(2, "stable")
    assert registry.settings().labels == {"stable": 2}


def test_a_good_version_moves_stable_along_and_ends_the_candidate(publish, registry, caplog):
    publish()
    publish(right=False)
    caplog.clear()
    caplog.set_level(logging.WARNING)
    assert publish().is_default
    assert registry.settings().labels == {"stable": 3}
    assert caplog.text == ""


def test_a_stand_in_does_not_replace_a_version_that_was_trained_on_the_real_set(publish, registry, brightness_data):
    publish()
    decision = publish(data=stand_in(brightness_data))
    assert "stand-in for brightness" in decision.message
    assert registry.settings().labels == {"stable": 1, "candidate": 2}


def test_a_stand_in_replaces_another_one_and_the_real_set_replaces_it(publish, registry, brightness_data):
    publish(data=stand_in(brightness_data))
    assert publish(data=stand_in(brightness_data)).is_default
    assert publish().is_default
    assert default(registry) == 3


def test_what_a_person_pinned_or_labelled_is_left_alone(publish, registry):
    publish()
    publish()
    registry.rollback([1, 2])
    assert "b is pinned to 1: `lab models promote b 3` makes the new version the default" in publish().message
    registry.promote(3, "stable")
    decision = publish()
    assert (decision.default, registry.settings().labels) == (3, {"stable": 3})
    assert "stable of b is version 3" in decision.message


def test_it_is_measured_on_the_present_versions_test_set_too(
    publish, registry, brightness_data, monkeypatch, brightness_net
):
    """Right about its own images, all of them light, and wrong about half of the present version's."""
    publish()
    monkeypatch.setattr(default_version, "held_out", lambda *_: brightness_data)
    light = brightness_data.test.labels == 0
    own = LabelledImages(brightness_data.test.images[light], brightness_data.test.labels[light])
    mine = dataclasses.replace(brightness_data, name="light-only", train=own, test=own)
    kernel, _ = brightness_net.get_weights()
    brightness_net.set_weights([np.zeros_like(kernel), np.array([1.0, 0.0])])
    monkeypatch.setattr(brightness_net, "set_weights", lambda _: None)
    decision = publish(data=mine)
    checks = {check["name"]: check["passed"] for check in registry.report(2)["checks"]}
    assert (checks["accuracy"], checks["accuracy on brightness"]) == (True, False)
    assert registry.settings().labels == {"stable": 1, "candidate": 2}
    assert "images of brightness" in decision.message


def test_where_the_present_versions_test_set_cannot_be_had_it_is_a_candidate(publish, registry, brightness_data):
    publish()
    decision = publish(data=dataclasses.replace(brightness_data, name="mine"))
    assert "it cannot be measured with the test set of version 1" in decision.message
    assert registry.settings().labels == {"stable": 1, "candidate": 2}


def test_a_publication_that_fails_does_not_leave_the_default_pinned(publish, registry, monkeypatch):
    publish()
    seen = []

    def no_room(*_, **__):
        seen.append(registry.settings().labels)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting, "publish", no_room)
    with pytest.raises(LabError, match="is full, so nothing was published"):
        publish()
    assert seen == [{"stable": 1}]
    assert registry.settings().document == {}
    registry.label("stable", 1)
    with pytest.raises(LabError, match="is full, so nothing was published"):
        publish()
    assert registry.settings().labels == {"stable": 1}  # a person's


def test_a_version_that_cannot_be_measured_leaves_the_default(publish, registry, monkeypatch):
    publish()
    monkeypatch.setenv("LAB_GATE_IMAGES", "many")
    decision = publish()
    assert decision.default == default(registry) == 1
    for words in ("without a report: LAB_GATE_IMAGES is 'many'", "`lab models promote b 2` measures the new one"):
        assert words in decision.message
    monkeypatch.delenv("LAB_GATE_IMAGES")
    assert publish().is_default
    assert registry.settings().document == {}


def test_a_present_version_that_does_not_load_is_replaced(publish, registry, brightness_data):
    publish()
    (registry.folder(1) / "saved_model.pb").write_bytes(b"torn")
    assert publish(data=stand_in(brightness_data)).is_default
    assert default(registry) == 2


@pytest.mark.parametrize(
    ("run", "specs"),
    [
        (lambda images: {"scores": tf.reshape(images, (-1, 999))}, [tf.TensorSpec((None, 2, 2, 1), name="images")]),
        (lambda: {"scores": tf.ones((1, 2))}, []),
    ],
)
def test_what_the_graph_cannot_run_is_a_check(settings, brightness_data, run, specs):
    module, folder = tf.Module(), settings.models / "m" / "1"
    module.run = tf.function(run, specs)
    tf.saved_model.save(module, str(folder), {"serving_default": module.run})
    write_golden_samples(folder, "m", [Sample("serving_default", {"images": np.ones((1, 2, 2, 1), np.float32)}, {})])
    checks = {check.name: check for check in check_version(folder, None, brightness_data).checks}
    assert checks["latency"].passed is False
    assert "cannot be run with a golden sample" in checks["latency"].message
    assert checks["accuracy"].passed is None


def test_without_data_it_is_measured_on_the_present_versions_test_set(publish, registry, brightness_data, monkeypatch):
    assert publish(data=None).is_default
    assert publish().is_default
    assert publish(data=None).default == 2  # whose test set cannot be had
    monkeypatch.setattr(default_version, "held_out", lambda *_: brightness_data)
    assert publish(right=False, data=None).default == 2
    assert publish(data=None).is_default
    assert registry.settings().labels == {"stable": 5}


def test_models_without_images_are_published_without_data(settings, monkeypatch):
    monkeypatch.setattr(exporting, "check", replay)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    for number in (1, 2):
        published = exporting.export(model, Context("numbers", settings=settings))
        found = Registry(settings.models, "numbers").report(number)["default"]
        assert (published.name, found["default"]) == (str(number), number)


def test_a_model_that_takes_other_images_than_the_present_version_is_a_candidate(
    publish, registry, brightness_data, settings, monkeypatch
):
    publish()
    monkeypatch.setattr(default_version, "held_out", lambda *_: brightness_data)
    exporting.export(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]), Context("b", settings=settings))
    assert registry.settings().labels == {"stable": 1, "candidate": 2}
    assert "does not take images as those of brightness" in registry.report(2)["default"]["message"]


def test_a_lower_number_is_compared_with_the_present_version(publish, registry):
    publish(number=5)
    decision = publish(right=False, number=2)
    assert (decision.default, registry.settings().labels) == (5, {"stable": 5, "candidate": 2})
    assert publish(number=3).is_default
    assert registry.settings().labels == {"stable": 3}


def test_unpin_has_the_newest_version_answer_again(publish, registry):
    publish()
    publish()
    registry.rollback([1, 2])
    assert (registry.unpin(), registry.settings().document) == (2, {})
    registry.promote(1, "stable")
    assert publish().default == 1
    assert registry.unpin() == 3
    assert publish().is_default
    assert registry.settings().document == {}
