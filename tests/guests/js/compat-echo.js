// A guest of the unversioned alga:extension, built like the bundles of the reference system.
import { getContext } from 'alga:extension/context';
import * as secrets from 'alga:extension/secrets';
import { fetch } from 'alga:extension/http';
import * as storage from 'alga:extension/storage';
import { logInfo, logWarn, logError } from 'alga:extension/logging';
import { callRoute } from 'alga:extension/ui-proxy';
import { getUser } from 'alga:extension/user';
import { getUser as getUserV2 } from 'alga:extension/user-v2';
import * as scheduler from 'alga:extension/scheduler';
import { createManualInvoice } from 'alga:extension/invoicing';
import * as clients from 'alga:extension/clients';
import * as services from 'alga:extension/services';

const text = (bytes) => new TextDecoder().decode(bytes ?? new Uint8Array());
const bytes = (string) => new TextEncoder().encode(string);
const plain = (value) =>
  JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? Number(v) : ArrayBuffer.isView(v) ? text(v) : v));
const answer = (value, status = 200) => ({
  status,
  headers: [{ name: 'content-type', value: 'application/json' }],
  body: bytes(plain(value)),
});
const attempt = (call) => {
  try {
    return { ok: call() };
  } catch (error) {
    return { err: error.payload ?? String(error) };
  }
};

const schedule = { endpoint: 'GET /x', cron: '0 * * * *' };
const invoice = {
  clientId: 'c',
  items: [{ serviceId: 's', quantity: 1, description: 'd', rate: 2.5, discountType: 'fixed' }],
};

const behaviours = {
  '/echo': ({ context, http }) =>
    answer({ context, method: http.method, url: http.url, headers: http.headers, body: text(http.body) }),
  '/context': () => answer(getContext()),
  '/secret': () => answer({ value: attempt(() => secrets.get('key')), keys: attempt(() => secrets.listKeys()) }),
  '/fetch': ({ http }) =>
    answer(attempt(() => fetch({ method: 'POST', url: 'https://api.example.test/', headers: [], body: http.body }))),
  '/log': () => {
    logInfo('an info line');
    logWarn('a warn line');
    logError('an error line');
    return answer({ logged: 3 });
  },
  '/storage': () => {
    const record = { namespace: 'notes', key: 'a', value: bytes('one'), revision: undefined };
    return answer({
      put: attempt(() => storage.put(record)),
      stale: attempt(() => storage.put({ ...record, revision: 99n })),
      read: attempt(() => storage.get('notes', 'a')),
      listed: attempt(() => storage.listEntries('notes', undefined)),
      deleted: attempt(() => storage.delete('notes', 'a')),
    });
  },
  '/proxy': () => answer(attempt(() => text(callRoute('/api/x', undefined)))),
  '/user': () => answer({ v1: attempt(() => getUser()), v2: attempt(() => getUserV2()) }),
  '/unoffered': () =>
    answer({
      schedules: attempt(() => scheduler.listSchedules()),
      schedule: attempt(() => scheduler.getSchedule('x')),
      endpoints: attempt(() => scheduler.getEndpoints()),
      create: attempt(() => scheduler.createSchedule(schedule)),
      update: attempt(() => scheduler.updateSchedule('x', {})),
      delete: attempt(() => scheduler.deleteSchedule('x')),
      invoice: attempt(() => createManualInvoice(invoice)),
      clients: attempt(() => clients.listClients({})),
      client: attempt(() => clients.getClient('x')),
      services: attempt(() => services.listServices({})),
      service: attempt(() => services.getService('x')),
    }),
  '/frozen': () => answer({ now: Date.now() }),
};

export async function handler(request) {
  const { pathname } = new URL(request.http.url, 'http://guest');
  const behaviour = behaviours[pathname];
  return behaviour ? behaviour(request) : answer({ error: 'no such behaviour' }, 404);
}
