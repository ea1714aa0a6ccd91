"""A second, independent S3 client, to prepare buckets and look at them from outside. Standard library only."""
import datetime
import hashlib
import hmac
import http.client
import urllib.parse


class Client:
    def __init__(self, port, access_key, secret_key, region="us-east-1"):
        self.host = f"127.0.0.1:{port}"
        self.access_key, self.secret_key, self.region = access_key, secret_key, region

    def request(self, method, path, query=None, body=b"", headers=None):
        """Returns (status, headers, body) of a signed request."""
        now = datetime.datetime.now(datetime.timezone.utc)
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        payload = hashlib.sha256(body).hexdigest()
        signed = {"host": self.host, "x-amz-content-sha256": payload, "x-amz-date": stamp,
                  **{name.lower(): value for name, value in (headers or {}).items()}}
        names = ";".join(sorted(signed))
        quoted = urllib.parse.quote(path)
        text = "&".join(f"{urllib.parse.quote(k, safe='')}={urllib.parse.quote(v, safe='')}"
                        for k, v in sorted((query or {}).items()))
        canonical = "\n".join([method, quoted, text, *(f"{name}:{signed[name]}" for name in sorted(signed)), "", names,
                               payload])
        scope = f"{day}/{self.region}/s3/aws4_request"
        key = ("AWS4" + self.secret_key).encode()
        for part in (day, self.region, "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
        signed["Authorization"] = (f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, SignedHeaders={names}, "
                                   f"Signature={signature}")
        connection = http.client.HTTPConnection(self.host, timeout=60)
        try:
            connection.request(method, quoted + ("?" + text if text else ""), body or None, signed)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def make_bucket(self, name):
        status, _, body = self.request("PUT", f"/{name}")
        assert status == 200, (status, body)
