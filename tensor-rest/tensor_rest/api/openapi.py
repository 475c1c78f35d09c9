"""Converts the Swagger 2.0 document that Flask-RESTX generates into OpenAPI 3.1, which client generators require."""

from typing import Any

Document = dict[str, Any]

_METHODS = ("get", "post", "put", "delete")
_JSON, _FORM, _TEXT = "application/json", "multipart/form-data", "text/plain"
_ABOUT_PARAMETER = ("name", "in", "description", "required")


def convert(swagger: Document) -> Document:
    """The OpenAPI 3.1 document with the operations of `swagger`."""
    components = {"schemas": {name: _schema(each) for name, each in swagger.get("definitions", {}).items()}}
    if "securityDefinitions" in swagger:
        components["securitySchemes"] = swagger["securityDefinitions"]
    document = {
        "openapi": "3.1.0",
        "info": swagger["info"],
        "servers": [{"url": "/", "description": "This gateway"}],
        "tags": swagger.get("tags", []),
        "paths": {path: _path_item(item) for path, item in swagger["paths"].items()},
        "components": components,
    }
    if "security" in swagger:
        document["security"] = swagger["security"]
    return document


def _path_item(item: Document) -> Document:
    found: Document = {method: _operation(item[method]) for method in _METHODS if method in item}
    if "parameters" in item:
        found["parameters"] = [_parameter(each) for each in item["parameters"]]
    return found


def _operation(operation: Document) -> Document:
    left_out = ("parameters", "consumes", "produces", "responses")
    found = {key: value for key, value in operation.items() if key not in left_out}
    parameters = operation.get("parameters", [])
    plain = [_parameter(each) for each in parameters if each["in"] not in ("body", "formData")]
    if plain:
        found["parameters"] = plain
    if fields := [each for each in parameters if each["in"] == "formData"]:
        found["requestBody"] = {"required": True, "content": {_FORM: {"schema": _form(fields)}}}
    for each in parameters:
        if each["in"] == "body":
            found["requestBody"] = {"required": bool(each.get("required")), "content": {_JSON: _body(each["schema"])}}
    produces = operation.get("produces", [_JSON])
    found["responses"] = {status: _response(each, produces) for status, each in operation["responses"].items()}
    return found


def _parameter(parameter: Document) -> Document:
    found = {key: parameter[key] for key in _ABOUT_PARAMETER if key in parameter}
    schema = _schema({key: value for key, value in parameter.items() if key not in _ABOUT_PARAMETER})
    if parameter["in"] == "path":
        # A generated client also calls models that are served later: those served now are examples, not an enum.
        if (default := schema.pop("default", None)) is not None:
            found["example"] = default
        schema.pop("enum", None)
    return {**found, "schema": schema}


def _form(fields: list[Document]) -> Document:
    properties = {}
    for each in fields:
        schema = {key: value for key, value in each.items() if key not in ("name", "in", "required")}
        if schema.get("type") == "file":
            schema |= {"type": "string", "format": "binary"}
        properties[each["name"]] = _schema(schema)
    required = [each["name"] for each in fields if each.get("required")]
    return {"type": "object", "properties": properties, "required": required}


def _body(schema: Document) -> Document:
    """Return the media type object of a body: the schema's example moves to it."""
    plain = {key: value for key, value in schema.items() if key != "example"}
    if plain.keys() == {"allOf"} and len(plain["allOf"]) == 1:
        plain = plain["allOf"][0]
    return {"schema": _schema(plain), **({"example": schema["example"]} if "example" in schema else {})}


def _response(response: Document, produces: list[str]) -> Document:
    if "schema" in response:
        content = {_JSON: {"schema": _schema(response["schema"])}}
    elif produces[0] == _TEXT:
        content = {_TEXT: {"schema": {"type": "string"}}}
    else:
        content = {_JSON: {"schema": {}}}
    return {"description": response["description"], "content": content}


def _schema(schema: Document) -> Document:
    """Convert a schema to JSON Schema 2020-12."""
    found: Document = {}
    for key, value in schema.items():
        if key == "properties":
            found[key] = {name: _schema(each) for name, each in value.items()}
        elif key == "allOf":
            found[key] = [_schema(each) for each in value]
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            found[key] = _schema(value)
        else:
            found[key] = value
    if "$ref" in found:
        found["$ref"] = found["$ref"].replace("#/definitions/", "#/components/schemas/")
    if found.pop("x-nullable", False):
        found["type"] = [found["type"], "null"]
    if "example" in found:
        found["examples"] = [found.pop("example")]
    return found
