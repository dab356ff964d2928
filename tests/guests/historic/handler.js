// What every historic toolchain has to bring through: the request, a host call, a log line, live time
// and randomness. Synchronous and without the web platform, so that QuickJS builds it too.
import { get } from 'alga:extension/config@1.0.0';
import { log } from 'alga:extension/logging@1.0.0';

const bytes = (text) => Uint8Array.from(text, (c) => c.charCodeAt(0));
const text = (list) => String.fromCharCode(...list);
let calls = 0;

export function handler({ context, http }) {
  calls += 1;
  log('info', `${http.method} ${http.url}`);
  const answer = {
    calls,
    tenant: context.tenantId,
    url: http.url,
    body: http.body === undefined ? null : text(http.body),
    greeting: get('greeting'),
    now: Date.now(),
    random: Math.random(),
  };
  const headers = [
    { name: 'content-type', value: 'application/json' },
    { name: 'x-one', value: '1' },
    { name: 'x-one', value: '2' },
  ];
  return { status: 200, headers, body: bytes(JSON.stringify(answer)) };
}
