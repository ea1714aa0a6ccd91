"""A server that answers Prometheus' remote read from series that a test makes. Standard library only."""
import http.server
import threading


def varint(number):
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def packed(plain):
    """Snappy's block format, literals only."""
    out = varint(len(plain))
    for begin in range(0, len(plain), 60):
        part = plain[begin:begin + 60]
        out += bytes([(len(part) - 1) << 2]) + part
    return out


def answer(series):
    """`series`: lists of labels and of (unix seconds, value)."""
    import struct
    result = b""
    for labels, samples in series:
        content = b"".join(field(1, field(1, key.encode()) + field(2, value.encode()))
                           for key, value in sorted(labels.items()))
        content += b"".join(field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + varint(at * 1000))
                            for at, value in samples)
        result += field(1, content)
    return packed(field(1, result))


class Server:
    """Answers each question with the series whose name stands in it; `status` and `body` override that."""

    def __init__(self, series):
        self.series = series
        self.status, self.body = 200, None
        self.headers = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                asked = self.rfile.read(int(self.headers["Content-Length"]))
                outer.headers.append(dict(self.headers))
                found = [one for one in outer.series if one[0]["__name__"].encode() in asked]
                body = outer.body if outer.body is not None else answer(found)
                self.send_response(outer.status if self.path.endswith("/api/v1/read") else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
