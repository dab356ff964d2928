import { handler, HttpError, json, SecretError } from '@alga/extension-runtime';

interface Ticket {
  id: number;
  title: string;
}

export default handler(async ({ config, secrets, http, log }) => {
  const api = (await config.get('api_url')) ?? 'https://api.example.com';
  try {
    const key = await secrets.get('alga_api_key');
    const answer = await http.fetch(`${api}/tickets`, { headers: { 'x-api-key': key } });
    if (answer.status === 429) {
      const headers = { 'retry-after': answer.headers.get('retry-after') ?? '1' };
      return json({ error: 'the API asks for patience' }, { status: 503, headers });
    }
    if (!answer.ok) {
      return json({ error: `the API answered ${answer.status}` }, { status: 502 });
    }
    const tickets = (await answer.json()) as Ticket[];
    log.info('asked the API', { tickets: tickets.length });
    return json({ tickets: tickets.map(({ title }) => title) });
  } catch (error) {
    if (error instanceof SecretError && error.code === 'missing') {
      return json({ error: 'an administrator has to set alga_api_key' }, { status: 409 });
    }
    if (error instanceof HttpError && error.code === 'timeout') {
      return json({ error: 'the API takes too long' }, { status: 504 });
    }
    throw error;
  }
});
