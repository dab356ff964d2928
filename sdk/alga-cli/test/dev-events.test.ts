import { rename, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { eventText } from '../src/event-text.js';
import { EVENT_REFERENCE, type AlgaEvent } from '../src/events.js';
import { EventSession, Session, writeStubAlgad } from './dev-session.js';
import { MANIFEST, temporaryFolder, writeProject } from './fixture.js';

const SOURCE = `import { handler, json } from '@alga/extension-runtime';

async function remember(path: string): Promise<void> {
  if (path === '') throw new Error('nothing to remember');
}

export default handler(({ request }) => {
  remember(request.path);
  return json({ blob: typeof Blob, size: new Blob().size });
});
`;

const MANIFEST_WITH_ALL = {
  ...MANIFEST,
  secrets: { key: { required: true } },
  ui: { type: 'iframe', entry: 'ui/index.html' },
};

/** Times, addresses and versions of builds differ from run to run. */
function withoutChance(line: string): string {
  return line
    .replace(/127\.0\.0\.1:\d+/g, 'ADDRESS')
    .replace(/-dev\.\d+\.\d+/g, '-dev')
    .replace(/\d+ ms|\d+\.\d s|\d+\.\d KiB/g, 'N');
}

const plain = (_colour: string, text: string) => text;

describe('what alga dev says', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let argv: string[];

  beforeEach(async () => {
    folder = await temporaryFolder();
    await writeProject(folder.path, {
      'manifest.json': JSON.stringify(MANIFEST_WITH_ALL),
      'package.json': JSON.stringify({ alga: { engine: 'quickjs' } }),
      'src/index.ts': SOURCE,
      'ui/index.html': '<p>page</p>',
    });
    const typescript = dirname(createRequire(import.meta.url).resolve('typescript/package.json'));
    await symlink(typescript, join(folder.path, 'node_modules', 'typescript'));
    argv = ['dev', '--port', '0', '--algad', await writeStubAlgad(folder.path)];
  });

  afterEach(() => folder.remove());

  /** Puts a new source into the place of the old one, all at once. */
  async function edit(text: string): Promise<void> {
    const source = join(folder.path, 'src', 'index.ts');
    await writeFile(`${source}~`, text);
    await rename(`${source}~`, source);
  }

  /** A morning of an author; the words are those of people, in which events are waited for, too. */
  async function morning(dev: Session, lines: () => string[]): Promise<void> {
    const count = (text: string) => lines().filter((line) => line.includes(text)).length;
    const says = (text: string, times = 1) =>
      dev.find(() => (count(text) >= times ? true : undefined));
    await says('nobody awaits remember(request.path)');
    await says('requires "key" of "secrets"');
    const url = /Ready at (\S+)/.exec(lines().join('\n'))?.[1] ?? '';
    for (const path of ['/hello', '/loop', '/undeclared']) {
      await (await fetch(`${url}${path}`)).text();
      await says(`GET ${path} →`);
    }
    await says('in two lines');
    await edit('export default nonsense(');
    await says('goes on running');
    await edit(SOURCE);
    await says('Ready at', 2);
    await says('nobody awaits remember(request.path)', 2);
    dev.interrupt();
    expect(await dev.code).toBe(0);
  }

  test('is the same for people and for scripts', async () => {
    const people = new Session(folder.path, argv);
    await morning(people, () => people.said.split('\n'));

    for (const made of ['dist', '.alga']) await rm(join(folder.path, made), { recursive: true });
    const scripts = new EventSession(folder.path, argv);
    const events = () => scripts.events as unknown as AlgaEvent[];
    const text = () =>
      events().flatMap((event) => eventText(event, plain).lines.join('\n').split('\n'));
    await morning(scripts, text);

    // Promises are looked for beside everything else, so that the order is left to chance; piped
    // output tells of work that has begun when it lasts, and events of all of it.
    const told = (lines: string[]) =>
      new Set(lines.filter((line) => !line.startsWith('… ')).map(withoutChance));
    expect(told(text())).toEqual(told(people.said.split('\n')));

    const names = new Set(events().map(({ event }) => event));
    const kinds = ['progress', 'warning', 'error', 'changed', 'ready', 'call', 'log'];
    expect(names).toEqual(new Set(kinds));
    const codes = events().flatMap((event) => (event.event === 'warning' ? [event.code] : []));
    expect(new Set(codes)).toEqual(
      new Set(['build.floating_promise', 'build.lacking', 'dev.missing_setting']),
    );
  });

  test('holds no member that the reference does not explain', async () => {
    const dev = new EventSession(folder.path, argv);
    const { url } = (await dev.next(({ event }) => event === 'ready')) as { url: string };
    for (const path of ['/hello', '/loop', '/undeclared']) {
      await (await fetch(`${url}${path}`)).text();
      await dev.next((event) => event['event'] === 'call' && event['path'] === path);
    }
    await dev.next(({ event }) => event === 'log');
    dev.interrupt();
    expect(await dev.code).toBe(0);
    for (const { event, ...members } of dev.events) {
      const explained = EVENT_REFERENCE[event as keyof typeof EVENT_REFERENCE];
      expect(Object.keys(explained.members), String(event)).toEqual(
        expect.arrayContaining(Object.keys(members)),
      );
    }
  });

  test('ends with an error event when it ends with an error', async () => {
    await writeFile(join(folder.path, 'manifest.json'), '{');
    const dev = new EventSession(folder.path, argv);
    expect(await dev.code).toBe(1);
    expect(dev.events).toEqual([
      expect.objectContaining({ event: 'error', ok: false, goes_on: false }),
    ]);
  });
});

describe('an event is read by people', () => {
  const location = { file: 'src/index.ts', line: 3, column: 1 };
  const frame = '  > 3 | boom();';
  const line = { at: 0, stream: 'log', message: 'x' };

  test('a warning with its place, its frame and what to do', () => {
    const warning = { code: 'a.b', message: 'doubtful', hint: 'mend it', location, frame };
    expect(eventText({ event: 'warning', ...warning }, plain)).toEqual({
      stream: 'stderr',
      lines: ['warning src/index.ts:3:1 doubtful [a.b]', '', frame, '', '  → mend it'],
    });
  });

  test('an error in the log at the line of its author', () => {
    const author_error = { message: 'Error: no', location, frame, stack: 'Uncaught Error: no' };
    const shown = eventText({ event: 'log', ...line, level: 'error', author_error }, plain);
    expect(shown.lines).toEqual([
      '1970-01-01T00:00:00.000Z error Uncaught Error: no',
      '  at src/index.ts:3:1',
      frame,
    ]);
  });

  test('a line of the log commands no terminal and looks like no other line', () => {
    const message = 'a\\x0a2030-01-01 error b\u001b[2J';
    const { lines } = eventText({ event: 'log', ...line, level: 'info', message }, plain);
    expect(lines).toEqual(['1970-01-01T00:00:00.000Z info  a\n    2030-01-01 error b\ufffd[2J']);
  });

  test('a broken stream with why', () => {
    expect(eventText({ event: 'reconnecting', message: 'reset' }, plain).lines).toEqual([
      'log stream: reset',
    ]);
  });
});
