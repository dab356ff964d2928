import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { buildProject } from '../src/build/build.js';
import { Componentizer } from '../src/build/componentize.js';
import type { Failure } from '../src/failure.js';
import { Output } from '../src/output.js';
import { openProject } from '../src/project/project.js';
import { MANIFEST, temporaryFolder, testEnvironment, writeProject } from './fixture.js';

const ENGINES = ['starlingmonkey', 'quickjs'] as const;

describe.each(ENGINES)('code outside the handler, on %s', { timeout: 300_000 }, (engine) => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let componentizer: Componentizer;

  beforeEach(async () => {
    folder = await temporaryFolder();
    componentizer = new Componentizer();
  });

  afterEach(async () => {
    vi.unstubAllEnvs();
    componentizer.close();
    await folder.remove();
  });

  /** What the build of a module says; undefined when it succeeds. */
  async function failureOf(source: string): Promise<Failure | undefined> {
    const top = "import { handler, json } from '@alga/extension-runtime';\n";
    const files = { 'manifest.json': JSON.stringify(MANIFEST), 'src/index.ts': top + source };
    await writeProject(folder.path, files);
    const project = await openProject(folder.path);
    const output = new Output(testEnvironment(folder.path), false);
    const built = buildProject(project, output, componentizer, engine);
    return built.then(
      () => undefined,
      (error: unknown) => error as Failure,
    );
  }

  const answers = 'export default handler(() => json(1));';

  test.each([
    ['no default export', 'export const x = handler(() => json(1));'],
    ['a default export that is no function', 'export default 42;'],
  ])('%s is named with its file and what to write', async (_, source) => {
    const failure = await failureOf(source);
    expect(failure).toMatchObject({
      code: 'build.no_handler',
      message: 'src/index.ts has no default export that is a handler',
      location: { file: 'src/index.ts' },
    });
    expect(failure!.hint).toContain('export default handler(');
  });

  test('what it throws is said, at its line, without a word of the build’s own programs', async () => {
    // A path with a space in it, as people have them.
    vi.stubEnv('TMPDIR', folder.path);
    const failure = await failureOf(`${answers}\nthrow new Error('no luck');`);
    expect(failure).toMatchObject({
      code: 'build.componentize_failed',
      message: 'Code outside the handler failed: Error: no luck',
      location: { file: 'src/index.ts', line: 3 },
    });
    expect(failure!.hint).toContain('move it into the handler');
  });

  test('a loop without end ends the build, and the next one works', async () => {
    componentizer = new Componentizer(20);
    const failure = await failureOf(`let n = 0;\nwhile (n >= 0) n = (n + 1) % 7;\n${answers}`);
    expect(failure).toMatchObject({
      code: 'build.top_level_timeout',
      message: 'Code outside the handler did not end within 20 seconds',
    });
    expect(failure!.hint).toContain('loop');
    componentizer.seconds = 150; // A busy machine is no loop.
    expect((await failureOf('export default 42;'))?.code).toBe('build.no_handler');
  });
});
