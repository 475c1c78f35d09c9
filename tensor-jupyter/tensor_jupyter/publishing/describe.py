"""Add a card to a written SavedModel, as one more signature; nothing else in the model changes."""

from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from tensor_jupyter.errors import LabError

_SCOPE = "tensor_lab_describe"


def add_card(folder: Path, text: str) -> None:
    """Add `describe`, index int32 [N] -> card string [N], to the graph tagged "serve" in the folder's saved_model.pb.

    Raises LabError when the model has a signature `describe` already, or is not a binary SavedModel.
    """
    path = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString(path.read_bytes())
    except (FileNotFoundError, DecodeError) as error:
        raise LabError("saved_model.pb cannot be read, so no card can be added to it.") from error
    meta = next((found for found in model.meta_graphs if "serve" in found.meta_info_def.tags), None)
    if meta is None:
        raise LabError("saved_model.pb holds no graph tagged 'serve', so no model server could serve it.")
    if "describe" in meta.signature_def:
        raise LabError(
            "The model already has a signature 'describe', with its own card: leave out --labels, --range, --size and "
            "--scores."
        )
    with tf.Graph().as_default() as graph, tf.name_scope(_SCOPE):
        index = tf.compat.v1.placeholder(tf.int32, (None,), "index")
        card = tf.fill(tf.shape(index), tf.constant(text), name="card")
        signature = tf.compat.v1.saved_model.predict_signature_def({"index": index}, {"card": card})
    meta.graph_def.node.extend(graph.as_graph_def().node)
    meta.signature_def["describe"].CopyFrom(signature)
    path.write_bytes(model.SerializeToString())
