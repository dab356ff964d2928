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

const MAKE_KEY = 'make a key pair with: alga keygen';
const NAME_PRIVATE = `name the private key that alga keygen wrote (alga-signing.key), or ${MAKE_KEY}`;
const NAME_PUBLIC = 'name the .pub.json file that alga keygen wrote beside the private key';

/**
 * Reads a PEM private key; throws a Failure that shows nothing of its content.
 *
 * @param file where it comes from, for messages
 */
export function readPrivateKey(pem: string, file: string): KeyObject {
  const bad = (what: string, hint = NAME_PRIVATE) =>
    new Failure('sign.bad_key', `${file} ${what}`, { hint });
  if (pem.trim() === '') throw bad('is empty');
  if (pem.includes('PUBLIC KEY') || publicKeyText(pem) !== undefined) {
    throw bad('holds a public key, and bundles are signed with the private one');
  }
  if (!pem.includes('-----BEGIN ')) throw bad('does not hold a private key in PEM form');
  if (pem.includes('ENCRYPTED')) {
    const hint = `take the passphrase off (openssl pkey -in ${file}), or ${MAKE_KEY}`;
    throw bad('holds a key that is encrypted with a passphrase', hint);
  }
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch {
    throw bad('holds a damaged private key: its PEM form cannot be read');
  }
  if (key.asymmetricKeyType === 'ed25519') return key;
  throw bad(`holds a key of type ${key.asymmetricKeyType ?? 'unknown'}, not Ed25519`, MAKE_KEY);
}

/** The base64 of a raw public key, in the JSON that `alga keygen` writes or bare. */
function publicKeyText(text: string): string | undefined {
  const encoded = text.trimStart().startsWith('{')
    ? parseObject(text)?.['public_key']
    : text.trim();
  if (typeof encoded !== 'string' || !/^[A-Za-z0-9+/]{43}=$/.test(encoded)) return undefined;
  return encoded;
}

/**
 * Reads the JSON that `alga keygen` writes, or the bare base64 of a raw key; throws a Failure.
 *
 * @param file where it comes from, for messages
 */
export function readPublicKey(text: string, file: string): KeyObject {
  const bad = (what: string) =>
    new Failure('verify.bad_key', `${file} ${what}`, { hint: NAME_PUBLIC });
  if (text.trim() === '') throw bad('is empty');
  if (text.includes('PRIVATE KEY')) {
    throw bad('holds a private key, and signatures are checked with the public one');
  }
  const encoded = publicKeyText(text);
  if (encoded === undefined) {
    const json = text.trimStart().startsWith('{');
    if (json && parseObject(text) === undefined) throw bad('is not valid JSON');
    throw bad(
      json
        ? 'has no "public_key" with the 44 characters of an Ed25519 public key in base64'
        : 'does not hold an Ed25519 public key',
    );
  }
  const der = Buffer.concat([SPKI_PREFIX, Buffer.from(encoded, 'base64')]);
  return createPublicKey({ key: der, format: 'der', type: 'spki' });
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
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

/** Reads a signature file; throws a Failure. @param file where it comes from, for messages */
export function parseSignature(text: string, file: string): BundleSignature {
  const bad = (what: string) =>
    new Failure('verify.bad_signature_file', `The signature file ${file} ${what}`, {
      hint: 'make it again with: alga sign <bundle> --key <file>; one that came over a network may be cut off',
    });
  if (text.trim() === '') throw bad('is empty');
  const value = parseObject(text);
  if (value === undefined) throw bad('is not a JSON object');
  const { algorithm, key_id: keyId, signature } = value;
  if (algorithm !== 'ed25519') {
    throw bad(
      algorithm === undefined
        ? 'has no "algorithm"'
        : `names the algorithm ${JSON.stringify(algorithm)}; it must be "ed25519"`,
    );
  }
  if (typeof keyId !== 'string' || !/^[0-9a-f]{16}$/.test(keyId)) {
    throw bad('has no "key_id" of 16 hexadecimal digits');
  }
  if (typeof signature !== 'string' || !/^[A-Za-z0-9+/]{86}==$/.test(signature)) {
    throw bad('has no "signature" with the 88 characters of an Ed25519 signature in base64');
  }
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
