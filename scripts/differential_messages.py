"""Random messages in every encoding that protobuf allows, also those that no serializer writes."""

import math
import random
import struct

from google.protobuf.descriptor import Descriptor, FieldDescriptor

VARINT, FIXED64, LEN, GROUP, END_GROUP, FIXED32 = range(6)

FIXED = {
    FieldDescriptor.TYPE_DOUBLE: "<d",
    FieldDescriptor.TYPE_FLOAT: "<f",
    FieldDescriptor.TYPE_FIXED32: "<I",
    FieldDescriptor.TYPE_SFIXED32: "<i",
    FieldDescriptor.TYPE_FIXED64: "<Q",
    FieldDescriptor.TYPE_SFIXED64: "<q",
}
ZIGZAG = (FieldDescriptor.TYPE_SINT32, FieldDescriptor.TYPE_SINT64)
PACKABLE = {
    field_type
    for field_type in range(1, 19)
    if field_type
    not in (
        FieldDescriptor.TYPE_STRING,
        FieldDescriptor.TYPE_BYTES,
        FieldDescriptor.TYPE_MESSAGE,
        FieldDescriptor.TYPE_GROUP,
    )
}

# Maximum nesting, and the usual number of fields in a message: both keep messages small.
DEPTH = 6
FIELDS = 6

TEXT = ["a", "Z", "0", " ", '"', "\\", "/", "\b", "\t", "\n", "\f", "\r", "\0", "\x1f", "\x7f", "é", "\u2028", "漢", "😀", "<&>"]
FLOATS = [0.0, -0.0, 1.0, -1.5, 0.1, 1e-5, 1e-4, 123456789.0, 1e15, 1e16, 1e17, 1.5e300, 5e-324, math.inf, -math.inf, math.nan,
          16777216.0, 3.4028234663852886e38, 1.1754943508222875e-38, 1e-45, 2.0**-126, 2.0**100]
SECONDS = [0, 1, -1, 1_700_000_000, -62_135_596_800, 253_402_300_799]
PATHS = ["a", "foo_bar", "a.b_c", "long_name.with_parts", "x1"]


class MessageGenerator:
    def __init__(self, pool, generator: random.Random):
        self.pool = pool
        self.random = generator
        self.well_known = {
            "google.protobuf.Timestamp": self.timestamp,
            "google.protobuf.Duration": self.duration,
            "google.protobuf.FieldMask": self.field_mask,
            "google.protobuf.Any": self.any,
        }

    def message(self, descriptor: Descriptor, depth: int = DEPTH) -> bytes:
        return b"".join(self.occurrences(descriptor, depth))

    def occurrences(self, descriptor: Descriptor, depth: int) -> list[bytes]:
        """The fields of a message, one element for each occurrence."""
        if descriptor.full_name in self.well_known and self.often(0.97):
            found = self.well_known[descriptor.full_name]()
        else:
            found = [part for field in self.some_fields(descriptor, depth) for part in self.field(field, depth)]
        if self.often(0.15):
            numbers = [field.number for field in descriptor.fields]
            found.insert(self.random.randint(0, len(found)), self.unknown(numbers))
        if self.often(0.3):
            self.random.shuffle(found)
        return found

    def some_fields(self, descriptor: Descriptor, depth: int) -> list[FieldDescriptor]:
        fields = [
            field
            for field in sorted(descriptor.fields, key=lambda field: field.number)
            if depth > 0 or field.message_type is None
        ]
        wanted = min(len(fields), self.random.choice([0, 1, 2, FIELDS, FIELDS, 40 if depth == DEPTH else 3]))
        kept = {field.number for field in self.random.sample(fields, wanted)}
        return [field for field in fields if field.number in kept]

    def field(self, field: FieldDescriptor, depth: int) -> list[bytes]:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            return [self.delimited(field.number, self.entry(field, depth)) for _ in range(self.random.randint(0, 5))]
        if field.is_repeated:
            return self.elements(field, depth)
        if field.message_type is not None:
            return self.pieces(field, depth)
        times = 2 if self.often(0.1) else 1
        return [self.value(field, depth) for _ in range(times)]

    def elements(self, field: FieldDescriptor, depth: int) -> list[bytes]:
        found = []
        for _ in range(self.random.randint(0, 3)):
            if field.type in PACKABLE and self.often(0.5):
                packed = b"".join(self.scalar(field) for _ in range(self.random.randint(0, 4)))
                found.append(self.delimited(field.number, packed))
            else:
                found.append(self.value(field, depth))
        return found

    def pieces(self, field: FieldDescriptor, depth: int) -> list[bytes]:
        """A singular message: whole, or in two pieces that a reader must merge."""
        parts = self.occurrences(field.message_type, depth - 1)
        if not self.often(0.15):
            return [self.submessage(field, b"".join(parts))]
        cut = self.random.randint(0, len(parts))
        if self.often(0.5):
            parts += self.occurrences(field.message_type, depth - 1)
        return [self.submessage(field, b"".join(parts[:cut])), self.submessage(field, b"".join(parts[cut:]))]

    def entry(self, field: FieldDescriptor, depth: int) -> bytes:
        key, value = (field.message_type.fields_by_number[number] for number in (1, 2))
        parts = []
        for part in (key, value):
            if part is value and value.message_type is not None:
                makes = (lambda: self.pieces(value, depth - 1)) if depth > 0 else list
            else:
                makes = lambda part=part: [self.value(part, depth - 1)]
            for _ in range(self.random.choice([0, 1, 1, 1, 1, 1, 1, 1, 1, 2])):
                parts += makes()
        # No unknown fields: with one, Google's Python runtime treats the whole entry as unknown, which protobuf
        # intends for unknown enum values only. Its other runtimes keep the entry, and so do we.
        if self.often(0.2):
            self.random.shuffle(parts)
        return b"".join(parts)

    def value(self, field: FieldDescriptor, depth: int) -> bytes:
        if field.message_type is not None:
            return self.submessage(field, self.message(field.message_type, depth - 1))
        if field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
            return self.delimited(field.number, self.scalar(field))
        return self.tag(field.number, wire(field)) + self.scalar(field)

    def submessage(self, field: FieldDescriptor, body: bytes) -> bytes:
        if field.type == FieldDescriptor.TYPE_GROUP:
            return self.tag(field.number, GROUP) + body + self.tag(field.number, END_GROUP)
        return self.delimited(field.number, body)

    def scalar(self, field: FieldDescriptor) -> bytes:
        if field.type == FieldDescriptor.TYPE_STRING:
            return self.text().encode()
        if field.type == FieldDescriptor.TYPE_BYTES:
            return self.random.randbytes(self.random.randint(0, 20))
        if field.type in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT):
            return self.float(FIXED[field.type])
        if field.type in FIXED:
            size = struct.calcsize(FIXED[field.type])
            return self.integer().to_bytes(10, "little")[:size]
        if field.type == FieldDescriptor.TYPE_ENUM and self.often(0.85):
            return self.varint(self.random.choice(field.enum_type.values).number)
        number = self.integer()
        if field.type in ZIGZAG and self.often(0.5):
            number &= 0xFFFF_FFFF
        return self.varint(number)

    def float(self, form: str) -> bytes:
        size = struct.calcsize(form)
        if self.often(0.4):
            return self.random.randbytes(size)
        if self.often(0.5):
            number = round(self.random.uniform(-1e6, 1e6), self.random.randint(0, 6))
        else:
            number = self.random.choice(FLOATS)
        try:
            return struct.pack(form, number)
        except OverflowError:
            return struct.pack(form, math.inf)

    def integer(self) -> int:
        """An integer of any width, also wider than the field."""
        return self.random.choice(
            [0, 1, self.random.getrandbits(7), self.random.getrandbits(31), self.random.getrandbits(32),
             self.random.getrandbits(64), 2**31, 2**32, 2**63, 2**64 - 1, 2**64 - 2**31]
        )

    def text(self) -> str:
        return "".join(self.random.choices(TEXT, k=self.random.choice([0, 1, 3, 8, 9, 30])))

    def timestamp(self) -> list[bytes]:
        parts = [self.tag(1, VARINT) + self.varint(self.random.choice(SECONDS + [self.random.getrandbits(31)]))]
        if self.often(0.7):
            parts.append(self.tag(2, VARINT) + self.varint(self.nanos()))
        return parts

    def duration(self) -> list[bytes]:
        sign = self.random.choice([1, -1])
        parts = [self.tag(1, VARINT) + self.varint(sign * self.random.choice([0, 1, 59, 315_576_000_000]))]
        if self.often(0.7):
            parts.append(self.tag(2, VARINT) + self.varint(sign * self.nanos()))
        return parts

    def nanos(self) -> int:
        return self.random.choice([0, 1, 1_000, 1_000_000, 120_000_000, 999_999_999])

    def field_mask(self) -> list[bytes]:
        return [self.delimited(1, self.random.choice(PATHS).encode()) for _ in range(self.random.randint(0, 3))]

    def any(self) -> list[bytes]:
        name = self.random.choice(
            ["everything3.Scalars", "everything3.Choice", "everything2.Choice", "google.protobuf.Timestamp",
             "google.protobuf.Int64Value", "google.protobuf.Struct", "google.protobuf.Empty", "Audit.audit_message", "not.Known"]
        )
        parts = [self.delimited(1, f"type.googleapis.com/{name}".encode())]
        if name != "not.Known":
            parts.append(self.delimited(2, self.message(self.pool.FindMessageTypeByName(name), 2)))
        return parts

    def unknown(self, known: list[int], depth: int = 2) -> bytes:
        number = self.random.choice([n for n in (90, 5000, 77_777, 2**29 - 1) if n not in known])
        form = self.random.choice([VARINT, FIXED64, LEN, GROUP, FIXED32])
        if self.often(0.3) and known:
            # A known number with a wire type other than the field's is unknown too. If the type is the field's by
            # chance, both sides must still agree.
            number, form = self.random.choice(known), self.random.choice([VARINT, FIXED64, FIXED32])
        if form == GROUP:
            inside = b"".join(self.unknown([], depth - 1) for _ in range(self.random.randint(0, 2) if depth else 0))
            return self.tag(number, GROUP) + inside + self.tag(number, END_GROUP)
        body = {
            VARINT: lambda: self.varint(self.integer()),
            FIXED64: lambda: self.random.randbytes(8),
            FIXED32: lambda: self.random.randbytes(4),
            LEN: lambda: self.length(4) + self.random.randbytes(4),
        }
        return self.tag(number, form) + body[form]()

    def tag(self, number: int, form: int) -> bytes:
        return self.varint(number << 3 | form, longest=5)

    def delimited(self, number: int, body: bytes) -> bytes:
        return self.tag(number, LEN) + self.length(len(body)) + body

    def length(self, length: int) -> bytes:
        return self.varint(length, longest=5)

    def varint(self, number: int, longest: int = 10) -> bytes:
        """A varint, sometimes longer than necessary."""
        number &= 2**64 - 1
        found = bytearray()
        while number > 0x7F:
            found.append(number & 0x7F | 0x80)
            number >>= 7
        found.append(number)
        if self.often(0.05) and len(found) < longest:
            found[-1] |= 0x80
            found += b"\x80" * self.random.randint(0, longest - len(found) - 1) + b"\0"
        return bytes(found)

    def often(self, probability: float) -> bool:
        return self.random.random() < probability


def wire(field: FieldDescriptor) -> int:
    if field.type in FIXED:
        return FIXED32 if struct.calcsize(FIXED[field.type]) == 4 else FIXED64
    return VARINT
