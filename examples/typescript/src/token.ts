// Tongbao has no token service: a caller signs its own tokens with its Ed25519 key.

import { createPrivateKey, randomUUID, sign, type KeyObject } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Interceptor } from "@connectrpc/connect";

const LIFE_SECONDS = 300; // At most 600 are accepted.

/** Signs tokens of one app; each is used until half of its life is over. */
export class Signer {
  readonly #appId: string;
  readonly #key: KeyObject;
  #token = "";
  #renewAt = 0;

  constructor(appId: string, keyFile: string) {
    this.#appId = appId;
    this.#key = createPrivateKey(readFileSync(keyFile));
  }

  token(): string {
    const now = Math.floor(Date.now() / 1000);
    if (now >= this.#renewAt) {
      const head = encode({ alg: "EdDSA", typ: "JWT" });
      const claims = encode({
        iss: this.#appId,
        aud: "tongbao",
        iat: now,
        exp: now + LIFE_SECONDS,
        jti: randomUUID(),
      });
      const signature = sign(null, Buffer.from(`${head}.${claims}`), this.#key);
      this.#token = `${head}.${claims}.${signature.toString("base64url")}`;
      this.#renewAt = now + LIFE_SECONDS / 2;
    }
    return this.#token;
  }
}

/** Puts the token on every call. */
export function signed(signer: Signer): Interceptor {
  return (next) => (request) => {
    request.header.set("authorization", `Bearer ${signer.token()}`);
    return next(request);
  };
}

function encode(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString("base64url");
}
