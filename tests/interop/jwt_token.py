"""Makes a bearer token with PyPI's PyJWT, which knows nothing of the product:

    python jwt_token.py SEED_HEX PUBLIC_KEY_HEX CHAIN_ID_HEX SCOPE
"""

import base64
import sys
import time
import uuid

import jwt
from cryptography.hazmat.primitives.asymmetric import ed25519

seed, public_key, chain, scope = sys.argv[1:]
now = int(time.time())
claims = {
    "iss": base64.urlsafe_b64encode(bytes.fromhex(public_key)).rstrip(b"=").decode(),
    "aud": f"aitbc:{chain}", "scope": scope, "iat": now, "exp": now + 120, "jti": uuid.uuid4().hex,
}
print(jwt.encode(claims, ed25519.Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed)), algorithm="EdDSA"))
