import { ExitCode } from '../failure.js';

/** The gateway's own refusal of a request: the extension never ran. */
export interface GatewayRefusal {
  code: string;
  message: string;
}

/** Reads an answer's body; undefined for anything that the gateway did not say itself. */
export function gatewayRefusal(body: string): GatewayRefusal | undefined {
  try {
    const value = JSON.parse(body) as { code?: unknown; message?: unknown; error?: unknown } | null;
    const code = value?.code;
    if (typeof code !== 'string' || !code.startsWith('gateway.')) return undefined;
    const said = [value?.message, value?.error].find((text) => typeof text === 'string');
    return { code, message: typeof said === 'string' ? said : code };
  } catch {
    return undefined;
  }
}

const DECLARE_IT = 'declare method and path under "api.endpoints" in manifest.json';
const LOG_IN = 'log in with alga login, or set ALGA_TOKEN';

/** What to do about a refusal, by its code; a test holds the codes to the server's own list. */
const HINTS: Record<string, string | undefined> = {
  'gateway.endpoint_not_found': DECLARE_IT,
  'gateway.extension_not_available':
    'alga list shows what is installed for the tenant, and whether it is enabled; --tenant names another tenant',
  'gateway.unauthenticated': `the token is wrong, expired or revoked: ${LOG_IN}`,
  'gateway.tenant_required': 'name the tenant with --tenant, or set ALGA_TENANT_ID',
  'gateway.tenant_mismatch': 'leave --tenant out, or take a token of that tenant',
  'gateway.forbidden': 'take a token of the tenant; alga login shows who you are',
  'gateway.rate_limited': 'wait, and call less often',
};

const DENIED = ['gateway.unauthenticated', 'gateway.tenant_mismatch', 'gateway.forbidden'];

/** Codes that have a hint. */
export const HINTED_CODES: readonly string[] = Object.keys(HINTS);

/**
 * What to do about a refusal, where that is known.
 *
 * @param developing under `alga dev`, where a changed manifest is published by itself
 */
export function refusalHint(code: string, developing = false): string | undefined {
  const hint = HINTS[code];
  if (hint !== DECLARE_IT || developing) return hint;
  return `${hint}, publish, and alga update the install`;
}

/** How a command ends that was refused so. */
export function refusalExitCode(code: string): ExitCode {
  return DENIED.includes(code) ? ExitCode.Denied : ExitCode.Failed;
}
