// An extension as authors of the reference system write it: a handler of two arguments, and a
// hand-written module around it that imports the unversioned interfaces.
import { getContext } from 'alga:extension/context';
import { fetch as fetchOut } from 'alga:extension/http';
import { logInfo } from 'alga:extension/logging';
import { get as getSecret } from 'alga:extension/secrets';
import { put } from 'alga:extension/storage';

const host = {
  context: { get: async () => getContext() },
  http: { fetch: async (request) => fetchOut(request) },
  logging: { info: async (message) => logInfo(message) },
  secrets: { get: async (name) => getSecret(name) },
  storage: { put: async (entry) => put(entry) },
};

async function userHandler(request, host) {
  const url = new URL(request.http.url, 'http://extension');
  if (url.pathname === '/frozen') return answer({ now: Date.now(), id: crypto.randomUUID() });
  const { tenantId } = await host.context.get();
  const key = await host.secrets.get('alga_api_key');
  const upstream = await host.http.fetch({
    method: 'GET',
    url: url.searchParams.get('api'),
    headers: [{ name: 'x-api-key', value: key }],
  });
  await host.logging.info(`the API answered ${upstream.status}`);
  const value = new TextEncoder().encode('done');
  const entry = await host.storage.put({ namespace: 'jobs', key: 'last', value });
  return answer({ tenantId, upstream: upstream.status, revision: Number(entry.revision) });
}

function answer(value) {
  return {
    status: 200,
    headers: [{ name: 'content-type', value: 'application/json' }],
    body: new TextEncoder().encode(JSON.stringify(value)),
  };
}

export async function handler(request) {
  return userHandler(request, host);
}
