import { handler, json } from '@alga/extension-runtime';
import { getJson, Router, updateJson } from '@alga/extension-runtime/extras';

const router = new Router()
  .get('/counter', async ({ storage }) => {
    const record = await getJson<number>(storage, 'counters', 'page');
    return json({ value: record?.value ?? 0 });
  })
  .post('/counter', async ({ storage, request }) => {
    const { by } = request.json<{ by?: number }>();
    const record = await updateJson<number>(
      storage,
      'counters',
      'page',
      (value) => (value ?? 0) + (by ?? 1),
    );
    return json({ value: record.value });
  });

export default handler(router.handle);
