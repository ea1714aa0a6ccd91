"""Reads a CARv1 file as its specifications say (CARv1, CIDv1, DAG-CBOR header, DAG-PB, UnixFS v1), with nothing of
Forerun's: what an IPFS node would find in it. Every block's digest is checked."""
import base64
import hashlib

RAW, DAG_PB, SHA256 = 0x55, 0x70, 0x12


class Malformed(Exception):
    pass


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7f) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def cbor(data, at):
    """The part of DAG-CBOR that a CAR's header needs."""
    kind, count = data[at] >> 5, data[at] & 31
    at += 1
    if count == 24:
        count, at = data[at], at + 1
    elif count > 24:
        raise Malformed("a long CBOR item")
    if kind == 0:
        return count, at
    if kind == 2:
        return data[at:at + count], at + count
    if kind == 3:
        return data[at:at + count].decode(), at + count
    if kind == 4:
        items = []
        for _ in range(count):
            item, at = cbor(data, at)
            items.append(item)
        return items, at
    if kind == 5:
        entries = {}
        for _ in range(count):
            key, at = cbor(data, at)
            entries[key], at = cbor(data, at)
        return entries, at
    if kind == 6 and count == 42:
        link, at = cbor(data, at)
        if link[0] != 0:
            raise Malformed("a CID in CBOR begins with a zero byte")
        return bytes(link[1:]), at
    raise Malformed(f"CBOR kind {kind}")


def message(data):
    """The fields of a protocol buffers message, in their order: (number, value)."""
    fields, at = [], 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        elif key & 7 == 2:
            size, at = varint(data, at)
            value, at = data[at:at + size], at + size
            if len(value) != size:
                raise Malformed("a field beyond its message")
        else:
            raise Malformed(f"wire type {key & 7}")
        fields.append((key >> 3, value))
    return fields


def one(fields, number, default=None):
    values = [value for key, value in fields if key == number]
    if len(values) > 1:
        raise Malformed(f"field {number} stands twice")
    return values[0] if values else default


class Car:
    def __init__(self, data):
        size, at = varint(data, 0)
        header, end = cbor(data, at)
        if end != at + size or header["version"] != 1 or len(header["roots"]) != 1:
            raise Malformed(f"header {header}")
        self.root = header["roots"][0]
        self.blocks = {}
        at = end
        while at < len(data):
            size, at = varint(data, at)
            section = data[at:at + size]
            if len(section) != size:
                raise Malformed("the file ends within a block")
            at += size
            cid, block = section[:36], section[36:]
            if cid[0] != 1 or cid[1] not in (RAW, DAG_PB) or cid[2] != SHA256 or cid[3] != 32:
                raise Malformed(f"CID {cid.hex()}")
            if hashlib.sha256(block).digest() != cid[4:]:
                raise Malformed(f"block {cid.hex()} is not what its CID says")
            if len(block) > 2 << 20:
                raise Malformed(f"a block of {len(block)} bytes, which no node takes")
            self.blocks[cid] = block

    def root_text(self):
        return "b" + base64.b32encode(self.root).decode().lower().rstrip("=")

    def links(self, cid):
        """(links, UnixFS message) of a DAG-PB node; links as (name, cid, total size)."""
        fields = message(self.blocks[cid])
        if [number for number, _ in fields] != [2] * (len(fields) - 1) + [1]:
            raise Malformed("a DAG-PB node has its links first, then its data")
        links = []
        for _, value in fields[:-1]:
            link = message(value)
            if [number for number, _ in link] != [1, 2, 3]:
                raise Malformed("a link has hash, name and size")
            links.append((link[1][1].decode(), link[0][1], link[2][1]))
        return links, message(fields[-1][1])

    def total(self, cid):
        """The block's size and that of all below it."""
        size = len(self.blocks[cid])
        if cid[1] == DAG_PB:
            size += sum(self.total(link) for _, link, _ in self.links(cid)[0])
        return size

    def content(self, cid):
        if cid[1] == RAW:
            return self.blocks[cid]
        links, unix_fs = self.links(cid)
        if one(unix_fs, 1) != 2:
            raise Malformed("it is no file")
        parts = [self.content(link) for _, link, _ in links]
        if [value for number, value in unix_fs if number == 4] != [len(part) for part in parts]:
            raise Malformed("block sizes")
        data = b"".join(parts)
        if one(unix_fs, 3) != len(data):
            raise Malformed("file size")
        return data

    def files(self, cid=None, prefix=""):
        """{path: content} of all files below a directory."""
        cid = cid or self.root
        links, unix_fs = self.links(cid)
        if one(unix_fs, 1) != 1:
            raise Malformed("it is no directory")
        names = [name.encode() for name, _, _ in links]
        if names != sorted(set(names)):
            raise Malformed("a directory's links are sorted by name, each once")
        found = {}
        for name, link, size in links:
            if size != self.total(link):
                raise Malformed(f"{prefix}{name} says {size} bytes")
            is_directory = link[1] == DAG_PB and one(self.links(link)[1], 1) == 1
            found.update(self.files(link, prefix + name + "/") if is_directory else {prefix + name: self.content(link)})
        return found
