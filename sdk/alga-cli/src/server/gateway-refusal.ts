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
