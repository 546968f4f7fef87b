"""An HTTP endpoint of subscribers: alice, who has all HA1s, bob, who has one, and nobody else.
Who asks for `hangs` waits for good. Below /gateway it answers as one whose own server is gone, below
/page as one that asks for a login."""
import http.server
import json
import sys
import time

MD5 = "939e7578ed9e3c518a452acee763bce9"
SHA256 = "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232"
SHA512T256 = "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"
USERS = {
    "/sip/example.com/alice": {"md5": MD5, "sha-256": SHA256, "sha-512-256": SHA512T256},
    "/sip/example.com/bob": {"md5": MD5, "sha-256": None},
}


class Endpoint(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path.endswith("/hangs"):
            time.sleep(3600)
        found = USERS.get(self.path)
        body = json.dumps(found).encode()
        status = 200 if found else 404
        if self.path.startswith("/gateway/"):
            status = 502
        elif self.path.startswith("/page/"):
            status, body = 200, b"<html>Please log in</html>"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        """Who asked has given up."""


Server(("127.0.0.1", int(sys.argv[1])), Endpoint).serve_forever()
