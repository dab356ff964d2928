import { expect, test } from 'vitest';

import { readEvents } from '../src/server/events.js';

async function* pieces(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield await Promise.resolve(new TextEncoder().encode(text));
}

async function read(...texts: string[]): Promise<string[]> {
  const events: string[] = [];
  for await (const data of readEvents(pieces(...texts))) events.push(data);
  return events;
}

test('lines of a stream arrive whole, however it is cut', async () => {
  expect(await read('id: 1\ndata: a\n\nid: 2\nda', 'ta: b\ndata: c\n', '\n: waiting\n\n')).toEqual([
    'a',
    'b\nc',
  ]);
});

test('the last, named event of a stream is no line of a log', async () => {
  expect(await read('data: a\n\n', 'event: end\ndata: {"code":"auth.invalid_token"}\n\n')).toEqual([
    'a',
  ]);
  expect(await read('event: other\ndata: x\n\ndata: b\n\n')).toEqual(['b']);
});
