"""Small text-form config messages of TF Serving that tensorflow-serving-api does not ship.

They are declared here by field names, because text form has no field numbers, in a private descriptor pool, which
cannot clash with a package that ships the message one day.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

_KIND = descriptor_pb2.FieldDescriptorProto


class TextProtoError(Exception):
    """A file is not the expected message. The text names the file, what was found and what was expected."""


def read(file: Path, message: str, fields: Mapping[str, Any]) -> Any:
    """Return the message of this name in a file; `fields` gives each field's type by name, as in a .proto file.

    Types are string, bool, int64, a wrapper such as Int64Value, each with "repeated " before it or not; the fields of a
    message inside it are a mapping like `fields`.
    Raises TextProtoError when the file cannot be read or is not of this form.
    """
    try:
        return text_format.Parse(file.read_text(encoding="utf-8"), _message_class(message, fields)())
    except OSError as error:
        raise TextProtoError(f"{file} cannot be read: {error.strerror}") from error
    except (text_format.ParseError, UnicodeDecodeError) as error:
        wanted = ", ".join(fields)
        raise TextProtoError(f"{file} is not a {message} in text form: {error}; its fields are {wanted}") from error


def _message_class(message: str, fields: Mapping[str, Any]) -> type[Any]:
    wrappers = descriptor_pb2.FileDescriptorProto()
    wrappers_pb2.DESCRIPTOR.CopyToProto(wrappers)
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{message}.proto", package="tensorflow.serving", syntax="proto3", dependency=[wrappers.name]
    )
    _declare(file, message, fields)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(wrappers)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tensorflow.serving.{message}"))


def _declare(file: descriptor_pb2.FileDescriptorProto, message: str, fields: Mapping[str, Any]) -> None:
    declared = file.message_type.add(name=message)
    for number, (name, kind) in enumerate(fields.items(), start=1):
        field = declared.field.add(name=name, number=number, label=_KIND.LABEL_OPTIONAL, type=_KIND.TYPE_MESSAGE)
        if isinstance(kind, Mapping):
            _declare(file, name, kind)
            field.type_name = f".tensorflow.serving.{name}"
            continue
        repeated, kind = kind.startswith("repeated "), kind.removeprefix("repeated ")
        if repeated:
            field.label = _KIND.LABEL_REPEATED
        field.type = {"string": _KIND.TYPE_STRING, "bool": _KIND.TYPE_BOOL, "int64": _KIND.TYPE_INT64}.get(
            kind, _KIND.TYPE_MESSAGE
        )
        if field.type == _KIND.TYPE_MESSAGE:
            field.type_name = f".google.protobuf.{kind}"
