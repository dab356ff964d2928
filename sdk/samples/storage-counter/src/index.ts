import { empty, handler, json } from '@alga/extension-runtime';
import { iterate, Router, updateJson } from '@alga/extension-runtime/extras';

const NAMESPACE = 'counters';

const router = new Router()
  .post('/counters/:name', async ({ params, storage }) => {
    const { value } = await updateJson<number>(
      storage,
      NAMESPACE,
      params.name,
      (n) => (n ?? 0) + 1,
    );
    return json({ name: params.name, value });
  })
  .get('/counters', async ({ storage }) => {
    const counters: Record<string, number> = {};
    for await (const { key, value } of iterate(storage, NAMESPACE)) {
      counters[key] = Number(new TextDecoder().decode(value));
    }
    return json(counters);
  })
  .delete('/counters/:name', async ({ params, storage }) => {
    const deleted = await storage.delete(NAMESPACE, params.name);
    return deleted ? empty() : json({ error: 'no such counter' }, { status: 404 });
  });

export default handler(router.handle);
