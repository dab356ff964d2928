interface Reason {
  text: string;
  hint?: string;
}

const OWN_AUTHORITY =
  'name the authority of your own with NODE_EXTRA_CA_CERTS=ca.pem, or have the operator send the whole chain of certificates';
const NAME = 'check the name in --url or ALGA_URL, and the DNS of this machine';
const NETWORK =
  'check the network, the firewall and the address; alga doctor checks the connection';

const UNKNOWN_AUTHORITY: Reason = {
  text: 'its certificate is signed by an authority that this machine does not know',
  hint: OWN_AUTHORITY,
};
const NO_NAME: Reason = { text: 'there is no machine of that name', hint: NAME };
const NO_WAY: Reason = { text: 'there is no way to it', hint: NETWORK };
const BROKEN: Reason = { text: 'the connection broke', hint: 'try again; the server may restart' };
const SLOW: Reason = { text: 'it did not answer in time', hint: NETWORK };
const NOT_TLS: Reason = {
  text: 'it does not speak TLS there',
  hint: 'is the port right? A server on this machine may speak plain http: --url http://127.0.0.1:…',
};

/** Why a connection fails, by the codes of Node.js and OpenSSL. */
const REASONS: Record<string, Reason | undefined> = {
  ECONNREFUSED: { text: 'nothing listens there' },
  ENOTFOUND: NO_NAME,
  EAI_AGAIN: { text: 'its name could not be looked up', hint: NAME },
  EHOSTUNREACH: NO_WAY,
  ENETUNREACH: NO_WAY,
  ECONNRESET: BROKEN,
  EPIPE: BROKEN,
  UND_ERR_SOCKET: BROKEN,
  ETIMEDOUT: SLOW,
  UND_ERR_CONNECT_TIMEOUT: SLOW,
  UND_ERR_HEADERS_TIMEOUT: SLOW,
  UND_ERR_BODY_TIMEOUT: SLOW,
  CERT_HAS_EXPIRED: {
    text: 'its certificate has expired',
    hint: 'the operator has to renew it; if it is new, check the clock of this machine',
  },
  CERT_NOT_YET_VALID: {
    text: 'its certificate is not valid yet',
    hint: 'check the clock of this machine',
  },
  DEPTH_ZERO_SELF_SIGNED_CERT: {
    text: 'its certificate is signed by itself',
    hint: OWN_AUTHORITY,
  },
  SELF_SIGNED_CERT_IN_CHAIN: UNKNOWN_AUTHORITY,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNKNOWN_AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT: UNKNOWN_AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNKNOWN_AUTHORITY,
  ERR_TLS_CERT_ALTNAME_INVALID: {
    text: 'its certificate is for another name',
    hint: 'use the name that stands in the certificate, or have the operator renew it',
  },
  ERR_SSL_WRONG_VERSION_NUMBER: NOT_TLS,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: NOT_TLS,
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: {
    text: 'it asks for a certificate of the client',
    hint: 'that is the port of the servers among themselves; ask the operator for the public address',
  },
};

/** Why a request got no answer, in words, and what to do where that is known. */
export function unreachableReason(error: unknown, seconds: number): Reason {
  if (!(error instanceof Error)) return { text: String(error) };
  if (error.name === 'TimeoutError') return { text: `no answer within ${seconds} seconds` };
  const { cause } = error;
  const code = (cause as NodeJS.ErrnoException | undefined)?.code ?? '';
  const known = REASONS[code];
  if (known !== undefined) return { ...known, text: `${known.text} (${code})` };
  if (cause instanceof Error && cause.message === 'bad port') {
    return { text: 'browsers and Node.js refuse this port', hint: 'let the server take another' };
  }
  return { text: code || (cause instanceof Error ? cause.message : error.message) };
}
