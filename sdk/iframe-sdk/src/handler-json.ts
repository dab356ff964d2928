import type { IframeBridge } from './bridge.js';

/**
 * Calls a route of the extension's own handler with JSON both ways. The type is the caller's
 * claim. An empty answer is undefined. Rejects with ProxyCallError, or with a SyntaxError when the
 * answer is not JSON.
 */
export async function callHandlerJson<T = unknown>(
  bridge: IframeBridge,
  route: string,
  options: { method?: string; body?: unknown } = {},
): Promise<T | undefined> {
  const { method, body } = options;
  const answer = await bridge.callProxy(route, {
    ...(method === undefined ? {} : { method }),
    ...(body === undefined ? {} : { body: new TextEncoder().encode(JSON.stringify(body)) }),
  });
  return answer.length === 0 ? undefined : (JSON.parse(new TextDecoder().decode(answer)) as T);
}
