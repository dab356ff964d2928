import { handler, json, StorageError, type HandlerContext } from '@alga/extension-runtime';
import { iterate, Router } from '@alga/extension-runtime/extras';

/** Webhooks are kept for a week. */
const KEPT_SECONDS = 7 * 24 * 3600;

/** Whether the sender knows the key: HMAC-SHA-256 of the body, in hex, compared by the engine. */
async function isSigned({ request, secrets }: HandlerContext): Promise<boolean> {
  const given = /^sha256=([0-9a-f]{64})$/.exec(request.headers.get('x-signature') ?? '')?.[1];
  if (given === undefined) return false;
  const secret = new TextEncoder().encode(await secrets.get('webhook_secret'));
  const algorithm = { name: 'HMAC', hash: 'SHA-256' };
  const key = await crypto.subtle.importKey('raw', secret, algorithm, false, ['verify']);
  const signature = Uint8Array.from(given.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));
  return crypto.subtle.verify('HMAC', key, signature, new Uint8Array(request.bytes()));
}

const router = new Router()
  .post('/hooks/:source', async (context) => {
    const { params, request, storage, log } = context;
    if (!(await isSigned(context))) return json({ error: 'bad signature' }, { status: 401 });
    const id = request.headers.get('x-delivery') ?? '';
    if (!/^[A-Za-z0-9-]{1,100}$/.test(id)) return json({ error: 'no x-delivery' }, { status: 400 });
    try {
      const options = { when: 'absent', ttlSeconds: KEPT_SECONDS } as const;
      await storage.put(`hooks-${params.source}`, id, request.bytes(), options);
    } catch (error) {
      const again = error instanceof StorageError && error.code === 'conflict';
      if (!again) throw error;
      log.info('delivered again', { source: params.source, id });
      return json({ id, duplicate: true });
    }
    log.info('received', { source: params.source, id });
    return json({ id }, { status: 202 });
  })
  .get('/hooks/:source', async ({ params, storage }) => {
    const ids: string[] = [];
    for await (const { key } of iterate(storage, `hooks-${params.source}`)) ids.push(key);
    return json({ ids });
  });

export default handler(router.handle);
