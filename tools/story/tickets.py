"""The extension of the demo and the API it calls."""

import json
import threading

from harness.loopback import LoopbackServer

FIRST_KEY = "demo-key-one-7f3a91"
SECOND_KEY = "demo-key-two-c20b44"

SOURCE = """\
import { handler, HttpError, json } from '@alga/extension-runtime';
import { Router, updateJson } from '@alga/extension-runtime/extras';

const router = new Router()
  .get('/tickets', async ({ config, secrets, http, storage, log }) => {
    const key = await secrets.get('alga_api_key');
    const answer = await http.fetch(`${await config.get('api_url')}/tickets`, {
      headers: { 'x-api-key': key },
    });
    log.info('asked the API', { status: answer.status });
    if (!answer.ok) return json({ error: `the API answered ${answer.status}` }, { status: 502 });

    const visits = await updateJson<number>(storage, 'stats', 'visits', (count = 0) => count + 1);
    return json({ tickets: await answer.json(), visits: visits.value });
  })
  .get('/elsewhere', async ({ http }) => {
    try {
      await http.fetch('https://example.org/');
      return json({ refused: false });
    } catch (error) {
      return json({ refused: error instanceof HttpError && error.code });
    }
  });

export default handler(router.handle);
"""


class TicketApi(LoopbackServer):
    """A server on loopback that wants a key and remembers the keys it accepted."""

    def __init__(self):
        super().__init__()
        self._lock = threading.Lock()
        self._wanted = FIRST_KEY
        self._seen = []

    def accept(self, key):
        with self._lock:
            self._wanted = key

    def keys(self):
        """The keys of the requests that were answered, in order."""
        with self._lock:
            return list(self._seen)

    def serve(self, handler, _):
        status, answer = self._answer(handler.headers.get("x-api-key"))
        self.reply(handler, status, json.dumps(answer).encode())

    def _answer(self, key):
        with self._lock:
            if key != self._wanted:
                return 401, {"error": "wrong key"}
            self._seen.append(key)
        return 200, [{"id": 1, "title": "The printer is on fire"}, {"id": 2, "title": "It is out now"}]
