import { handler, json } from '@alga/extension-runtime';
import { Router } from '@alga/extension-runtime/extras';

const router = new Router()
  .get('/hello', ({ request, log }) => {
    const name = request.query.get('name') ?? 'world';
    log.info('greeting', { name });
    return json({ hello: name });
  })
  .get('/tickets', async ({ config, secrets, http }) => {
    const api = (await config.get('api_url')) ?? 'https://api.example.com';
    const key = await secrets.get('alga_api_key');
    const answer = await http.fetch(`${api}/tickets`, { headers: { 'x-api-key': key } });
    if (!answer.ok) return json({ error: `the API answered ${answer.status}` }, { status: 502 });
    return json({ tickets: await answer.json() });
  });

export default handler(router.handle);
