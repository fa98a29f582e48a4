"""Reads a Kafka topic by Confluent's own deserializer of protobuf, as it comes from PyPI.

The classes come from the .proto files, by protoc, and from nowhere else. Each record is also put into the
wire format by Confluent's own serializer: what stands before the message must be what stands there.

Usage: confluent_protobuf.py BROKER REGISTRY TOPIC FROM COUNT FOLDER FILE MESSAGE...
Prints the JSON of each of COUNT records; MESSAGE... are the names that a record may have in ce_messagetype.
"""

import importlib
import json
import os
import sys
import tempfile

import grpc_tools
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import symbol_database
from google.protobuf.json_format import MessageToDict
from grpc_tools import protoc

broker, registry, topic, first, count, folder, file = sys.argv[1:8]
names = sys.argv[8:]


def compile_files() -> None:
    made = tempfile.mkdtemp()
    sys.path.insert(0, made)
    googles = f"{os.path.dirname(grpc_tools.__file__)}/_proto"
    paths = [f"-I{folder}", f"-I{googles}", f"--python_out={made}"]
    if protoc.main(["protoc", *paths, f"{folder}/{file}", *imports()]):
        raise SystemExit("protoc has failed")
    importlib.import_module(file.removesuffix(".proto").replace("/", ".") + "_pb2")


def imports() -> list:
    with open(f"{folder}/{file}", encoding="utf-8") as text:
        lines = [line.split('"')[1] for line in text if line.startswith("import ")]
    return [f"{folder}/{name}" for name in lines if not name.startswith("google/")]


def records() -> list:
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "confluent-protobuf"})
    consumer.assign([TopicPartition(topic, 0, int(first))])
    read = consumer.consume(int(count), timeout=60)
    if len(read) < int(count):
        raise SystemExit(f"{len(read)} records of {count}")
    return read


compile_files()
client = SchemaRegistryClient({"url": registry})
classes = {name: symbol_database.Default().GetSymbol(name) for name in names}
read_by = {name: ProtobufDeserializer(known, {}, client) for name, known in classes.items()}
written_by = {name: ProtobufSerializer(known, client, {}) for name, known in classes.items()}
context = SerializationContext(topic, MessageField.VALUE)
for record in records():
    name = dict(record.headers())["ce_messagetype"].decode()
    message = read_by[name](record.value(), context)
    payload = message.SerializePartialToString()
    theirs = written_by[name](message, context)
    prefix = len(theirs) - len(payload)
    if record.value()[:prefix] != theirs[:prefix]:
        raise SystemExit(f"{name}: {record.value()[:prefix].hex()}, and theirs is {theirs[:prefix].hex()}")
    print(json.dumps(MessageToDict(message, preserving_proto_field_name=True)))
