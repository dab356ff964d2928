import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { Output } from './output.js';

let said = '';

/** An output whose text lands in `said`. */
function output(isTTY: boolean, json = false): Output {
  said = '';
  const write = (text: string) => (said += text);
  return new Output({ stdout: { write }, stderr: { write, isTTY } }, json);
}

/** Work that takes this long. */
const after = (milliseconds: number) => () =>
  new Promise<number>((done) => setTimeout(() => done(milliseconds), milliseconds));

/** What is left on a terminal: a line that is cleared is gone. */
const screen = () =>
  said
    .split('\n')
    .map((line) => line.split('\r').at(-1)?.replace('\u001b[2K', ''))
    .join('\n');

describe('progress', () => {
  beforeEach(() => {
    vi.useFakeTimers();
    vi.stubEnv('NO_COLOR', '1');
  });

  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllEnvs();
  });

  test.each([false, true])('quick work leaves no word (terminal: %s)', async (terminal) => {
    const work = output(terminal).during('Asking', after(900), { quick: true });
    await vi.advanceTimersByTimeAsync(900);
    expect([await work, said]).toEqual([900, '']);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('work of more than a second is announced while it goes on, and told when it is done', async () => {
    const work = output(false).during('Asking', after(2500), { quick: true, note: String });
    await vi.advanceTimersByTimeAsync(1100);
    expect(said).toBe('… Asking\n');
    await vi.advanceTimersByTimeAsync(1400);
    await work;
    expect(said).toBe('… Asking\n✔ Asking (2.5 s)  2500\n');
  });

  test('a terminal shows a spinner after a second, and the line at the end takes its place', async () => {
    const work = output(true).during('Asking', after(2500), { quick: true });
    await vi.advanceTimersByTimeAsync(950);
    expect(said).toBe('');
    await vi.advanceTimersByTimeAsync(250);
    expect(said).toMatch(/\r. Asking 1\.\d s$/);
    await vi.advanceTimersByTimeAsync(1300);
    await work;
    expect(screen()).toBe('✔ Asking (2.5 s)\n');
  });

  test('work that fails has a cross, and no spinner goes on', async () => {
    const failing = async () => {
      await after(300)();
      throw new Error('no luck');
    };
    const work = output(true).during('Building', failing);
    const refused = expect(work).rejects.toThrow('no luck');
    await vi.advanceTimersByTimeAsync(300);
    await refused;
    expect(screen()).toBe('✘ Building (0.3 s)\n');
    expect(vi.getTimerCount()).toBe(0);
  });

  test('lines that are written meanwhile stand on lines of their own', async () => {
    const terminal = output(true);
    const work = terminal.during('Building', after(500));
    await vi.advanceTimersByTimeAsync(200);
    terminal.note('a note');
    terminal.print('a result');
    await vi.advanceTimersByTimeAsync(300);
    await work;
    expect(screen()).toBe('a note\na result\n✔ Building (0.5 s)\n');
  });

  test('work inside of work is not shown again', async () => {
    const terminal = output(false);
    const inner = () => terminal.during('Waiting', after(3000));
    const work = terminal.during('Publishing', inner);
    await vi.advanceTimersByTimeAsync(3000);
    await work;
    expect(said).toBe('… Publishing\n✔ Publishing (3.0 s)\n');
  });

  test('scripts read one document and nothing else', async () => {
    const work = output(true, true).during('Asking', after(3000));
    await vi.advanceTimersByTimeAsync(3000);
    expect([await work, said]).toEqual([3000, '']);
  });
});
