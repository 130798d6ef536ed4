"""Reads messages with the Python packages cloudevents and aws-lambda-powertools, as their documentation tells.

Usage: read.py MESSAGES SCHEMAS. MESSAGES has one JSON line per message: {"record": an SQS record as Lambda hands it over}. Prints
one JSON line for each: the event as the SDK read it, its data as JSON or as bytes; or the error. SCHEMAS is the folder of JSON Schemas, which structured
bodies and tidegate's own data are held against.
"""

import base64
import json
import pathlib
import sys

from aws_lambda_powertools.utilities.data_classes import SQSEvent
from aws_lambda_powertools.utilities.parser.models import SqsModel
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.v1.http import from_http
from jsonschema import Draft202012Validator

STRUCTURED = "application/cloudevents+json"


def schemas(folder):
    """Validators by the schema's identifier."""
    read = [json.loads(path.read_text()) for path in sorted(pathlib.Path(folder).glob("*.json"))]
    for schema in read:
        Draft202012Validator.check_schema(schema)
    checker = Draft202012Validator.FORMAT_CHECKER
    return {schema["$id"]: Draft202012Validator(schema, format_checker=checker) for schema in read}


def read(record, validators):
    event = {"Records": [record]}
    (of_model,) = SqsModel.model_validate(event).Records
    (of_class,) = SQSEvent(event).records
    assert of_model.body == of_class.body == record["body"]
    headers = {name: value["stringValue"] for name, value in record["messageAttributes"].items()}
    body = record["body"].encode()
    if headers.get("content-transfer-encoding") == "base64":
        body = base64.b64decode(body, validate=True)
    read = from_http_event(HTTPMessage(headers, body), JSONFormat())
    # The interface of the SDK's first version, which most readers still have. Left alone it takes any bytes for JSON and fails where
    # they are nested deeply.
    first = from_http(headers, body, data_unmarshaller=lambda data: data)
    for name in ("id", "source", "type", "subject", "sequence"):
        assert first.get(name) == read.get_attributes().get(name), f"{name}: {first.get(name)}"
    attributes = read.get_attributes()
    if headers["content-type"].startswith(STRUCTURED):
        validators["urn:tidegate:schema:envelope:1"].validate(json.loads(body))
    if "dataschema" in attributes:
        validators[attributes["dataschema"]].validate(read.get_data())
    data = read.get_data()
    is_bytes = isinstance(data, (bytes, bytearray))
    return {
        **{name: attributes.get(name) for name in ("id", "source", "type", "subject", "sequence", "datacontenttype")},
        "bytes": base64.b64encode(data).decode() if is_bytes else None,
        "data": None if is_bytes or data is None else json.dumps(data),
    }


def main():
    messages, folder = sys.argv[1:]
    validators = schemas(folder)
    for line in pathlib.Path(messages).read_text().splitlines():
        try:
            said = read(json.loads(line)["record"], validators)
        except (Exception, RecursionError) as error:  # whatever a reader raises is the finding
            said = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(said))


main()
