/** Longest line of an event stream; a server that sends more is cut off. */
const MAX_LINE = 1024 * 1024;

/**
 * The `data` of each event in a text/event-stream body (WHATWG HTML, "Server-sent events").
 * Comments, other fields and named events (the server's `end`) are skipped; several data lines of one
 * event are joined.
 */
export async function* readEvents(
  body: AsyncIterable<Uint8Array>,
): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder();
  let pending = '';
  let data: string[] = [];
  let named = false;
  for await (const chunk of body) {
    pending += decoder.decode(chunk, { stream: true });
    const lines = pending.split(/\r\n|\n|\r(?!$)/);
    pending = lines.pop() ?? '';
    if (pending.length > MAX_LINE) throw new Error('the event stream sent an endless line');
    for (const line of lines) {
      if (line === '') {
        if (data.length > 0 && !named) yield data.join('\n');
        data = [];
        named = false;
      } else if (line.startsWith('event:')) {
        named = true;
      } else if (line.startsWith('data:')) {
        data.push(line.slice(line.startsWith('data: ') ? 6 : 5));
      }
    }
  }
}
