import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  verify,
  type KeyObject,
} from 'node:crypto';

import { Failure } from '../failure.js';

/** The signature file beside a bundle. */
export interface BundleSignature {
  algorithm: 'ed25519';
  /** First 8 bytes of SHA-256 over the raw public key, in hex. */
  key_id: string;
  /** Base64 of the signature over `alga-bundle:v1:sha256:<hex>`. */
  signature: string;
}

export interface PublicKeyFile {
  algorithm: 'ed25519';
  key_id: string;
  /** Base64 of the 32 raw bytes; this is what a publisher registers. */
  public_key: string;
}

/** Fixed bytes before the 32 raw ones in the DER form of an Ed25519 public key (RFC 8410). */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

export interface GeneratedKey {
  /** PKCS #8 PEM; unencrypted, so its file must be readable for its owner only. */
  privatePem: string;
  public: PublicKeyFile;
}

export function generateKey(): GeneratedKey {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const privatePem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return { privatePem, public: describePublicKey(publicKey) };
}

/** Reads a PEM private key; throws a Failure that shows nothing of its content. */
export function readPrivateKey(pem: string): KeyObject {
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch {
    throw new Failure('sign.bad_key', 'The file does not hold a private key in PEM form', {
      hint: 'make one with: alga keygen',
    });
  }
  if (key.asymmetricKeyType !== 'ed25519') {
    throw new Failure('sign.bad_key', 'The key is not an Ed25519 key', {
      hint: 'make one with: alga keygen',
    });
  }
  return key;
}

/** Reads the JSON that `alga keygen` writes, or the bare base64 of a raw key. */
export function readPublicKey(text: string): KeyObject {
  const bad = new Failure('verify.bad_key', 'The file does not hold an Ed25519 public key', {
    hint: 'give the .pub.json file that alga keygen wrote',
  });
  let encoded: unknown = text.trim();
  if (text.trimStart().startsWith('{')) {
    try {
      encoded = (JSON.parse(text) as Partial<PublicKeyFile>).public_key;
    } catch {
      throw bad;
    }
  }
  if (typeof encoded !== 'string' || !/^[A-Za-z0-9+/]{43}=$/.test(encoded)) throw bad;
  const der = Buffer.concat([SPKI_PREFIX, Buffer.from(encoded, 'base64')]);
  return createPublicKey({ key: der, format: 'der', type: 'spki' });
}

export function describePublicKey(key: KeyObject): PublicKeyFile {
  const raw = rawPublicKey(key);
  const keyId = createHash('sha256').update(raw).digest('hex').slice(0, 16);
  return { algorithm: 'ed25519', key_id: keyId, public_key: raw.toString('base64') };
}

function rawPublicKey(key: KeyObject): Buffer {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key;
  return publicKey.export({ type: 'spki', format: 'der' }).subarray(SPKI_PREFIX.length);
}

/** The bytes that a bundle's signature covers. @param contentHash `sha256:<hex>` */
function statement(contentHash: string): Buffer {
  return Buffer.from(`alga-bundle:v1:${contentHash}`, 'ascii');
}

export function signBundle(contentHash: string, privateKey: KeyObject): BundleSignature {
  return {
    algorithm: 'ed25519',
    key_id: describePublicKey(privateKey).key_id,
    signature: sign(null, statement(contentHash), privateKey).toString('base64'),
  };
}

export function parseSignature(text: string): BundleSignature {
  const bad = new Failure('verify.bad_signature_file', 'The signature file has the wrong form', {
    hint: 'make it with: alga sign <bundle> --key <file>',
  });
  let value: Partial<BundleSignature>;
  try {
    value = JSON.parse(text) as Partial<BundleSignature>;
  } catch {
    throw bad;
  }
  const { algorithm, key_id: keyId, signature } = value;
  if (algorithm !== 'ed25519' || typeof keyId !== 'string' || typeof signature !== 'string')
    throw bad;
  return { algorithm, key_id: keyId, signature };
}

/** Why a signature does not hold, or undefined when it does. */
export function signatureProblem(
  contentHash: string,
  signature: BundleSignature,
  publicKey: KeyObject,
): string | undefined {
  if (signature.key_id !== describePublicKey(publicKey).key_id) {
    return `it was made with another key (${signature.key_id})`;
  }
  const bytes = Buffer.from(signature.signature, 'base64');
  const holds = bytes.length === 64 && verify(null, statement(contentHash), publicKey, bytes);
  return holds ? undefined : 'the bundle or the signature was changed';
}
