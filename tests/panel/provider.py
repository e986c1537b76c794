"""A small OpenID Connect provider: discovery, authorization with PKCE, token, keys. It signs in whom it is told to."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT, SECRET = "cellblock", "a secret of the client"


class Provider:
    """`subject` is who is signed in there; `claims` and `key` may be spoiled by tests."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.subject = "ada-1"
        self.shown: Any = None
        """The key that is published, where it is not the one that signs."""
        self.hmac = ""
        """A secret that it publishes as its key and signs with, where it does that."""
        self.named = ""
        """The issuer that its configuration names, where that is not itself."""
        self.keys_at = ""
        """Where its configuration says that its keys are, where that is elsewhere."""
        self.redirects: dict[str, str] = {}
        self.claims: dict[str, Any] = {}
        self.codes: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []
        self.refuses = False
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked.append(self.path)
                provider.get(self)

            def do_POST(self) -> None:
                provider.asked.append(self.path)
                provider.token(self)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def get(self, handler: BaseHTTPRequestHandler) -> None:
        path, _, query = handler.path.partition("?")
        if path in self.redirects:
            handler.send_response(302)
            handler.send_header("Location", self.redirects[path])
            return handler.end_headers()
        if path == "/.well-known/openid-configuration":
            return answer(handler, self.configuration())
        if path == "/jwks" and self.hmac:
            octets = base64.urlsafe_b64encode(self.hmac.encode()).decode().rstrip("=")
            return answer(handler, {"keys": [{"kty": "oct", "k": octets, "kid": "1", "alg": "HS256", "use": "sig"}]})
        if path == "/jwks":
            jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk((self.shown or self.key).public_key()))
            return answer(handler, {"keys": [jwk | {"kid": "1", "alg": "RS256", "use": "sig"}]})
        if path == "/authorize":
            return self.authorize(handler, {name: values[0] for name, values in parse_qs(query).items()})
        return answer(handler, {"error": "not_found"}, 404)

    def configuration(self) -> dict[str, Any]:
        return {
            "issuer": self.named or self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": self.keys_at or f"{self.issuer}/jwks",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "response_types_supported": ["code"],
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        }

    def authorize(self, handler: BaseHTTPRequestHandler, asked: dict[str, str]) -> None:
        assert (asked["client_id"], asked["response_type"], asked["code_challenge_method"]) == (CLIENT, "code", "S256")
        code = f"code{len(self.codes)}"
        self.codes[code] = asked
        back = {"error": "access_denied"} if self.refuses else {"code": code}
        handler.send_response(302)
        handler.send_header("Location", f"{asked['redirect_uri']}?{urlencode(back | {'state': asked['state']})}")
        handler.end_headers()

    def token(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"])).decode()
        sent = {name: values[0] for name, values in parse_qs(body).items()}
        asked = self.codes.pop(sent.get("code", ""), None)
        verifier = hashlib.sha256(sent.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(verifier).decode().rstrip("=")
        is_client = (sent.get("client_id"), sent.get("client_secret")) == (CLIENT, SECRET)
        if not asked or not is_client or challenge != asked["code_challenge"]:
            return answer(handler, {"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "sub": self.subject, "iat": now, "exp": now + 60, **self.claims}
        algorithm = "HS256" if self.hmac else "RS256"
        signed = jwt.encode(claims, self.hmac or self.key, algorithm=algorithm, headers={"kid": "1"})
        return answer(handler, {"access_token": "x", "token_type": "Bearer", "id_token": signed})

    def visit(self, location: str) -> str:
        """What a browser does that was sent there: the path of the panel it is sent back to."""
        import requests

        response = requests.get(location, allow_redirects=False, timeout=10)
        assert response.status_code == 302, response.text
        back = urlsplit(response.headers["Location"])
        return f"{back.path}?{back.query}"


def answer(handler: BaseHTTPRequestHandler, data: Any, status: int = 200) -> None:
    body = json.dumps(data).encode()
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
