import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { MANIFEST, temporaryFolder, writeProject } from './fixture.js';

const PACKAGE = join(dirname(fileURLToPath(import.meta.url)), '..');
/** The module that starts programs, as an import names it. */
const SUPERVISED = JSON.stringify(pathToFileURL(join(PACKAGE, 'dist', 'supervised.js')).href);
/** A busy machine loads the engines slowly; what is under test takes a moment. */
const SLOW = 120_000;
const SOON = 60_000;

interface Running {
  pid: number;
  parent: number;
  program: string;
  command: string;
  /** Seconds of processor time, all threads together. */
  cpu: number;
}

/** The processes of this machine, those that have ended and were not asked about left out. */
async function processes(): Promise<Running[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found = pids.map(async (pid): Promise<Running[]> => {
    try {
      const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
      const [state, parent, ...more] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (state === 'Z') return [];
      const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0');
      const cpu = (Number(more[9]) + Number(more[10])) / 100;
      const [program = '', command] = [words[0], words.join(' ')];
      return [{ pid: Number(pid), parent: Number(parent), program, command, cpu }];
    } catch {
      return [];
    }
  });
  return (await Promise.all(found)).flat();
}

async function descendants(pid: number): Promise<Running[]> {
  const all = await processes();
  const below = (parent: number): Running[] =>
    all.filter((one) => one.parent === parent).flatMap((child) => [child, ...below(child.pid)]);
  return below(pid);
}

async function alive(pids: readonly number[]): Promise<string[]> {
  return (await processes()).filter(({ pid }) => pids.includes(pid)).map(({ command }) => command);
}

// Processes are looked at where Linux shows them.
describe.runIf(process.platform === 'linux')('nothing outlives a command that is killed', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let parent: ChildProcess | undefined;

  beforeEach(async () => {
    folder = await temporaryFolder();
  });

  afterEach(async () => {
    parent?.kill('SIGKILL');
    await folder.remove();
  });

  function start(args: string[], variables: Record<string, string> = {}): number {
    const env = { ...process.env, ...variables };
    parent = spawn(process.execPath, args, { cwd: folder.path, env, stdio: 'ignore' });
    return parent.pid ?? 0;
  }

  /** Writes a project whose test has no end. Returns the file that tells that it runs. */
  async function endlessTests(): Promise<string> {
    const ready = join(folder.path, 'ready');
    const source = `import { writeFileSync } from 'node:fs';
import { test } from 'vitest';
test('has no end', () => {
  writeFileSync(${JSON.stringify(ready)}, '');
  for (;;);
});`;
    const files = { 'manifest.json': JSON.stringify(MANIFEST), 'src/one.test.ts': source };
    await writeProject(folder.path, { ...files, 'package.json': '{}' });
    const vitest = dirname(createRequire(import.meta.url).resolve('vitest/package.json'));
    await symlink(vitest, join(folder.path, 'node_modules', 'vitest'));
    return ready;
  }

  /** Kills the parent without a warning, and waits for the end of what it had started. */
  async function killed(pid: number): Promise<void> {
    const pids = (await descendants(pid)).map((one) => one.pid);
    expect(pids.length).toBeGreaterThan(0);
    parent?.kill('SIGKILL');
    await expect.poll(() => alive(pids), { timeout: SOON }).toEqual([]);
  }

  test.each([
    ['starlingmonkey', ({ program }: Running) => program.includes('wizer')],
    ['quickjs', ({ command, cpu }: Running) => command.includes('componentize.js') && cpu > 4],
  ])(
    'a build on %s whose top level has no end',
    async (engine, deepInside) => {
      const source = `import { handler, json } from '@alga/extension-runtime';
let n = 0;
while (n >= 0) n = (n + 1) % 7;
export default handler(() => json(1));`;
      const files = { 'manifest.json': JSON.stringify(MANIFEST), 'src/index.ts': source };
      await writeProject(folder.path, files);
      const temporary = join(dirname(folder.path), 'tmp');
      await mkdir(temporary);
      const alga = join(PACKAGE, 'bin', 'alga.js');
      const pid = start([alga, 'build', '--engine', engine], { TMPDIR: temporary });
      await expect
        .poll(async () => (await descendants(pid)).some(deepInside), { timeout: SLOW })
        .toBe(true);
      expect(await readdir(temporary)).not.toEqual([]);
      await killed(pid);
      expect(await readdir(temporary)).toEqual([]);
    },
    SLOW + 2 * SOON,
  );

  test.each([[[]], [['--json']]])(
    'tests that have no end (alga test %j)',
    async (options) => {
      const ready = await endlessTests();
      const temporary = join(dirname(folder.path), 'tmp');
      await mkdir(temporary);
      const alga = join(PACKAGE, 'bin', 'alga.js');
      const pid = start([alga, 'test', ...options], { TMPDIR: temporary });
      await expect.poll(() => existsSync(ready), { timeout: SLOW }).toBe(true);
      await killed(pid);
      const ours = (await readdir(temporary)).filter((name) => name.startsWith('alga-'));
      expect(ours).toEqual([]);
    },
    SLOW + 2 * SOON,
  );

  test(
    'tests that are interrupted end as every command, with all that they started',
    async () => {
      const ready = await endlessTests();
      const pid = start([join(PACKAGE, 'bin', 'alga.js'), 'test']);
      await expect.poll(() => existsSync(ready), { timeout: SLOW }).toBe(true);
      const pids = (await descendants(pid)).map((one) => one.pid);
      const ended = new Promise((done) => parent?.once('exit', done));
      parent?.kill('SIGINT');
      expect(await ended).toBe(130);
      await expect.poll(() => alive(pids), { timeout: SOON }).toEqual([]);
    },
    SLOW + 2 * SOON,
  );

  test(
    'what a supervised program leaves running when it ends',
    async () => {
      const told = join(folder.path, 'told');
      await writeFile(
        join(folder.path, 'program.mjs'),
        `import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
const left = spawn(process.execPath, ['-e', 'setInterval(() => undefined, 1000)'], { stdio: 'inherit' });
left.unref();
writeFileSync(${JSON.stringify(told)}, String(left.pid));
process.exit(3);`,
      );
      await writeFile(
        join(folder.path, 'parent.mjs'),
        `import { supervise } from ${SUPERVISED};
const child = supervise(process.execPath, ['program.mjs'], { stdout: 'pipe', stderr: 'pipe' }, 1);
child.once('close', (code) => process.exit(code));`,
      );
      start(['parent.mjs']);
      const code = await new Promise((done) => parent?.once('exit', done));
      expect(code).toBe(3);
      const left = Number(await readFile(told, 'utf8'));
      await expect.poll(() => alive([left]), { timeout: SOON }).toEqual([]);
    },
    SLOW,
  );

  test.each([
    ['ends in good order when it can', "process.once('SIGTERM', () => end('in order'));", true, 60],
    ['is ended when it will not', "process.on('SIGTERM', () => undefined);", false, 1],
  ])(
    'a supervised program %s',
    async (_, listen, orderly, grace) => {
      const told = join(folder.path, 'told');
      const ready = join(folder.path, 'ready');
      await writeFile(
        join(folder.path, 'program.mjs'),
        `import { writeFileSync } from 'node:fs';
const end = (text) => { writeFileSync(${JSON.stringify(told)}, text); process.exit(); };
${listen}
setInterval(() => undefined, 1000);
writeFileSync(${JSON.stringify(ready)}, '');`,
      );
      await writeFile(
        join(folder.path, 'parent.mjs'),
        `import { supervise } from ${SUPERVISED};
const child = supervise(process.execPath, ['program.mjs'], ['pipe', 'pipe'], ${grace});
setInterval(() => child.pid, 1000);`,
      );
      const pid = start(['parent.mjs']);
      await expect.poll(() => existsSync(ready), { timeout: SLOW }).toBe(true);
      await killed(pid);
      expect(existsSync(told)).toBe(orderly);
    },
    SLOW + 2 * SOON,
  );
});
