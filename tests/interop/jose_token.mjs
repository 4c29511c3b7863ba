// Makes a bearer token with npm's jose, which knows nothing of the product:
//     node jose_token.mjs NODE_MODULES SEED_HEX PUBLIC_KEY_HEX CHAIN_ID_HEX SCOPE
import { createRequire } from "node:module";
import { randomUUID } from "node:crypto";
import { join } from "node:path";

const [modules, seed, publicKey, chain, scope] = process.argv.slice(2);
const { SignJWT, importJWK } = createRequire(join(modules, "/"))("jose");

const base64url = (hex) => Buffer.from(hex, "hex").toString("base64url");
const key = await importJWK({ kty: "OKP", crv: "Ed25519", d: base64url(seed), x: base64url(publicKey) }, "EdDSA");
const now = Math.floor(Date.now() / 1000);
const token = await new SignJWT({
    iss: base64url(publicKey),
    aud: `aitbc:${chain}`,
    scope,
    iat: now,
    exp: now + 120,
    jti: randomUUID(),
})
    .setProtectedHeader({ alg: "EdDSA", typ: "JWT" })
    .sign(key);
console.log(token);
